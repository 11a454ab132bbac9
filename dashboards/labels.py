"""What things are called, how their numbers read and where they come from: the same words everywhere."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dashboards.view import SearchView, Standing
from nas.records import CandidateRecord, Origin, SearchRecord, SearchState
from nas.units import format_bytes, format_count, format_flops, format_seconds

MEASURED = "measured"  # read off a run or a clock; varies from seed to seed
CALCULATED = "calculated"  # exact, by a closed form and the named FLOP convention
PREDICTED = "predicted"  # by a model of the device or of what would have happened


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number that candidates have. ``unit`` is for axes and column heads, where ``format`` has no room for it."""

    name: str
    unit: str
    source: str
    format: Callable[[float], str]

    @property
    def axis(self) -> str:
        return f"{self.name} ({self.unit})" if self.unit else self.name


@dataclass(frozen=True, slots=True)
class Fact:
    """A key number. ``source`` says how it is known, ``note`` what it is to be compared with; ``number`` is of a
    candidate to link to, ``share`` of a bar."""

    name: str
    value: str
    source: str
    note: str = ""
    number: int | None = None
    share: float | None = None


def format_loss(loss: float) -> str:
    """``2.134``."""
    return f"{loss:.3f}" if math.isfinite(loss) else "not finite"


QUANTITIES: Mapping[str, Quantity] = {
    "val_bpb": Quantity("validation loss", "bits per byte", MEASURED, format_loss),
    "test_bpb": Quantity("test loss", "bits per byte", MEASURED, format_loss),
    "params": Quantity("parameters", "", CALCULATED, format_count),
    "flops_per_byte": Quantity("forward compute", "FLOPs per byte of text", CALCULATED, format_flops),
    "kv_bytes_per_byte": Quantity("key/value cache", "bytes per byte of text", CALCULATED, format_bytes),
    "weight_bytes": Quantity("size of the weights", "bytes", CALCULATED, format_bytes),
    "peak_memory": Quantity("peak memory", "bytes", PREDICTED, format_bytes),
    "train_seconds": Quantity("training time", "seconds", PREDICTED, format_seconds),
    "latency_ms_per_kb": Quantity("latency", "milliseconds for a kB of text", MEASURED, "{:.3g} ms".format),
}

ORIGINS: Mapping[Origin, str] = {
    Origin.DIAL: "dial (scaling rules)",
    Origin.LARGEST: "largest that fits",
    Origin.UNIFORM: "evenly spread",
    Origin.PROPOSED: "proposed by search",
    Origin.GIVEN: "given by the user",
    Origin.FINAL: "final run",
}

STANDINGS: dict[Standing, str] = {
    Standing.FRONT: "on the front",
    Standing.DOMINATED: "trained, dominated",
    Standing.STOPPED: "stopped in training",
    Standing.REJECTED: "rejected by the gate",
    Standing.DIVERGED: "diverged",
    Standing.FINAL: "final run",
    Standing.OPEN: "not finished",
    Standing.LOST: "failed or cancelled",
}

SHORT = {Standing.OPEN: "unfinished", Standing.LOST: "failed"}
"""Names of rows in a figure, where space is scarce; the others are called what they are."""

SPENDING: Mapping[str, str] = {
    "completed": "trained to the end",
    "stopped": "trained, then stopped",
    "unfinished": "diverged or unfinished",
    "evaluation": "evaluation",
    "other": "probes and other",
    "final": "final run",
    "unspent": "unspent",
}


def quantity(name: str) -> Quantity:
    """The words for a cost; an unknown one keeps its name."""
    return QUANTITIES.get(name) or Quantity(name.replace("_", " "), "", CALCULATED, lambda value: f"{value:.4g}")


def format_value(name: str, value: Any) -> str:
    """A value by its quantity's format; a dash when there is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return "—"
    return quantity(name).format(value)


def format_error(loss: float | None, error: float | None) -> str:
    """``2.134 ± 0.004``, the standard error after the loss."""
    if loss is None:
        return "—"
    return format_loss(loss) + ("" if error is None else f" ± {error:.3f}")


def format_percent(share: float) -> str:
    """``31%``, for sentences."""
    return f"{share:.0%}"


def interval(hits: int, trials: int) -> tuple[float, float]:
    """95% interval of a share by Wilson's score (Journal of the American Statistical Association 22, 1927)."""
    z = 1.96
    centre, scale = (hits + z * z / 2) / (trials + z * z), z / (trials + z * z)
    half = scale * math.sqrt(hits * (trials - hits) / trials + z * z / 4)
    return max(0.0, centre - half), min(1.0, centre + half)


def marks(view: SearchView) -> dict[int, str]:
    """A letter for each member of the front, the cheapest A; numbers once the letters are used up."""
    return {number: mark(place) for place, number in enumerate(view.front)}


def mark(place: int) -> str:
    """Of a member of the front, the cheapest at place 0."""
    letters = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghjkmnpqrstuvwxyz"  # without those that look like digits or bars
    return letters[place] if place < len(letters) else str(place + 1)


def remark(view: SearchView, number: int) -> str:
    """Why a reader may want this member of the front."""
    best, result = view.best, view.search.result or {}
    found = [
        ("lowest loss", best is not None and best.number == number),
        ("cheapest", len(view.front) > 1 and view.front[0] == number),
        ("knee", view.knee == number),
        ("chosen for the final run", result.get("chosen") == number),
    ]
    return ", ".join(name for name, holds in found if holds)


def architecture(record: CandidateRecord) -> str:
    """``4 x 128, 8 heads of 16 (4 KV), MLP 384, vocabulary 4096, context 256``: depth x width first."""
    raw = record.candidate.get("architecture") or {}
    heads, kv = raw.get("heads"), raw.get("kv_heads")
    grouped = f" ({kv} KV)" if kv not in (None, heads) else ""
    parts = [
        ("depth", f"{raw.get('depth')} x {raw.get('width')}"),
        ("heads", f"{heads} heads of {raw.get('head_size')}{grouped}"),
        ("mlp_width", f"MLP {raw.get('mlp_width')}"),
        ("vocabulary", f"vocabulary {raw.get('vocabulary')}"),
        ("context", f"context {raw.get('context')}"),
        ("window", f"window {raw.get('window')} ({raw.get('window_pattern')})"),
        ("activation", str(raw.get("activation"))),
        ("value_embeddings", f"value embeddings ({raw.get('value_embeddings')})"),
        ("x0_shortcut", "x0 shortcut"),
        ("softcap", f"softcap {raw.get('softcap')}"),
        ("deviations", f"{len(raw.get('deviations') or ())} layers differ"),
    ]
    return ", ".join(text for name, text in parts if raw.get(name))


def recipe(record: CandidateRecord) -> str:
    """``muon, batch 1024 tokens, matrix rate 1.4``: the fields that were set."""
    raw = dict(record.candidate.get("recipe") or {})
    batch, optimizer = raw.pop("batch_tokens", None), raw.pop("optimizer", "muon")
    rest = [f"{name.replace('_', ' ')} {_short(value)}" for name, value in raw.items()]
    return ", ".join([str(optimizer), *([f"batch {batch} tokens"] if batch else []), *rest])


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def prospects(ahead: Mapping[str, Any]) -> str:
    """What further search is expected to bring, from a search's record."""
    loss, widening = ahead["loss"], ahead["widening"]
    runs = f"{ahead['runs']} more candidate{'s' if ahead['runs'] > 1 else ''}"
    return (
        f"({format_flops(ahead['flops'])}, about {runs}) is expected to lower the best loss by {loss['mean']:.3f} "
        f"({loss['low']:.3f} to {loss['high']:.3f}) bits per byte and to widen the front by "
        f"{format_percent(widening['mean'])} ({format_percent(widening['low'])} to {format_percent(widening['high'])})"
    )


def headline(view: SearchView) -> str:
    """The one sentence: the result's own, or where the search stands."""
    rejected = sum(view.standing(c) is Standing.REJECTED for c in view.candidates)
    return sentence(view.search, view.best, candidates=len(view.candidates), rejected=rejected, cost=view.costs[0])


def sentence(search: SearchRecord, best: CandidateRecord | None, *, candidates: int, rejected: int, cost: str) -> str:
    """The same for one that has not loaded all of a search. ``best``: of the search itself, by its loss."""
    if search.result and search.result.get("sentence"):
        return str(search.result["sentence"])
    return " ".join(part for part in (_stand(search), _best_so_far(best, candidates, rejected, cost)) if part)


_STANDS: Mapping[SearchState, str] = {
    SearchState.QUEUED: "Waiting to start.",
    SearchState.RUNNING: "Running.",
    SearchState.PAUSED: "Paused.",
    SearchState.STOPPING: "Stopping: candidates in training finish first.",
    SearchState.COMPLETED: "Completed without a final run.",
    SearchState.FAILED: "Failed",
    SearchState.CANCELLED: "Cancelled",
}


def _stand(search: SearchRecord) -> str:
    stand = _STANDS[search.state]
    if search.state in (SearchState.FAILED, SearchState.CANCELLED):
        return f"{stand}: {search.reason.rstrip('.')}." if search.reason else f"{stand}."
    return stand


def _best_so_far(best: CandidateRecord | None, candidates: int, rejected: int, cost: str) -> str:
    if best is None:
        if rejected and rejected == candidates:
            return f"No candidate fits the limits: the gate rejected all {rejected} before training."
        return "Nothing has been trained to the end yet." if candidates else "No candidate has been proposed yet."
    price = f" at {format_value(cost, best.costs.get(cost))} of {quantity(cost).name}" if cost in best.costs else ""
    loss = format_error(best.val_bpb, best.val_error)
    return f"The best so far, #{best.number}, reaches {loss} bits per byte{price}."
