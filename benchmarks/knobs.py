"""What each knob of speedruns brings at equal FLOPs: a base candidate, and the same with one knob switched.

python -m benchmarks.knobs [--quick] [--work FOLDER] [--out FILE]

Runs are kept as they end, in JSON lines, so that the command goes on where it was ended. A knob wins where its mean is
below the base's by more than two standard errors of the difference, from the noise of seeds pooled over all knobs of
the case. A tool beside the search: nothing of the product reads what it finds.
"""

import argparse
import json
import math
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.machine import machine, publish, table
from nas.candidate import Candidate
from nas.cost import cost
from nas.data.corpora import load_corpus
from nas.data.texts import Texts
from nas.plan import Allowance, fastest, plan_run
from nas.space import load_space
from nas.train.run import Finish, Request, train
from nas.units import format_flops
from services.home import home

BASE = "base"
SPACE = {"about": "what is no knob here is at its default", "knobs": {"depth": 2, "width": 48, "vocabulary": 1024}}
KNOBS: Mapping[str, Mapping[str, Any]] = {
    BASE: {},
    "activation: relu2, MLP 3/2 as wide": {"activation": "relu2", "mlp_ratio": 4.5},
    "activation: relu2, MLP as wide": {"activation": "relu2"},
    "swiglu, MLP 2/3 as wide": {"mlp_ratio": 2.0},
    "value_embeddings: alternate": {"value_embeddings": "alternate"},
    "value_embeddings: all": {"value_embeddings": "all"},
    "x0_shortcut": {"x0_shortcut": True},
    "softcap: 15": {"softcap": 15.0},
    "softcap: 30": {"softcap": 30.0},
    "window_pattern: SL of 1/4": {"window_pattern": "SL", "window_ratio": 0.25},
    "window_pattern: SL of 1/8": {"window_pattern": "SL", "window_ratio": 0.125},
    "cooldown: 0.4": {"cooldown": 0.4},
    "cooldown: 0.95": {"cooldown": 0.95},
}
"""With the values that differ from the base. An MLP of two matrices has the base's FLOPs at 3/2 of its width; that as
wide is to be held against one of three that costs as little."""


@dataclass(frozen=True, slots=True)
class Case:
    """A size of the base candidate, with the FLOPs of each of its runs, how many seeds there are, and the knobs."""

    name: str
    compute: int
    seeds: int
    base: Mapping[str, Any]
    knobs: tuple[str, ...] = tuple(KNOBS)

    def candidate(self, knob: str) -> Candidate:
        return load_space(SPACE).decode({**self.base, **KNOBS[knob]})


CASES = (
    Case("small", 10**11, 5, {"depth": 2, "width": 48, "vocabulary": 1024, "head_size": 16}),
    Case("middle", 4 * 10**11, 5, {"depth": 3, "width": 64, "vocabulary": 2048, "head_size": 16}),
    Case(
        "large",
        16 * 10**11,
        3,
        {"depth": 4, "width": 96, "vocabulary": 2048, "head_size": 16},
        tuple(knob for knob in KNOBS if not knob.startswith(("window", "cooldown"))),  # for time
    ),
)
QUICK = (Case("quick", 10**9, 2, {"depth": 2, "width": 16, "vocabulary": 256, "head_size": 8, "context": 64}),)


@dataclass(frozen=True, slots=True)
class Result:
    """A run that ended: bits per byte on the whole validation text, ``None`` if it diverged."""

    case: str
    knob: str
    seed: int
    candidate: str
    steps: int
    bpb: float | None


def run(case: Case, knob: str, seed: int, texts: Texts) -> Result:
    candidate = case.candidate(knob)
    facts = texts.facts(candidate.architecture.vocabulary, candidate.architecture.context)
    own = cost(candidate, facts.bytes_per_token)
    plan = plan_run(candidate, own, facts, Allowance(case.compute), rungs=0, laid_out=(fastest(candidate), 0))
    *_, finish = train(Request(candidate, plan, seed, rungs=()), texts)
    assert isinstance(finish, Finish)
    return Result(
        case.name, knob, seed, candidate.id, finish.step, finish.validation.bpb if finish.validation else None
    )


def measure(cases: Sequence[Case], texts: Texts, path: Path) -> list[Result]:
    """All runs of the cases, those that are in the file already read from it."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    kept = {(own.case, own.knob, own.seed, own.candidate): own for own in (Result(**json.loads(li)) for li in lines)}
    wanted = [(case, knob, seed) for case in cases for seed in range(case.seeds) for knob in case.knobs]
    results = []
    for number, (case, knob, seed) in enumerate(wanted, start=1):
        key = (case.name, knob, seed, case.candidate(knob).id)
        if key not in kept:
            kept[key] = run(case, knob, seed, texts)
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(kept[key])) + "\n")
            print(f"{number} of {len(wanted)}: {case.name}, {knob}, seed {seed}: {kept[key].bpb}", file=sys.stderr)
        results.append(kept[key])
    return results


def losses(results: Sequence[Result], case: Case) -> dict[str, list[float]]:
    """Of each knob, by seed; a run that diverged is infinitely bad."""
    return {
        knob: [math.inf if own.bpb is None else own.bpb for own in results if (own.case, own.knob) == (case.name, knob)]
        for knob in case.knobs
    }


def noise(by_knob: Mapping[str, Sequence[float]]) -> float:
    """Standard deviation between seeds, pooled over the knobs that never diverged."""
    finite = [own for own in by_knob.values() if all(map(math.isfinite, own))]
    return math.sqrt(statistics.fmean(statistics.variance(own) for own in finite))


def verdict(difference: float, error: float) -> str:
    if abs(difference) <= 2 * error:
        return "no difference"
    return "wins" if difference < 0 else "loses"


def section(case: Case, results: Sequence[Result]) -> str:
    by_knob = losses(results, case)
    deviation = noise(by_knob)
    error = deviation * math.sqrt(2 / case.seeds)
    steps = {own.knob: own.steps for own in results if own.case == case.name}
    base = statistics.fmean(by_knob[BASE])
    rows = []
    for knob, own in by_knob.items():
        mean = statistics.fmean(own)
        said = "" if knob == BASE else verdict(mean - base, error)
        rows.append([knob, f"{steps[knob]}", f"{mean:.4f}", f"{mean - base:+.4f}", said])
    shape = ", ".join(f"{name} {value}" for name, value in case.base.items())
    parts = [
        f"## {case.name}: {format_flops(case.compute)}",
        f"{shape}; {case.seeds} seeds. Between seeds the standard deviation is {deviation:.4f}, so a difference is "
        f"known to ±{error:.4f} (one standard error).",
        table(["knob", "steps", "bits per byte", "against the base", "verdict"], rows),
    ]
    return "\n\n".join(parts)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.knobs")
    parser.add_argument("--quick", action="store_true", help="a few steps of a tiny model: does it run?")
    parser.add_argument("--work", type=Path, help="folder for runs, texts and tokenizers")
    parser.add_argument("--out", type=Path, help="file for the tables")
    options = parser.parse_args(arguments)
    folder = options.work or home().cache / "knobs"
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    cases = QUICK if options.quick else CASES
    results = measure(cases, Texts(load_corpus("austen"), folder), folder / "runs.jsonl")
    parts = [
        "# Knobs of speedruns at equal FLOPs",
        "The base has every knob at its default, each other line one of them switched; all train with the same FLOPs "
        "of `model_flops_v1`, to less than a step, on Austen's novels, and are scored on the whole validation text. A "
        "knob wins or loses where its mean differs by more than two standard errors; of so many comparisons one or two "
        f"do so by chance. Measured on {machine()}.",
        *(section(case, results) for case in cases),
        "Command: `python -m benchmarks.knobs`",
    ]
    publish("\n\n".join(parts), options.out)


if __name__ == "__main__":
    main()
