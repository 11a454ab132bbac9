"""Figures for Prometheus: what the searches have done, from the database, and how long requests take."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from nas.adapters.sql.reader import Reader


@dataclass
class Figures:
    """Of this process. Requests by the route's template, so that an id makes no series of its own."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    requests: Histogram = field(init=False)

    def __post_init__(self) -> None:
        labels = ["method", "route", "status"]
        self.requests = Histogram(
            "nas_request_seconds", "Time to answer, streams left out.", labels, registry=self.registry
        )


class _Searches(Collector):
    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def collect(self) -> Iterator[Metric]:
        searches = GaugeMetricFamily("nas_searches", "Searches by state.", labels=["state"])
        for state, count in self._reader.searches_by_state().items():
            searches.add_metric([state], count)
        yield searches
        candidates = GaugeMetricFamily("nas_candidates", "Candidates by state.", labels=["state"])
        flops = GaugeMetricFamily("nas_flops", "Training and evaluation, by what became of it.", labels=["kind"])
        saved = GaugeMetricFamily("nas_saved_flops", "Planned and not spent, by who saved it.", labels=["by"])
        totals = self._reader.totals()
        for state, own in totals.items():
            candidates.add_metric([state], own.candidates)
        flops.add_metric(["training"], sum(own.train_flops for own in totals.values()))
        flops.add_metric(["evaluation"], sum(own.eval_flops for own in totals.values()))
        flops.add_metric(["repeated"], sum(own.repeated_flops for own in totals.values()))
        stopped = totals.get("stopped")
        saved.add_metric(["pruner"], max(0, stopped.planned_flops - stopped.train_flops) if stopped else 0)
        saved.add_metric(["gate"], self._reader.gate_saved_flops())
        yield from (candidates, flops, saved)


def registry_of(figures: Figures, reader: Reader) -> CollectorRegistry:
    """The figures of the process with those of the database as it is now."""
    registry = CollectorRegistry()
    registry.register(_Searches(reader))
    registry.register(_Passing(figures.registry))
    return registry


class _Passing(Collector):
    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        return iter(self._registry.collect())
