"""What a controller needs of processes elsewhere."""

from typing import Protocol

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
