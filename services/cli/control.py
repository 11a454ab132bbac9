"""Commands that watch a search that runs elsewhere, or ask something of its driver."""

import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from nas.errors import SpecError, StateError, UnreachableError
from nas.ports import PublicStore
from nas.records import LogRecord, RequestKind, RequestRecord, SearchRecord, SearchState
from services.cli import remote
from services.cli.access import find_search, opened, opened_here
from services.cli.output import Format, Output, say
from services.cli.progress import Progress

LOOK_SECONDS = 0.5
AWAY_SECONDS = 120.0
"""That a server may be away while somebody follows a search of it."""
WAKING_SECONDS = 30.0
"""That a server has to take up what it is asked."""
SearchId = Annotated[str, typer.Argument(metavar="ID", help="A search: its id, a beginning of it, or its name.")]


def pause(search: SearchId) -> None:
    """Pause a search; candidates save checkpoints.

    Example: nas pause austen
    """
    with opened() as (_, store):
        record = _open_search(store, search)
        if not _is_attended(store, record):
            raise StateError(f"search {record.id} is {record.state}, nothing drives it")
        _ask(store, record, RequestKind.PAUSE)
        for _ in _while_attended(store, record.id):
            pass
        say(f"search {record.id} is {store.search(record.id).state}; go on with: nas resume {record.id}")


def stop(search: SearchId) -> None:
    """Begin no further candidates, make the final run.

    Candidates in training finish first.

    Example: nas stop austen
    """
    with opened() as (_, store):
        record = _open_search(store, search)
        _ask(store, record, RequestKind.STOP)


def cancel(search: SearchId) -> None:
    """End a search for good; nothing more is trained.

    Example: nas cancel austen
    """
    with opened() as (home, store):
        record = _open_search(store, search)
        if remote.client_of(store) is not None or _is_driven(store, record.id):
            _ask(store, record, RequestKind.CANCEL)
            for _ in _while_attended(store, record.id):
                pass
        else:
            from services.worker.driver import cancel_paused

            with opened_here() as (_, own):
                cancel_paused(home, own, record.id)
        say(f"search {record.id} is {store.search(record.id).state}")


def enqueue(
    search: SearchId,
    candidate: Annotated[Path, typer.Argument(metavar="CANDIDATE", help="A candidate in YAML.")],
) -> None:
    """Give a search a candidate, to be run next.

    Example: nas enqueue austen candidate.yaml
    """
    from services.single import read_candidate

    given = read_candidate(candidate)
    with opened() as (_, store):
        _ask(store, _open_search(store, search), RequestKind.ENQUEUE, given.to_dict())


def watch(
    search: SearchId,
    exit_status: Annotated[bool, typer.Option("--exit-status", help="Exit as nas wait does.")] = False,
) -> None:
    """Follow a search until it ends or pauses.

    Ctrl-C only stops following.

    Example: nas watch austen
    """
    with opened() as (_, store):
        done = follow(store, find_search(store, search).id)
    if exit_status:
        from services.cli.runs import raise_outcome

        raise_outcome(done)


def follow(store: PublicStore, search_id: str) -> SearchRecord:
    """Shows what happens in a search until nobody drives it any more; the search as it is then."""
    try:
        latest = max((event.sequence for event in store.events(search_id)), default=0)
        with Progress(store, search_id, after=max(0, latest - 5)) as progress:
            progress.look()
            for _ in _while_attended(store, search_id):
                with suppress(UnreachableError):
                    progress.look()
            progress.look()
    except KeyboardInterrupt:
        say(f"search {search_id} goes on; follow it with: nas watch {search_id}")
        raise
    done = store.search(search_id)
    say(done.result["sentence"] if done.result else f"{done.state}{f' ({done.reason})' if done.reason else ''}")
    return done


def wait(search: SearchId, output: Output = Format.TABLE) -> None:
    """Wait until a search ends; the exit code says how.

    0: completed, 3: nothing was trained to the end, 9: cancelled, 130: paused.

    Example: nas wait austen
    """
    from services.cli.runs import conclude

    with opened() as (_, store):
        record = find_search(store, search)
        for _ in _while_attended(store, record.id):
            pass
        conclude(store, record.id, output)


def logs(
    search: Annotated[str, typer.Argument(metavar="ID[/N]", help="A search, or one of its candidates.")],
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until the search ends or pauses.")] = False,
    lines: Annotated[int, typer.Option("-n", "--lines", min=0, help="Of the past, at most; 0: all.")] = 0,
) -> None:
    """Print what happened in a search, with times.

    Of a candidate also what its workers logged.

    Example: nas logs austen/3 -f
    """
    name, slash, number = search.partition("/")
    if slash and not number.isdecimal():
        raise SpecError("candidate", "must be ID/N with a number N", search)
    with opened() as (_, store):
        record = find_search(store, name)
        if slash:
            store.candidate(record.id, int(number))
        told = _Told(store, record.id, int(number) if slash else None)
        past = told.news()
        _print(past[-lines:] if lines else past)
        for _ in _while_attended(store, record.id) if follow else ():
            with suppress(UnreachableError):
                _print(told.news())
        if follow:
            _print(told.news())


class _Told:
    """What happened in a search, or of one of its candidates: each time what is new, by time."""

    def __init__(self, store: PublicStore, search_id: str, number: int | None) -> None:
        self._store, self._search_id, self._number = store, search_id, number
        self._event = self._line = 0
        self._notes: set[str] = set()

    def news(self) -> list[tuple[float, str, str]]:
        """Time, level and message."""
        events = self._store.events(self._search_id, after=self._event)
        lines = [] if self._number is None else self._store.log(self._search_id, self._number, after=self._line)
        # only now that both were read: else nothing is told, and the next call reads it again
        self._event = events[-1].sequence if events else self._event
        self._line = lines[-1].sequence if lines else self._line
        self._notes |= {own.message for own in events if own.kind == "note"}
        found = [(own.at, own.level, own.message) for own in events if self._number in (None, own.number)]
        return sorted([*found, *self._logged(lines)], key=lambda own: own[0])

    def _logged(self, lines: list[LogRecord]) -> Iterator[tuple[float, str, str]]:
        """Without what an event has said already."""
        for own in lines:
            if f"candidate {self._number}: {own.message}" not in self._notes:
                yield (own.at, own.level, f"attempt {own.attempt + 1}: {own.message}")


def _print(news: list[tuple[float, str, str]]) -> None:
    """The further lines of a message begin below its first."""
    for at, level, message in news:
        when = datetime.fromtimestamp(at).isoformat(sep=" ", timespec="seconds")
        begin = f"{when}  {level:<7}  "
        print(begin + message.replace("\n", "\n" + " " * len(begin)), flush=True)


def _open_search(store: PublicStore, text: str) -> SearchRecord:
    """A search that something may still be asked of."""
    record = find_search(store, text)
    if record.state in (SearchState.COMPLETED, SearchState.CANCELLED):
        raise StateError(f"search {record.id} is {record.state}")
    return record


def _ask(store: PublicStore, record: SearchRecord, kind: RequestKind, content: dict[str, Any] | None = None) -> None:
    """Asks the driver, and says what it answers; where there is none, the next one will find the request."""
    request = store.add_request(record.id, kind, content or {}, at=time.time())
    subject = "the candidate" if kind is RequestKind.ENQUEUE else f"search {record.id}"
    for _ in _while_waiting(store, record.id):
        if answer := _answer(store, request):
            say(f"{subject} {answer}")
            return
    if answer := _answer(store, request):  # the last thing that the driver did
        say(f"{subject} {answer}")
        return
    say(f"nothing drives search {record.id}; it is done with: nas resume {record.id}")


def _while_waiting(store: PublicStore, search_id: str) -> Iterator[None]:
    """As `_while_attended`; a server may also wake a search for what it is asked."""
    began = time.monotonic()
    if remote.client_of(store) is not None:
        while time.monotonic() - began < WAKING_SECONDS:
            yield
            time.sleep(LOOK_SECONDS)
    yield from _while_attended(store, search_id)


def _answer(store: PublicStore, request: RequestRecord) -> str:
    """Empty as long as there is none."""
    found = next(own for own in store.requests(request.search_id) if own.sequence == request.sequence)
    return found.answer if found.answered_at is not None else ""


def _is_driven(store: PublicStore, search_id: str) -> bool:
    from services.worker.lease import is_driven

    return is_driven(store, search_id)


def _is_attended(store: PublicStore, record: SearchRecord) -> bool:
    from services.worker.lease import is_attended

    return is_attended(store, record)


def _while_attended(store: PublicStore, search_id: str) -> Iterator[None]:
    """Looks again and again, as long as a driver is at work, or a server is going to start one."""
    away = 0.0
    while True:
        try:
            if not _is_attended(store, store.search(search_id)):
                return
            away = 0.0
        except UnreachableError as error:  # a server that is started again goes on with its searches
            if not away:
                away = time.monotonic()
                say(f"waiting: {error}")
            if time.monotonic() - away > AWAY_SECONDS:
                raise
        yield
        time.sleep(LOOK_SECONDS)
