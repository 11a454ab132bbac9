"""Searches of growing budgets, by the real command."""

import json
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import command
from nas.candidate import Candidate, describe
from nas.errors import NasError
from nas.records import CandidateState, Origin


@dataclass(frozen=True, slots=True)
class Plan:
    """The space, by name or path, and how money is divided: the shares of the final run, and of the training of one
    candidate, of all."""

    space: str
    final: float
    candidate: float

    def spec(self, corpus: Mapping[str, str], compute: int, seed: int) -> dict[str, Any]:
        return {
            "name": "acm",
            "corpus": dict(corpus),
            "space": self.space,
            "device": "cpu",
            "budget": {
                "total": {"compute": compute},
                "final": self.final,
                "candidate": {"compute": round(self.candidate * compute)},
            },
            "limits": {"export": "any"},
            "minimize": ["val_bpb"],
            "method": {"seed": seed},
        }


@dataclass(frozen=True, slots=True)
class Search:
    """One to make: a whole budget and a seed."""

    plan: Plan
    compute: int
    seed: int

    @property
    def name(self) -> str:
        own = self.plan
        return f"{Path(own.space).stem}-{own.final:g}-{own.candidate:g}-{self.compute:g}-{self.seed}"


@dataclass(frozen=True, slots=True)
class Found:
    """What a search came to.

    Attributes:
        flops: everything that it spent: candidates, stopped and failed ones too, scores, the final run.
        profile_flops: of the device's profile beside, which no search pays for.
        final_flops: of the final run alone.
        model: the final run's candidate, in words.
        origin: of the candidate that it was scaled from: the dial, or proposed.
        epochs, val_bpb, test_bpb: of the final run.
        seconds: of the whole search.
    """

    flops: int
    profile_flops: int
    final_flops: int
    trained: int
    stopped: int
    model: str
    origin: str
    epochs: float
    val_bpb: float
    test_bpb: float
    seconds: float


def make(
    wanted: Iterable[Search], corpus: Mapping[str, str], folder: Path, tell: Callable[[str], None], workers: int
) -> dict[Search, Found]:
    """All of them; what was made is kept, what was broken off goes on."""
    searches = list(wanted)
    with ThreadPoolExecutor(workers) as threads:
        futures = {threads.submit(_made, own, corpus, folder): own for own in reversed(searches)}
        found = {}
        for number, future in enumerate(as_completed(futures), 1):
            own = futures[future]
            found[own] = future.result()
            tell(f"{number} of {len(futures)}: search {own.name}: {found[own].test_bpb:.4f}, {found[own].model}")
    return {own: found[own] for own in searches}


def _made(search: Search, corpus: Mapping[str, str], folder: Path) -> Found:
    kept = folder / f"{search.name}.json"
    if not kept.is_file():
        database = command.search(search.plan.spec(corpus, search.compute, search.seed), search.name, folder)
        kept.write_text(json.dumps(asdict(read(database))), encoding="utf-8")
    return Found(**json.loads(kept.read_text(encoding="utf-8")))


def read(database: Path) -> Found:
    """What the only search of a database came to."""
    with command.opened(database) as store:
        search = command.completed(store, database)
        candidates = store.candidates(search.id)
    profiles = [own["profile"]["flops"] for own in search.setting["devices"]]
    result = search.result or {}
    (final,) = [own for own in candidates if own.origin is Origin.FINAL]
    if final.val_bpb is None or final.test_bpb is None:
        raise NasError(f"{database.name}: the final run was {final.state}")
    return Found(
        flops=int(result["search_flops"]),
        profile_flops=int(sum(profiles)),
        final_flops=final.train_flops_spent,
        trained=sum(own.state is CandidateState.COMPLETED and own is not final for own in candidates),
        stopped=sum(own.state is CandidateState.STOPPED for own in candidates),
        model=describe(Candidate.from_dict(final.candidate)),
        origin=str(next(own.origin for own in candidates if final.reason.startswith(f"candidate {own.number} "))),
        epochs=float(final.plan["epochs"]),
        val_bpb=final.val_bpb,
        test_bpb=final.test_bpb,
        seconds=float(result["search_seconds"]),
    )
