"""Progress of a search in the foreground: a live line on a terminal, one line per event otherwise."""

import sys
import time
from collections import Counter
from types import TracebackType
from typing import Any, Self

from nas.ports import PublicStore
from nas.records import CandidateRecord, CandidateState
from nas.units import format_flops

REFRESH_SECONDS = 1.0
ENDINGS = ("completed", "paused", "failed", "cancelled")
"""Events of the search itself that the command says in its own words."""


class Progress:
    """A context; `look` is called now and then. Events from ``after`` on are new."""

    def __init__(self, store: PublicStore, search_id: str, after: int = 0) -> None:
        self._store, self._id, self._seen = store, search_id, after
        self._started, self._last = time.monotonic(), -REFRESH_SECONDS
        self._summary = "begins"
        self._live: Any = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

            console = Console(stderr=True)
            self._live = Live(console=console, get_renderable=self._line, refresh_per_second=2, transient=True)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def look(self) -> None:
        """Shows what is new."""
        for event in self._store.events(self._id, after=self._seen):
            self._seen = event.sequence
            if event.number is not None or event.kind not in ENDINGS:
                self._print(f"{self._clock()}  {event.message}")
        if self._live is not None and time.monotonic() - self._last >= REFRESH_SECONDS:
            self._last = time.monotonic()
            self._summary = summary(self._store, self._id)

    def _print(self, line: str) -> None:
        if self._live is None:
            print(line, file=sys.stderr, flush=True)
        else:
            self._live.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _clock(self) -> str:
        minutes, seconds = divmod(int(time.monotonic() - self._started), 60)
        hours, minutes = divmod(minutes, 60)
        return f"{f'{hours}:{minutes:02}:{seconds:02}' if hours else f'{minutes}:{seconds:02}':>8}"

    def _line(self) -> Any:
        from rich.text import Text

        return Text(f"{self._clock()}  {self._summary}", no_wrap=True, overflow="ellipsis")


def summary(store: PublicStore, search_id: str) -> str:
    """A search in a line: what became of its candidates, what is in training and how far, what is spent, the best."""
    records = store.candidates(search_id)
    counts = Counter(own.state for own in records)
    training = [own for own in records if own.state is CandidateState.TRAINING]
    parts = [f"{count} {state}" for state, count in counts.items() if state is not CandidateState.TRAINING]
    parts += [f"{own.number} at {_progress(store, own):.0%}" for own in training]
    parts.append(f"{format_flops(sum(own.train_flops_spent + own.eval_flops for own in records))} spent")
    best = min((own.val_bpb for own in records if own.val_bpb is not None), default=None)
    return " · ".join([*parts, *([] if best is None else [f"best {best:.3f} bits per byte"])])


def _progress(store: PublicStore, record: CandidateRecord) -> float:
    return max((point.progress for point in store.points(record.search_id, record.number)), default=0.0)
