"""What a controller needs of processes elsewhere."""

from collections.abc import Mapping
from typing import Any, Protocol

from nas.client.models import ScaledCandidate, WorkerInfo


class Dispatcher(Protocol):
    """Processes that drive searches, somewhere else. Calls come from one thread at a time."""

    @property
    def lost(self) -> str:
        """Why it can do nothing any more; empty as long as it can."""
        ...

    def state(self) -> str:
        """``ok``, or what is wrong with it now."""
        ...

    def start(self, search_id: str) -> bool:
        """Begins to drive a search; whether it has begun to: it may be somebody else's, or there is nothing to drive it
        with."""
        ...

    def starting(self, search_id: str) -> bool:
        """Whether a process for the search is there, or just about to be."""
        ...

    def keep(self) -> None:
        """To be called now and then: makes ready for what may come."""
        ...

    def drain(self) -> None:
        """Ends what ends with this server; searches save checkpoints."""
        ...

    def forget(self, search_id: str) -> None:
        """Has the machines that reach it delete their files of a search; waits for none of them."""
        ...

    def workers(self) -> list[WorkerInfo]: ...

    def scale(self, search_id: str, number: int, compute: int) -> ScaledCandidate:
        """A candidate carried to another budget."""
        ...

    def export(self, search_id: str, number: int) -> tuple[bytes, str]:
        """A gzipped tar of a trained candidate for transformers, and how it compares with that."""
        ...

    def generate(self, search_id: str, number: int, prompt: str, tokens: int, temperature: float, seed: int) -> str:
        """Text by a trained candidate, whose record the caller has looked at."""
        ...

    def forecast(self, spec: Mapping[str, Any], device: str) -> dict[str, Any]:
        """What a search would do (see `services.worker.ahead.foretell`), by a spec that was admitted.

        Raises `StateError` for a device without a profile, and `RefusedError` where too many are asked for at a time.
        """
        ...

    def kind(self, device: str) -> str:
        """``cpu`` or ``cuda``, where a device is named by its kind or is ``auto``."""
        ...

    def profile(self, device: str, parallel: int, *, full: bool, refit: bool) -> str:
        """Has a device profiled (see `services.worker.ahead.profile`); its fingerprint."""
        ...
