"""A search in the foreground: joins store, suggester and engine, and runs until it is done."""

import secrets
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

from nas.adapters.inline_engine import InlineEngine
from nas.adapters.optuna_suggester import OptunaSuggester
from nas.adapters.process_engine import ProcessEngine
from nas.adapters.sql.engine import sqlalchemy_url
from nas.errors import StorageError
from nas.forecast import Forecast
from nas.plan import Speed
from nas.ports import Assignment, Done, Driver, Engine, Outcome, Store, Suggester, Wait
from nas.propose import UNIFORM_SEEDS
from nas.records import (
    CandidateRecord,
    CandidateState,
    CurvePoint,
    EventRecord,
    Origin,
    SearchRecord,
    SearchState,
    Verdict,
)
from nas.search import Search
from nas.spec import SearchSpec
from nas.train.worker import Workshop
from nas.units import format_flops, format_seconds
from services.ground import Ground, Tell, foresee, open_workshop, survey
from services.home import Home

LOOK_SECONDS = 1.0
"""Between rungs, what is new is looked for so often."""


def begin(
    home: Home, store: Store, spec: SearchSpec, base: Path, tell: Tell, agree: Callable[[Forecast], None]
) -> tuple[SearchRecord, Ground]:
    """A queued search and its ground. Input that does not do, or a forecast that is refused, leaves no record.

    Args:
        base: what relative paths of the spec are relative to.
        agree: gets the forecast before anything is spent, and raises to refuse.
    """
    started = time.monotonic()
    ground = survey(spec, base, home, tell)
    prospect = foresee(ground, tell)
    elapsed = time.monotonic() - started
    agree(prospect.forecast)
    slug = "".join(c if c.isalnum() else "-" for c in spec.name.lower()).strip("-") or "search"
    record = SearchRecord(
        id=f"{slug[:40]}-{secrets.token_hex(3)}",
        name=spec.name,
        state=SearchState.QUEUED,
        created_at=time.time(),
        spec=spec.to_dict(),
        setting={"base": str(base.absolute()), "elapsed": elapsed, **prospect.setting},
    )
    store.add_search(record)
    return record, ground


class Foreground:
    """Runs one search to its end, a pause or an error.

    Args:
        record: of a search that this process alone drives (`Home.claim`).
        watch: gets the events that are new, if any, now and then.
    """

    def __init__(
        self,
        home: Home,
        store: Store,
        record: SearchRecord,
        ground: Ground,
        watch: Callable[[Sequence[EventRecord]], None],
    ) -> None:
        self._home, self._store, self._record, self._ground, self._watch = home, store, record, ground, watch
        self._seen = max((event.sequence for event in store.events(record.id)), default=0)

    def run(self) -> SearchRecord:
        """The search's record as it ends; errors of the search are recorded and raised."""
        with closing(self._suggester()) as suggester:
            search = self._open(suggester)
            try:
                self._engine().run(_Observed(search, self._look))
                return self._end(search)
            except KeyboardInterrupt:
                self._leave(SearchState.PAUSED, "interrupted", search)
                raise
            except BaseException as error:
                self._leave(SearchState.FAILED, str(error) or type(error).__name__, search)
                raise

    def _suggester(self) -> OptunaSuggester:
        spec, url = self._ground.spec, sqlalchemy_url(self._home.database)
        space, startup = self._ground.space, 2 + UNIFORM_SEEDS
        return OptunaSuggester(url, self._record.id, space, spec.minimize, spec.method.seed, startup)

    def _open(self, suggester: Suggester) -> Search:
        """The search as it stands in the store, running."""
        ground, setting = self._ground, self._record.setting
        search = Search(
            self._record,
            ground.spec,
            ground.space,
            self._store,
            suggester,
            ground.appraiser(Speed(**setting["speed"]), float(setting["alone"])),
            elapsed=self._elapsed(),
        )
        if not self._store.ledger(self._record.id):
            search.charge(setting["speed_flops"], setting["speed_seconds"], "device speed")
        self._setting(elapsed=search.elapsed, since=time.time())
        self._update(state=SearchState.RUNNING, reason="", started_at=self._record.started_at or time.time())
        threads = "1 thread" if ground.threads == 1 else f"{ground.threads} threads"
        self._event("running", f"search {self._record.id} runs on {ground.device} with {threads} a worker")
        return search

    def _elapsed(self) -> float:
        """Seconds that the search has been running; of a run that was killed, up to its last event."""
        setting, killed = self._record.setting, self._record.state is SearchState.RUNNING
        last = max((event.at for event in self._store.events(self._record.id)), default=0.0) if killed else 0.0
        return float(setting["elapsed"]) + max(0.0, last - float(setting.get("since", last)))

    def _engine(self) -> Engine:
        ground = self._ground
        if ground.spec.method.parallel == 1:
            shop = Workshop(ground.texts, self._home.artifacts, ground.device, ground.threads, ground.all_threads)
            return InlineEngine(shop, self._note)
        base = Path(self._record.setting["base"])
        workshop = partial(
            open_workshop, ground.spec, base, self._home, ground.device, ground.threads, ground.all_threads
        )
        return ProcessEngine(workshop, ground.spec.method.parallel, ground.threads, self._note, self._look)

    # --- the end ---

    def _end(self, search: Search) -> SearchRecord:
        elapsed = search.elapsed
        self._setting(elapsed=elapsed)
        records = self._store.candidates(self._record.id)
        completed = [own for own in records if own.state is CandidateState.COMPLETED]
        if not completed:
            self._update(state=SearchState.FAILED, reason=_nothing_trained(records), finished_at=time.time())
            return self._record
        best = best_of(completed)
        result = {
            "number": best.number,
            "val_bpb": best.val_bpb,
            "val_error": best.val_error,
            "test_bpb": best.test_bpb,
            "test_error": best.test_error,
            "train_flops": best.train_flops_spent,
            "seconds": best.seconds,
            "search_seconds": elapsed,
            "search_flops": sum(search.ledger.balance(name).spent for name in ("search", "final")),
            "export": f"nas export {self._record.id}/{best.number} --out model",
        }
        final = next((own for own in completed if own.origin is Origin.FINAL and own is not best), None)
        result["sentence"] = _sentence(result, self._record.spec, final)
        self._update(state=SearchState.COMPLETED, result=result, finished_at=time.time(), reason="")
        self._event("completed", str(result["sentence"]))
        return self._record

    def _leave(self, state: SearchState, reason: str, search: Search) -> None:
        with suppress(StorageError):  # a disk that is full refuses this too; the search can be resumed from any state
            self._setting(elapsed=search.elapsed)
            self._update(state=state, reason=reason)
            self._event(str(state), reason, level="warning")

    # --- records ---

    def _setting(self, **facts: Any) -> None:
        self._update(setting={**self._record.setting, **facts})

    def _update(self, **changes: Any) -> None:
        self._record = self._store.update_search(self._record.id, **changes)

    def _event(self, kind: str, message: str, level: str = "info") -> None:
        self._store.add_event(self._record.id, kind, message, at=time.time(), level=level)
        self._look()

    def _note(self, number: int, message: str) -> None:
        self._store.add_event(self._record.id, "note", f"candidate {number}: {message}", at=time.time(), number=number)
        self._look()

    def _look(self) -> None:
        events = self._store.events(self._record.id, after=self._seen)
        self._seen = events[-1].sequence if events else self._seen
        self._watch(events)


class _Observed:
    """A driver after whose answers something is looked at: after every one at a rung, else now and then."""

    def __init__(self, driver: Driver, after: Callable[[], None]) -> None:
        self._driver, self._after, self._last = driver, after, time.monotonic()

    def next(self) -> Assignment | Wait | Done:
        answer = self._driver.next()
        self._look()
        return answer

    def report(self, point: CurvePoint) -> Verdict:
        verdict = self._driver.report(point)
        if point.rung is not None or time.monotonic() - self._last >= LOOK_SECONDS:
            self._look()
        return verdict

    def finish(self, outcome: Outcome) -> None:
        self._driver.finish(outcome)
        self._look()

    def _look(self) -> None:
        self._last = time.monotonic()
        self._after()


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
