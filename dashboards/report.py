"""One search as a single HTML file that works offline: nothing in it is loaded from anywhere."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from io import StringIO
from statistics import median
from typing import Any

from jinja2 import Environment
from markupsafe import Markup
from plotly.offline import get_plotlyjs
from ruamel.yaml import YAML

from dashboards import tables
from dashboards.figures import Chart, curves, hypervolumes, ledger, paretos
from dashboards.labels import CALCULATED, MEASURED, PREDICTED, Fact, format_error, format_percent, headline, interval
from dashboards.templating import environment, script_json
from dashboards.view import SearchView, Standing
from nas.records import SearchState
from nas.units import format_flops, format_seconds

SOURCES: Mapping[str, str] = {
    MEASURED: "read off a run, a clock or a counter; the same run with another seed differs a little",
    CALCULATED: "exact, by a closed form and the FLOP convention, before or after training",
    PREDICTED: "by a model of the device, or of what would have happened otherwise",
}


def render_report(view: SearchView) -> str:
    """The report as HTML."""
    fronts = paretos(view)
    others: dict[str, Chart | None] = {"curves": curves(view), "volume": hypervolumes(view), "ledger": ledger(view)}
    drawn = bool(fronts) or any(others.values())
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            search=view.search,
            headline=headline(view),
            state=view.search.state.value,
            when=_when(view),
            facts=facts(view),
            notes=notes(view),
            fronts=fronts,
            charts=others,
            tables=tables.tables(view),
            spec=_yaml(view.search.spec),
            setting=list(_flat(view.search.setting)),
            export=(view.search.result or {}).get("export", ""),
            sources=SOURCES,
            shared=_shared_styles(),
            plotly=Markup(get_plotlyjs()) if drawn else "",  # the library's own text, not the user's
        )
    )


_OVER = (SearchState.COMPLETED, SearchState.FAILED, SearchState.CANCELLED)


@cache
def _environment() -> Environment:
    own = environment("dashboards")
    own.filters["json"] = _script_json
    return own


@cache
def _shared_styles() -> Markup:
    """What the report has in common with the pages of a server."""
    return Markup((resources.files("dashboards") / "static" / "shared.css").read_text("utf-8"))  # our own text


def _script_json(chart: Chart) -> Markup:
    """A figure as JSON that cannot end the script element it stands in."""
    return script_json(str(chart.figure.to_json()))


def facts(view: SearchView) -> list[Fact]:
    """The key numbers, the most wanted first."""
    search, final = view.search_account.balance, view.final_account.balance
    false, audited = view.false_stops
    found = [
        *_losses(view),
        Fact("candidates", str(sum(view.by_state.values())), MEASURED, _candidates_note(view)),
        Fact(
            "compute spent",
            format_flops(search.spent + final.spent),
            CALCULATED,
            f"of {format_flops(search.granted + final.granted)}",
        ),
        Fact("worker time", format_seconds(search.seconds + final.seconds), MEASURED, _time_note(view)),
    ]
    if view.idle_seconds:
        idle = format_seconds(median(view.idle_seconds))
        most = f"median of the candidates, at most {format_seconds(view.idle_seconds[-1])}"
        found.append(Fact("worker not training", idle, MEASURED, most))
    if view.gate_saved_flops:
        saved = f"at most {format_flops(view.gate_saved_flops)}"
        found.append(Fact("saved by the gate", saved, PREDICTED, "what the rejected would have been given"))
    if view.pruner_saved_flops:
        saved = format_flops(view.pruner_saved_flops)
        found.append(Fact("saved by stopping", saved, PREDICTED, "planned less spent"))
    if view.audits:
        found.append(Fact("false stops", f"{false} of {audited}", MEASURED, _false_note(false, audited)))
    return found


def _losses(view: SearchView) -> list[Fact]:
    result, best = view.search.result or {}, view.best
    found = []
    if result.get("test_bpb") is not None:
        loss = format_error(result["test_bpb"], result.get("test_error"))
        found.append(Fact("final run, test", loss, MEASURED, "bits per byte; read once"))
    if best is not None:
        loss = format_error(best.val_bpb, best.val_error)
        found.append(Fact("best of the search, validation", loss, MEASURED, f"bits per byte; candidate #{best.number}"))
    return found


def _candidates_note(view: SearchView) -> str:
    trained = sum(view.standing(c) in (Standing.FRONT, Standing.DOMINATED) for c in view.candidates)
    note = f"{trained} trained to the end, {len(view.front)} on the front"
    full = view.search.setting.get("full_trainings")
    return note if full is None else f"{note}; the budget is worth {full:.3g} full trainings"


def _false_note(false: int, audited: int) -> str:
    if not audited:
        return "no audit has ended yet"
    low, high = (format_percent(bound) for bound in interval(false, audited))
    return f"{format_percent(false / audited)} of stops audited; 95% interval {low} to {high}"


def _time_note(view: SearchView) -> str:
    parts = (view.search_account.budget_seconds, view.final_account.budget_seconds)
    seconds = [part for part in parts if part is not None]
    return f"limit {format_seconds(sum(seconds))} by the clock" if seconds else "no limit"


def notes(view: SearchView) -> list[str]:
    """What a reader must know before trusting a picture that is not finished or has no front."""
    found = []
    if view.search.state not in _OVER:
        found.append("The search is not over: everything below may still change.")
    if view.search.state in (SearchState.CANCELLED, SearchState.FAILED):
        found.append("The search ended early: what is shown was found until then.")
    if view.candidates and not view.front:
        found.append("There is no front: no candidate within the limits has been trained to the end.")
    if any(c.time_bound for c in view.candidates):
        found.append(
            "Some runs were shortened because the machine was slower than predicted; the list of candidates says which."
        )
    repeated = sum(c.repeated_flops for c in view.candidates)
    if repeated:
        found.append(f"{format_flops(repeated)} were computed again after lost attempts, outside the budget.")
    return found


def _when(view: SearchView) -> str:
    search = view.search
    begun, ended = search.started_at, search.finished_at
    if begun is None:
        return f"created {moment(search.created_at)}"
    if ended is None:
        return f"started {moment(begun)}"
    return f"{moment(begun)}, took {format_seconds(ended - begun)}"


def moment(at: float) -> str:
    """``2026-11-22 20:14 UTC``."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _yaml(raw: Mapping[str, Any]) -> str:
    stream = StringIO()
    YAML(typ="rt", pure=True).dump(dict(raw), stream)
    return stream.getvalue()


def _flat(raw: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    """(dotted name, value) of a nested mapping."""
    for name, value in raw.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, (list, tuple)):
            yield f"{prefix}{name}", ", ".join(_plain(item) for item in value)
        else:
            yield f"{prefix}{name}", _plain(value)


def _plain(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.10g}"
