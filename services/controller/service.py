"""What routes work with."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Protocol

from fastapi import Depends, Request

from nas.adapters.sql.reader import Reader
from nas.adapters.sql.store import SqlStore
from nas.adapters.sql.tokens import Tokens
from nas.client.models import WorkerInfo
from services.controller.rates import Rates
from services.controller.settings import Settings
from services.home import Home


class Dispatcher(Protocol):
    """Processes that drive searches, somewhere else. Calls come from one thread at a time."""

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

    def workers(self) -> list[WorkerInfo]: ...

    def generate(self, search_id: str, number: int, prompt: str, tokens: int, temperature: float, seed: int) -> str:
        """Text by a trained candidate, whose record the caller has looked at."""
        ...


@dataclass(frozen=True)
class Service:
    """Everything that outlives a request. ``nudges`` are called when something was asked of a search."""

    home: Home
    store: SqlStore
    settings: Settings
    dispatcher: Dispatcher
    reader: Reader = field(init=False)
    tokens: Tokens = field(init=False)
    nudges: list[Callable[[], None]] = field(default_factory=list)
    rates: Rates = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "reader", Reader(self.store))
        object.__setattr__(self, "tokens", Tokens(self.store))
        object.__setattr__(self, "rates", Rates(self.settings.quotas))

    def nudge(self) -> None:
        for own in self.nudges:
            own()


def service_of(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


TheService = Annotated[Service, Depends(service_of)]
