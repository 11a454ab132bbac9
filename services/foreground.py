"""A search in the foreground: joins corpus, store, suggester and engine, and runs until it is done."""

import platform
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from nas.adapters.inline_engine import InlineEngine
from nas.adapters.optuna_suggester import OptunaSuggester
from nas.adapters.process_engine import ProcessEngine
from nas.adapters.sql.engine import sqlalchemy_url
from nas.appraise import Appraiser
from nas.candidate import Candidate
from nas.cost import FLOP_CONVENTION
from nas.data.corpora import Corpus, check_long_enough, load_corpus, overlap
from nas.data.texts import Texts
from nas.forecast import Forecast
from nas.measure.speed import COMPILES, measure_speed, time_steps
from nas.plan import Speed
from nas.ports import Assignment, Done, Driver, Outcome, Store, Wait
from nas.records import CandidateState, CurvePoint, EventRecord, Origin, SearchRecord, SearchState, Verdict
from nas.search import UNIFORM_SEEDS, Search, prepare
from nas.space import Space, load_space
from nas.spec import SearchSpec, parse_spec
from nas.train.worker import Workshop
from nas.units import format_flops, format_seconds
from services.device import precision_for, resolve_device, threads_for
from services.home import Home

Tell = Callable[[str], None]
Agree = Callable[[Forecast], None]


def new_search(store: Store, spec: SearchSpec, base: Path) -> SearchRecord:
    """A queued search under a name of its own; relative paths of the spec are made absolute first."""
    slug = "".join(c if c.isalnum() else "-" for c in spec.name.lower()).strip("-") or "search"
    record = SearchRecord(
        id=f"{slug[:40]}-{secrets.token_hex(2)}",
        name=spec.name,
        state=SearchState.QUEUED,
        created_at=time.time(),
        spec=spec.to_dict(),
        setting={"base": str(base.absolute())},
    )
    store.add_search(record)
    return record


@dataclass(frozen=True)
class Ground:
    """What a search stands on."""

    spec: SearchSpec
    space: Space
    texts: Texts
    device: str
    threads: int

    @property
    def precision(self) -> str:
        return precision_for(self.device)

    def appraiser(self, speed: Speed | None = None, alone: float = 1.0) -> Appraiser:
        kind = "cuda" if self.device.startswith("cuda") else "cpu"
        compiles = COMPILES[kind] if self.spec.method.parallel == 1 or kind == "cuda" else None
        return Appraiser(self.texts, self.spec.limits, speed, compiles, self.precision, alone=alone)


def survey(spec: SearchSpec, base: Path, home: Home, tell: Tell) -> Ground:
    """Loads corpus and space and makes the tokenizers; every complaint about the input comes from here."""
    space = load_space(spec.space, base)
    device = resolve_device(spec.device)
    corpus = load_corpus(spec.corpus, base=base, cache=home.cache)
    check_long_enough(corpus, max(int(context) for context in space.values("context")))
    texts = Texts(corpus, home.cache)
    vocabularies = sorted(int(size) for size in space.values("vocabulary"))
    tell(f"corpus {corpus.name}: {_sizes(corpus)}; tokenizers of {', '.join(map(str, vocabularies))}")
    for vocabulary in vocabularies:
        texts.bytes_per_token(vocabulary)
    return Ground(spec, space, texts, device, threads_for(device, spec.method.parallel))


def _sizes(corpus: Corpus) -> str:
    return ", ".join(f"{corpus.split_bytes(name) / 1e6:.2f} MB {name}" for name in ("train", "validation", "test"))


class Foreground:
    """Runs one search to its end, a pause or an error.

    Args:
        tell: gets lines for people. agree: gets the forecast before anything is spent, and raises to refuse.
        watch: gets each event as it is recorded.
    """

    def __init__(
        self, home: Home, store: Store, record: SearchRecord, tell: Tell, agree: Agree, watch: Callable[[EventRecord], None]
    ) -> None:
        self._home, self._store, self._record = home, store, record
        self._tell, self._agree, self._watch = tell, agree, watch
        self._seen = max((event.sequence for event in store.events(record.id)), default=0)

    def run(self) -> SearchRecord:
        """The search's record as it ends; errors of the search are recorded and raised."""
        started = time.monotonic()
        search: Search | None = None
        before = float(self._record.setting.get("elapsed", 0.0))
        try:
            ground = survey(
                parse_spec(self._record.spec), Path(self._record.setting["base"]), self._home, self._tell
            )
            search = self._begin(ground, before, started)
            self._engine(ground).run(_Observed(search, self._show))
            return self._end(search)
        except KeyboardInterrupt:
            self._leave(SearchState.PAUSED, "interrupted", search, started, before)
            raise
        except BaseException as error:
            self._leave(SearchState.FAILED, str(error) or type(error).__name__, search, started, before)
            raise

    def _begin(self, ground: Ground, before: float, started: float) -> Search:
        """Looks ahead, asks for agreement, measures the device, and builds the search."""
        fresh = "forecast" not in self._record.setting
        if fresh:
            self._foresee(ground)
        speed = Speed(**self._record.setting["speed"])
        appraiser = ground.appraiser(speed, float(self._record.setting["alone"]))
        seeds = 2 + UNIFORM_SEEDS
        suggester = OptunaSuggester(
            sqlalchemy_url(self._home.database),
            self._record.id,
            ground.space,
            ground.spec.minimize,
            ground.spec.method.seed,
            startup=seeds,
        )
        search = Search(
            self._record,
            ground.spec,
            ground.space,
            self._store,
            suggester,
            appraiser,
            elapsed=before + time.monotonic() - started,
        )
        if fresh:
            search.charge(self._record.setting["speed_flops"], self._record.setting["speed_seconds"], "device speed")
        self._update(state=SearchState.RUNNING, started_at=self._record.started_at or time.time())
        self._event("running", f"search {self._record.id} runs on {ground.device} with {ground.threads} threads each")
        return search

    def _foresee(self, ground: Ground) -> None:
        first = prepare(ground.spec, ground.space, ground.appraiser())
        shapes = [ground.space.decode(knobs) for knobs in (first.dial, first.largest) if knobs is not None]
        shapes += [ground.space.decode(ground.space.uniform(index)) for index in range(3)]
        began = time.monotonic()
        torch.set_num_threads(ground.threads)
        speed, flops = measure_speed(
            list(dict.fromkeys(shapes)), ground.device, ground.threads, ground.precision, ground.spec.budget.candidate.memory
        )
        alone = _alone(shapes[0], ground)
        seconds = time.monotonic() - began
        self._tell(
            f"device {ground.device}, {ground.threads} threads a worker: measured in {format_seconds(seconds)} for "
            f"{format_flops(flops)}, step times fitted within {speed.error:.0%}"
        )
        found = prepare(ground.spec, ground.space, ground.appraiser(speed, alone))
        self._agree(found)
        self._setting(
            **_facts(ground),
            forecast=found.to_dict(),
            reference=list(found.reference),
            full_trainings=found.full_trainings,
            candidate_flops=ground.spec.budget.candidate.compute,
            speed=speed.to_dict(),
            alone=alone,
            speed_flops=flops,
            speed_seconds=seconds,
        )

    def _engine(self, ground: Ground) -> Any:
        if ground.spec.method.parallel == 1:
            shop = Workshop(ground.texts, self._home.artifacts, ground.device, ground.threads, ground.threads)
            return InlineEngine(shop, self._note)
        base = Path(self._record.setting["base"])
        workshop = partial(open_workshop, ground.spec, base, self._home, ground.device)
        return ProcessEngine(workshop, ground.spec.method.parallel, ground.threads, self._note, self._show)

    # --- the end ---

    def _end(self, search: Search) -> SearchRecord:
        self._setting(elapsed=search.elapsed)
        records = self._store.candidates(self._record.id)
        completed = [own for own in records if own.state is CandidateState.COMPLETED]
        if not completed:
            reason = "no candidate was trained to the end: the budget is too small for one"
            self._update(state=SearchState.FAILED, reason=reason, finished_at=time.time())
            return self._record
        final = next((own for own in completed if own.origin is Origin.FINAL), None)
        best = final or min(completed, key=lambda own: (own.val_bpb, own.number))
        result = {
            "number": best.number,
            "val_bpb": best.val_bpb,
            "val_error": best.val_error,
            "test_bpb": best.test_bpb,
            "test_error": best.test_error,
            "train_flops": best.train_flops_spent,
            "seconds": best.seconds,
            "search_seconds": search.elapsed,
            "search_flops": sum(search.ledger.balance(name).spent for name in ("search", "final")),
            "export": f"nas export {self._record.id}/{best.number} --out model",
        }
        result["sentence"] = _sentence(result, self._record.spec)
        self._update(state=SearchState.COMPLETED, result=result, finished_at=time.time(), reason="")
        self._event("completed", str(result["sentence"]))
        self._show()
        return self._record

    def _leave(
        self, state: SearchState, reason: str, search: Search | None, started: float, before: float
    ) -> None:
        elapsed = search.elapsed if search else before + time.monotonic() - started
        self._setting(elapsed=elapsed)
        self._update(state=state, reason=reason)
        self._event(str(state), reason, level="warning")

    # --- records ---

    def _setting(self, **facts: Any) -> None:
        self._update(setting={**self._record.setting, **facts})

    def _update(self, **changes: Any) -> None:
        self._record = self._store.update_search(self._record.id, **changes)

    def _event(self, kind: str, message: str, level: str = "info") -> None:
        self._store.add_event(self._record.id, kind, message, at=time.time(), level=level)
        self._show()

    def _note(self, number: int, message: str) -> None:
        self._store.add_event(self._record.id, "note", f"candidate {number}: {message}", at=time.time(), number=number)
        self._show()

    def _show(self) -> None:
        for event in self._store.events(self._record.id, after=self._seen):
            self._seen = event.sequence
            self._watch(event)


def _alone(candidate: Candidate, ground: Ground) -> float:
    """How many times faster a run goes with all threads than with a worker's share."""
    everything = threads_for(ground.device, 1)
    if everything == ground.threads:
        return 1.0
    seconds = []
    for threads in (ground.threads, everything):
        torch.set_num_threads(threads)
        seconds.append(time_steps(candidate, ground.device, ground.precision).seconds)
    return max(1.0, seconds[0] / seconds[1])


def open_workshop(spec: SearchSpec, base: Path, home: Home, device: str) -> Workshop:
    """A worker's workshop, opened in its own process."""
    corpus = load_corpus(spec.corpus, base=base, cache=home.cache)
    threads = threads_for(device, spec.method.parallel)
    return Workshop(Texts(corpus, home.cache), home.artifacts, device, threads, threads_for(device, 1))


class _Observed:
    """A driver after whose every answer something is looked at."""

    def __init__(self, driver: Driver, after: Callable[[], None]) -> None:
        self._driver, self._after = driver, after

    def next(self) -> Assignment | Wait | Done:
        answer = self._driver.next()
        self._after()
        return answer

    def report(self, point: CurvePoint) -> Verdict:
        verdict = self._driver.report(point)
        if point.rung is not None:
            self._after()
        return verdict

    def finish(self, outcome: Outcome) -> None:
        self._driver.finish(outcome)
        self._after()


def _facts(ground: Ground) -> dict[str, Any]:
    corpus = ground.texts.corpus
    shared = overlap(corpus)
    return {
        "device": ground.device,
        "device_name": torch.cuda.get_device_name() if ground.device != "cpu" else platform.processor() or "cpu",
        "threads": ground.threads,
        "precision": ground.precision,
        "flop_convention": FLOP_CONVENTION,
        "space": ground.space.to_dict(),
        "corpus": {
            "name": corpus.name,
            "fingerprint": corpus.fingerprint,
            **{f"{name}_bytes": corpus.split_bytes(name) for name in ("train", "validation", "test")},
            "overlap_validation": shared.validation,
            "overlap_test": shared.test,
        },
        "versions": {name: _version(name) for name in ("nas", "torch", "optuna", "numpy", "tokenizers")}
        | {"python": platform.python_version()},
    }


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "unknown"


def _sentence(result: Mapping[str, Any], spec: Mapping[str, Any]) -> str:
    loss = f"{result['val_bpb']:.3f} bits per byte on the validation text"
    if result["test_bpb"] is not None:
        interval = f" ± {1.96 * result['test_error']:.3f} (95%)" if result["test_error"] is not None else ""
        loss = f"{result['test_bpb']:.3f}{interval} bits per byte on the test text"
    total = spec["budget"]["total"]["compute"]
    return (
        f"The best affordable model is candidate {result['number']}: {loss}, trained with "
        f"{format_flops(result['train_flops'])}; everything took {format_flops(result['search_flops'])} of "
        f"{format_flops(total)} and {format_seconds(result['search_seconds'])}. Export it with: {result['export']}"
    )
