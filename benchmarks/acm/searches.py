"""Searches by the command that users have, each with a database of its own: none may learn from another."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nas.adapters.sql.store import open_store
from nas.candidate import Candidate, describe
from nas.data.corpora import SPLITS, Corpus
from nas.errors import NasError
from nas.records import CandidateState, Origin, SearchState

COMMAND = (sys.executable, "-m", "services.cli.main")


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
        epochs, val_bpb, test_bpb: of the final run.
        seconds: of the whole search.
    """

    flops: int
    profile_flops: int
    final_flops: int
    trained: int
    stopped: int
    model: str
    epochs: float
    val_bpb: float
    test_bpb: float
    seconds: float


def write_texts(corpus: Corpus, folder: Path) -> dict[str, str]:
    """The documents as files, as users have them; the corpus of a spec."""
    for split in SPLITS:
        place = folder / split
        place.mkdir(parents=True, exist_ok=True)
        for number, document in enumerate(getattr(corpus, split)):
            path = place / f"{number:04}.txt"
            if not path.is_file():
                path.write_text(document.text, encoding="utf-8")
    return {split: f"{folder / split}/*.txt" for split in SPLITS}


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
        database = folder / f"{search.name}.db"
        _run(search, corpus, folder, database)
        kept.write_text(json.dumps(asdict(read(database))), encoding="utf-8")
    return Found(**json.loads(kept.read_text(encoding="utf-8")))


def _run(search: Search, corpus: Mapping[str, str], folder: Path, database: Path) -> None:
    """By `nas run`, or `nas resume` where it was broken off; raises `NasError` with what the command said last."""
    spec = folder / f"{search.name}.yaml"
    spec.write_text(json.dumps(search.plan.spec(corpus, search.compute, search.seed)), encoding="utf-8")
    begun = _begun(database)
    command = ["resume", begun] if begun else ["run", str(spec), "--yes"]
    variables = {
        **os.environ,
        "NAS_HOME": str(folder / "home"),
        "NAS_DATABASE": f"sqlite:///{database}",
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [*COMMAND, *command, "--engine", "inline"], env=variables, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise NasError(f"search {search.name}: {(done.stderr.strip().splitlines() or ['it said nothing'])[-1]}")


def _begun(database: Path) -> str:
    """The id of the search that a database holds; empty for none."""
    if not database.is_file():
        return ""
    with closing(open_store(f"sqlite:///{database}")) as store:
        searches = store.searches()
    return searches[0].id if searches else ""


def read(database: Path) -> Found:
    """What the only search of a database came to."""
    with closing(open_store(f"sqlite:///{database}")) as store:
        (search,) = store.searches()
        candidates: Sequence[Any] = store.candidates(search.id)
        if search.state is not SearchState.COMPLETED or search.result is None:
            raise NasError(f"{database.name}: the search is {search.state}: {search.reason}")
        profiles = [own["profile"]["flops"] for own in search.setting["devices"]]
        result = search.result
    (final,) = [own for own in candidates if own.origin is Origin.FINAL]
    if final.test_bpb is None:
        raise NasError(f"{database.name}: the final run was {final.state}")
    return Found(
        flops=int(result["search_flops"]),
        profile_flops=int(sum(profiles)),
        final_flops=int(final.train_flops_spent),
        trained=sum(own.state is CandidateState.COMPLETED and own is not final for own in candidates),
        stopped=sum(own.state is CandidateState.STOPPED for own in candidates),
        model=describe(Candidate.from_dict(final.candidate)),
        epochs=float(final.plan["epochs"]),
        val_bpb=float(final.val_bpb),
        test_bpb=float(final.test_bpb),
        seconds=float(result["search_seconds"]),
    )
