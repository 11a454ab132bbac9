"""What routes work with."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from nas.adapters.sql.course import Course
from nas.adapters.sql.reader import Reader
from nas.adapters.sql.store import SqlStore
from nas.adapters.sql.tokens import Tokens
from services.controller.columns import AllColumns
from services.controller.completed import Completed
from services.controller.dispatcher import Dispatcher
from services.controller.exports import Exports
from services.controller.profiling import Profiling
from services.controller.rates import Rates
from services.controller.settings import Settings
from services.controller.sums import Sums
from services.controller.tallies import Tallies
from services.controller.volumes import Volumes
from services.home import Home


@dataclass(frozen=True)
class Service:
    """Everything that outlives a request. ``nudges`` are called when something was asked of a search."""

    home: Home
    store: SqlStore
    settings: Settings
    dispatcher: Dispatcher
    reader: Reader = field(init=False)
    course: Course = field(init=False)
    tokens: Tokens = field(init=False)
    nudges: list[Callable[[], None]] = field(default_factory=list)
    rates: Rates = field(init=False)
    sums: Sums = field(init=False)
    columns: AllColumns = field(init=False)
    completed: Completed = field(init=False)
    volumes: Volumes = field(init=False)
    tallies: Tallies = field(init=False)
    exports: Exports = field(init=False)
    profiling: Profiling = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "reader", Reader(self.store))
        object.__setattr__(self, "course", Course(self.store))
        object.__setattr__(self, "tokens", Tokens(self.store))
        object.__setattr__(self, "rates", Rates(self.settings.quotas))
        object.__setattr__(self, "sums", Sums(self.reader))
        object.__setattr__(self, "columns", AllColumns(self.reader))
        object.__setattr__(self, "completed", Completed(self.reader))
        object.__setattr__(self, "volumes", Volumes(self.store, self.reader, self.completed))
        object.__setattr__(self, "tallies", Tallies(self.course))
        object.__setattr__(self, "exports", Exports(self.home.exports, self.dispatcher))
        object.__setattr__(self, "profiling", Profiling(self.dispatcher))

    def nudge(self) -> None:
        for own in self.nudges:
            own()


def service_of(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


TheService = Annotated[Service, Depends(service_of)]
