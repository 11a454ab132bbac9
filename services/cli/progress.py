"""Progress of a search in the foreground: a bar on a terminal, one line per event otherwise."""

import sys
import time
from types import TracebackType
from typing import Any, Self

from nas.ports import Store
from nas.records import CandidateState, EventRecord
from nas.units import format_flops, format_seconds

REFRESH_SECONDS = 1.0


class Progress:
    """A context; `event` is called with each event of the search."""

    def __init__(self, store: Store, search_id: str) -> None:
        self._store, self._id = store, search_id
        self._started, self._last = time.monotonic(), 0.0
        self._live: Any = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(stderr=True), refresh_per_second=2, transient=True)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def event(self, event: EventRecord) -> None:
        line = f"{format_seconds(time.monotonic() - self._started):>12}  {event.message}"
        if self._live is None:
            print(line, file=sys.stderr, flush=True)
            return
        self._live.console.print(line, markup=False, highlight=False)
        if time.monotonic() - self._last > REFRESH_SECONDS:
            self._last = time.monotonic()
            self._live.update(self._summary())

    def _summary(self) -> str:
        records = self._store.candidates(self._id)
        training = [own for own in records if own.state is CandidateState.TRAINING]
        spent = sum(own.train_flops_spent + own.eval_flops for own in records)
        best = min((own.val_bpb for own in records if own.val_bpb is not None), default=None)
        parts = [f"{len(records)} candidates", f"{len(training)} in training", f"{format_flops(spent)} settled"]
        if best is not None:
            parts.append(f"best {best:.3f} bits per byte")
        return " · ".join(parts)
