"""Learning curves as columns: those that a page shows, and of them those that have changed."""

from collections.abc import Sequence
from dataclasses import dataclass

from dashboards.view import standing
from nas.adapters.sql.course import Course, Head, Place
from nas.client.models import CurveColumn, CurveColumns
from services.controller.service import Service

REASON = 500
"""Characters of a reason, at most."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Which curves, and how much of them.

    Attributes:
        numbers: of these candidates; nothing given means those that say most.
        most: of those.
        points: of one curve.
        since: a revision; only of candidates that have changed after it.
    """

    numbers: Sequence[int] = ()
    most: int = 60
    points: int = 100
    since: int | None = None


def curve_columns(service: Service, search_id: str, asked: Asked, revision: int) -> CurveColumns:
    """What was asked for, as of a revision."""
    front = front_of(service, search_id, revision)
    chosen = asked.numbers or _chosen(service.course, search_id, front, asked.most)
    heads = service.course.heads(search_id, chosen)
    changed = [own for own in heads if asked.since is None or own.revision > asked.since]
    numbers = [own.number for own in changed]
    places = service.course.curves(search_id, numbers, asked.points) if numbers else {}
    stops = service.course.stops(search_id, numbers) if numbers else {}
    members = set(front)
    return CurveColumns(
        revision=revision,
        number=[own.number for own in heads],
        standing=[str(standing(own.origin, own.state, own.number in members)) for own in heads],
        rungs=service.course.rungs(search_id, numbers) if numbers else [],
        curves=[_column(own, places.get(own.number, []), own.reason or stops.get(own.number, "")) for own in changed],
    )


def front_of(service: Service, search_id: str, revision: int) -> list[int]:
    """The front by the search's own objectives, by number."""
    objectives = service.store.search(search_id).spec["minimize"]
    numbers, _ = service.completed.of(search_id, revision).front(objectives)
    return sorted(numbers.tolist())


def _chosen(course: Course, search_id: str, front: Sequence[int], most: int) -> list[int]:
    """The final run and what is in training, the front, then the latest of the others."""
    begun = course.begun(search_id, most + len(front))
    now, rest = [number for number, own in begun if own], [number for number, own in begun if not own]
    return list(dict.fromkeys((*now, *front, *rest)))[:most]


def _column(head: Head, places: Sequence[Place], reason: str) -> CurveColumn:
    return CurveColumn(
        number=head.number,
        flops=[_short(own.flops) for own in places],
        loss=[_short(own.loss) for own in places],
        planned=_short(head.planned),
        reason=reason[:REASON],
    )


def _short(value: float) -> float:
    return float(f"{value:.5g}")
