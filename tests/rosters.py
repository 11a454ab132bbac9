"""Searches that are written out by hand, for what learns from them."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from nas.adapters.memory_store import MemoryStore
from nas.candidate import Candidate
from nas.encode import Encoding
from nas.plan import TextFacts
from nas.records import CandidateRecord, CandidateState, CurvePoint, Origin, SearchRecord, SearchState
from nas.roster import Roster
from nas.scaling import expected_excess
from nas.space import Knobs, Space, load_space

SPACE = load_space(
    {
        "knobs": {
            "depth": [1, 2, 3, 4],
            "width": [16, 32, 48, 64, 96],
            "vocabulary": [256, 512, 1024],
            "optimizer": ["adamw", "muon"],
            "head_size": 16,
            "context": 64,
            "batch_tokens": 256,
        }
    }
)
POINTS = list(SPACE.grid(*(knob.name for knob in SPACE.knobs)))
FLOPS = 200_000_000_000
COST = "flops_per_byte"


class Meter:
    """`nas.ports.TextMeter` of a text that there is not."""

    def bytes_per_token(self, vocabulary: int) -> float:
        return 1 + math.log2(vocabulary) / 4

    def facts(self, vocabulary: int, context: int) -> TextFacts:
        return TextFacts(self.bytes_per_token(vocabulary), 100_000, 10, 10 * context, 100, 100 * context, 90, 90)


def law(candidate: Candidate) -> float:
    return expected_excess(candidate, FLOPS, Meter().facts)


def encoding_of(space: Space = SPACE, points: Iterable[Knobs] = POINTS) -> Encoding:
    return Encoding(space, law, [space.decode(knobs) for knobs in points])


def record_of(
    number: int, knobs: Knobs, loss: float | None = None, /, space: Space = SPACE, **own: Any
) -> CandidateRecord:
    """Completed with a loss, in training without."""
    candidate = space.decode(knobs)
    state = CandidateState.TRAINING if loss is None else CandidateState.COMPLETED
    fields = {"origin": Origin.PROPOSED, "state": state, "val_bpb": loss, **own}
    return CandidateRecord(
        "s", number, candidate.id, created_at=0.0, candidate=candidate.to_dict(), **{"knobs": dict(knobs), **fields}
    )


def point_of(number: int, rung: float, loss: float | None, **own: Any) -> CurvePoint:
    fields = {"attempt": 0, "step": int(1000 * rung), "progress": rung, "flops": 1, "seconds": 1.0, **own}
    return CurvePoint("s", number, val_bpb=loss, rung=rung, **fields)


def store_of(records: Iterable[CandidateRecord] = ()) -> MemoryStore:
    store = MemoryStore()
    store.add_search(SearchRecord("s", "s", SearchState.RUNNING, 0.0, {}))
    for own in records:
        store.add_candidate(own)
    return store


def roster_of(records: Iterable[CandidateRecord], losses: Mapping[int, Mapping[float, float]] | None = None) -> Roster:
    """Of records, with their losses at rungs by number."""
    roster = Roster(store_of(records), "s")
    for number, own in (losses or {}).items():
        for rung, loss in own.items():
            roster.add_point(point_of(number, rung, loss))
    return roster
