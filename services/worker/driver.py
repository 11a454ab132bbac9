"""The driver of a search: joins store, suggester and engine, and runs until the search ends, pauses or fails.

Whatever stops a driver, another goes on from the database; pause, resume and recovery are one path.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from typing import Any

from nas.adapters.optuna_suggester import OptunaSuggester
from nas.adapters.sql.engine import sqlalchemy_url
from nas.candidate import Candidate
from nas.data.storage import probe
from nas.errors import LeaseError, NasError, SchemaError, StateError, StorageError
from nas.ledger import FINAL, SEARCH, Ledger
from nas.policy import STARTUP
from nas.ports import Engine, Store, Suggester
from nas.records import CandidateRecord, CandidateState, Origin, RequestKind, RequestRecord, SearchRecord, SearchState
from nas.recovery import abandon, cancel_candidate
from nas.search import Search
from nas.space import Space, load_space
from nas.spec import SearchSpec, parse_spec
from nas.train.checkpoint import CHECKPOINT, Checkpoint
from nas.units import format_flops, format_seconds
from services.device import Device
from services.ground import Ground
from services.home import Home
from services.profiles import Profiles
from services.worker.lease import Lease, elapsed, held

LOOK_SECONDS = 1.0
"""Between looks at what is asked of the driver."""
WAIT_SECONDS = 5.0
"""Between attempts to go on after a disk or a database refused."""
OVER = (SearchState.COMPLETED, SearchState.CANCELLED)
"""States of a search with nothing left to drive."""
ASKED_TO_PAUSE, INTERRUPTED = "asked to pause", "interrupted"

Note = Callable[[int, str], None]

log = logging.getLogger(__name__)


class SearchDriver:
    """Drives one search.

    Args:
        lease: of the search, held by this process.
        make_engine: gets the driver's way to note a message about a candidate.
        say: gets lines that cannot be recorded, while the database is away.
    """

    def __init__(
        self,
        home: Home,
        lease: Lease,
        search_id: str,
        ground: Ground,
        make_engine: Callable[[Note], Engine],
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._home, self._lease, self._ground, self._say = home, lease, ground, say
        self._store: Store = lease.store
        self._record = self._store.search(search_id)
        self._engine = make_engine(self._note)
        self._elapsed: float | None = None  # known since a search of this driver ended
        self._asked, self._looked = "", 0.0

    def interrupt(self) -> None:
        """Asks for a pause; may be called from a signal handler."""
        self._asked = self._asked or INTERRUPTED

    def run(self) -> SearchRecord:
        """The search's record as it ends. Errors of the search are recorded and raised; while a disk or the database
        refuses, waits and goes on."""
        while True:
            try:
                return self._drive()
            except SchemaError:
                raise
            except StorageError as error:
                self._wait(error)

    def _drive(self) -> SearchRecord:
        with closing(self._suggester()) as suggester:
            search = self._opened(suggester)
            try:
                self._engine.run(search, lambda: self._halted(search))
                return self._end(search)
            except LeaseError:
                raise
            except StorageError:
                self._elapsed = search.elapsed
                raise
            except BaseException as error:
                interrupted = isinstance(error, KeyboardInterrupt)
                state = SearchState.PAUSED if interrupted else SearchState.FAILED
                self._leave(state, "interrupted" if interrupted else str(error) or type(error).__name__, search)
                raise

    def _suggester(self) -> OptunaSuggester:
        return open_suggester(self._home, self._record.id, self._ground.spec, self._ground.space)

    def _opened(self, suggester: Suggester) -> Search:
        try:
            return self._open(suggester)
        except (LeaseError, StorageError):
            raise
        except Exception as error:
            self._leave(SearchState.FAILED, str(error) or type(error).__name__, None)
            raise

    def _open(self, suggester: Suggester) -> Search:
        """The search as it stands in the store, running."""
        ground, store = self._ground, self._store
        record = self._record = store.search(self._record.id)
        setting = record.setting
        appraisers = {
            name_of(ground, Device(**own["device"])): ground.appraiser(Profiles.from_dict(own))
            for own in setting["devices"]
        }
        before = self._elapsed if self._elapsed is not None else elapsed(record, self._lease.former)
        search = Search(
            record,
            ground.spec,
            ground.space,
            store,
            suggester,
            next(iter(appraisers.values())),
            devices=appraisers,
            elapsed=before,
            ended=self._forget,
            looks_ahead=True,
        )
        for own in store.candidates(record.id):  # a driver may have died before it did
            if own.state.terminal:
                self._forget(own)
        self._setting(elapsed=search.elapsed, since=store.now())
        self._update(state=SearchState.RUNNING, reason="", started_at=record.started_at or time.time())
        threads = "1 thread" if ground.threads == 1 else f"{ground.threads} threads"
        self._event("running", f"search {record.id} runs on {ground.device} with {threads} a worker")
        if any(own.kind is RequestKind.STOP and own.answered_at for own in store.requests(record.id)):
            self._stop(search)
        return search

    # --- what is asked while it runs ---

    def _halted(self, search: Search) -> bool:
        """Whether what is in training is to be interrupted."""
        self._lease.check()
        if not self._asked and time.monotonic() - self._looked >= LOOK_SECONDS:
            self._looked = time.monotonic()
            for request in self._store.requests(self._record.id, unanswered=True):
                self._store.answer_request(
                    request.search_id, request.sequence, self._answer(search, request), at=time.time()
                )
        return bool(self._asked)

    def _answer(self, search: Search, request: RequestRecord) -> str:
        match request.kind:
            case RequestKind.PAUSE:
                self._asked = self._asked or ASKED_TO_PAUSE
                return "pauses"
            case RequestKind.RESUME:
                self._asked = "" if self._asked == ASKED_TO_PAUSE else self._asked
                return "goes on"
            case RequestKind.CANCEL:
                self._asked = "cancelled"
                search.cancel()
                return "is cancelled"
            case RequestKind.STOP:
                self._stop(search)
                return "stops: what is in training finishes, then the final run is made"
            case RequestKind.ENQUEUE:
                return self._enqueue(search, request.content)
            case RequestKind.STOP_CANDIDATE:
                return search.withdraw(int(request.content["number"]))

    def _stop(self, search: Search) -> None:
        search.stop()
        self._update(state=SearchState.STOPPING)
        self._event("stopping", "no further candidates; what is in training finishes")

    def _enqueue(self, search: Search, content: Mapping[str, Any]) -> str:
        try:
            return search.enqueue(Candidate.from_dict(content))
        except (LeaseError, StorageError):
            raise
        except NasError as error:
            return f"is refused: {error}"

    # --- the end ---

    def _end(self, search: Search) -> SearchRecord:
        if self._asked == "cancelled":
            search.cancel()  # also what was interrupted since
            self._leave(SearchState.CANCELLED, "cancelled", search, finished_at=time.time())
        elif self._asked == INTERRUPTED and self._record.setting.get("served"):
            self._leave(SearchState.QUEUED, self._asked, search)  # its server goes on with it by itself
        elif self._asked:
            self._leave(SearchState.PAUSED, self._asked, search)
        else:
            self._conclude(search)
        return self._record

    def _conclude(self, search: Search) -> None:
        seconds = search.elapsed
        self._setting(elapsed=seconds)
        records = self._store.candidates(self._record.id)
        completed = [own for own in records if own.state is CandidateState.COMPLETED]
        if not completed:
            self._update(state=SearchState.FAILED, reason=_nothing_trained(records), finished_at=time.time())
            self._event("failed", self._record.reason, level="warning")
            return
        result = result_of(self._record, completed, seconds, _spent(search))
        self._update(state=SearchState.COMPLETED, result=result, finished_at=time.time(), reason="")
        self._event("completed", str(result["sentence"]))

    def _leave(self, state: SearchState, reason: str, search: Search | None, **more: Any) -> None:
        with suppress(StorageError):  # a disk that is full refuses this too; the search can be resumed from any state
            if search is not None:
                self._setting(elapsed=search.elapsed)
            self._update(state=state, reason=reason, **more)
            self._event(str(state), reason, level="warning")

    def _wait(self, error: StorageError) -> None:
        """Until disk and database take something again."""
        began = time.monotonic()
        self._say(f"waiting: {error}")
        with suppress(StorageError):  # a disk may refuse while the database does not
            self._event("waiting", str(error), level="warning")
        while True:
            time.sleep(WAIT_SECONDS)
            self._lease.check()
            if self._asked:
                self._leave(SearchState.PAUSED, "interrupted while waiting", None)
                raise StateError(f"interrupted while waiting: {error}") from error
            with suppress(StorageError):
                probe(self._home.artifacts / self._record.id)
                away = format_seconds(time.monotonic() - began)
                self._event("recovered", f"goes on after {away}: {error}", level="warning")
                return

    # --- records ---

    def _forget(self, ended: CandidateRecord) -> None:
        with suppress(StorageError):  # the next driver tries again
            forget_checkpoint(self._home, ended)

    def _setting(self, **facts: Any) -> None:
        self._update(setting={**self._record.setting, **facts})

    def _update(self, **changes: Any) -> None:
        self._record = self._store.update_search(self._record.id, **changes)

    def _event(self, kind: str, message: str, level: str = "info") -> None:
        log.info("%s", message, extra={"kind": kind})
        self._store.add_event(self._record.id, kind, message, at=time.time(), level=level)

    def _note(self, number: int, message: str) -> None:
        log.info("%s", message, extra={"kind": "note", "candidate": number})
        self._store.add_event(self._record.id, "note", f"candidate {number}: {message}", at=time.time(), number=number)


def name_of(ground: Ground, device: Device) -> str:
    """Of a device, in plans: none where there is one."""
    return device.hardware if len(ground.devices) > 1 else ""


def open_suggester(home: Home, search_id: str, spec: SearchSpec, space: Space) -> OptunaSuggester:
    """Whoever opens it closes it."""
    url, startup = sqlalchemy_url(home.database), STARTUP
    return OptunaSuggester(url, search_id, space, spec.minimize, spec.method.seed, startup)


def cancel_paused(home: Home, store: Store, search_id: str) -> None:
    """Ends for good a search that nobody drives."""
    with held(store, search_id) as lease:
        cancel_held(home, lease.store, search_id)


def cancel_held(home: Home, own: Store, search_id: str) -> None:
    """Ends for good a search that is not at work; ``own`` is the store for the holder of its lease."""
    at = time.time()
    abandon(own, search_id, at)
    record = own.search(search_id)
    spec = parse_spec(record.spec)
    ledger = Ledger(search_id, spec.budget.search_compute, spec.budget.final_compute, own.ledger(search_id))
    candidates = own.candidates(search_id)
    if candidates:  # one that was only submitted has neither them nor a space
        with closing(open_suggester(home, search_id, spec, load_space(record.setting["space"]))) as suggester:
            keys = suggester.keys()
            for candidate in candidates:
                if not candidate.state.terminal:
                    forget_checkpoint(home, cancel_candidate(own, ledger, candidate, at))
                    if candidate.number in keys:
                        suggester.forget(keys[candidate.number])
    own.update_search(search_id, state=SearchState.CANCELLED, reason="cancelled", finished_at=at)
    own.add_event(search_id, "cancelled", "cancelled", at=at, level="warning")


def forget_checkpoint(home: Home, ended: CandidateRecord) -> None:
    """Of a candidate that will not go on."""
    name = f"{ended.search_id}/{ended.number}/{CHECKPOINT}"
    Checkpoint(home.artifacts / name, home.depot, name).delete()


# --- results ---


def _spent(search: Search) -> int:
    return sum(search.ledger.balance(account).spent for account in (SEARCH, FINAL))


def result_of(record: SearchRecord, completed: Sequence[CandidateRecord], seconds: float, flops: int) -> dict[str, Any]:
    """What a search that took so many seconds and FLOPs came to."""
    best = best_of(completed)
    result = {
        "number": best.number,
        "val_bpb": best.val_bpb,
        "val_error": best.val_error,
        "test_bpb": best.test_bpb,
        "test_error": best.test_error,
        "train_flops": best.train_flops_spent,
        "seconds": best.seconds,
        "search_seconds": seconds,
        "search_flops": flops,
        "export": f"nas export {record.id}/{best.number} --out model",
    }
    final = next((own for own in completed if own.origin is Origin.FINAL and own is not best), None)
    return {**result, "sentence": _sentence(result, record.spec, final)}


def best_of(completed: Sequence[CandidateRecord]) -> CandidateRecord:
    """The final run, which alone has a test loss, unless a candidate of the search is better by more than the error:
    a final run that had less time than was planned may come out worse."""
    least = min(completed, key=lambda own: (own.val_bpb, own.number))
    final = next((own for own in completed if own.origin is Origin.FINAL), least)
    better_by = (final.val_bpb or 0.0) - (least.val_bpb or 0.0)
    return least if better_by > (final.val_error or 0.0) else final


def _nothing_trained(records: Sequence[CandidateRecord]) -> str:
    counts = Counter(str(own.state) for own in records)
    became = ", ".join(f"{count} {state}" for state, count in counts.most_common()) or "none was begun"
    return f"no candidate was trained to the end ({became}): allow a larger budget, or a space of smaller candidates"


def _sentence(result: Mapping[str, Any], spec: Mapping[str, Any], worse: CandidateRecord | None) -> str:
    """``worse`` is a final run that came out worse."""
    loss = _loss(result["val_bpb"], result["val_error"], "validation")
    if result["test_bpb"] is not None:
        loss = _loss(result["test_bpb"], result["test_error"], "test")
    if worse is not None:
        loss += f" (better than the final run, candidate {worse.number}, with {worse.val_bpb:.3f})"
    total = spec["budget"]["total"]["compute"]
    return (
        f"The best affordable model is candidate {result['number']}: {loss}, trained with "
        f"{format_flops(result['train_flops'])}; everything took {format_flops(result['search_flops'])} of "
        f"{format_flops(total)} and {format_seconds(result['search_seconds'])}. Export it with: {result['export']}"
    )


def _loss(loss: float, error: float | None, split: str) -> str:
    if error is None:
        return f"{loss:.3f} bits per byte on the {split} text (too short to say how sure that is)"
    return f"{loss:.3f} ± {1.96 * error:.3f} bits per byte on the {split} text (95%)"
