"""Candidates a second of processor time through cost and gate, sampling apart.

python -m benchmarks.gate_rate [--quick] [--out FILE]
"""

import argparse
import itertools
import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import machine, publish, table
from nas.appraise import Appraiser
from nas.data.corpora import load_corpus
from nas.data.texts import Texts
from nas.plan import Allowance
from nas.space import load_space
from nas.spec import Limits


@dataclass(frozen=True)
class Case:
    """A shipped space with an allowance and limits of its scale, which some candidates do not keep.

    Attributes:
        vocabulary: the largest that is drawn; a tokenizer is trained for each, and the novels give no more than 25,678.
        quick: the same for a quick run.
    """

    space: str
    allowance: Allowance
    limits: Limits
    vocabulary: int
    quick: int


CASES = (
    Case("llama-tiny", Allowance(10**12, memory=2**28), Limits(params=1_000_000, flops_per_byte=10**7), 8192, 1024),
    Case("llama-small", Allowance(10**18, memory=2**34), Limits(params=200_000_000, flops_per_byte=10**9), 16384, 4096),
)


def measure(case: Case, texts: Texts, count: int, largest: int) -> tuple[float, float]:
    """(candidates a second, share admitted); the best of three passes."""
    space, rng = load_space(case.space), random.Random(0)
    drawn = (space.decode(space.sample(rng)) for _ in itertools.count())
    candidates = list(itertools.islice((own for own in drawn if own.architecture.vocabulary <= largest), count))
    appraiser = Appraiser(texts, case.limits)
    for vocabulary in {candidate.architecture.vocabulary for candidate in candidates}:
        texts.bytes_per_token(vocabulary)
    best, admitted = 0.0, 0
    for _ in range(3):
        started = time.process_time()
        admitted = sum(appraiser.admits(candidate, case.allowance) for candidate in candidates)
        best = max(best, count / (time.process_time() - started))
    return best, admitted / count


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gate_rate")
    parser.add_argument("--quick", action="store_true", help="few candidates of small vocabularies: does it run?")
    parser.add_argument("--out", type=Path, help="file for the table")
    options = parser.parse_args(arguments)
    count = 500 if options.quick else 20_000
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        texts = Texts(load_corpus("austen"), Path(folder))
        for case in CASES:
            rate, admitted = measure(case, texts, count, case.quick if options.quick else case.vocabulary)
            rows.append([case.space, f"{rate:,.0f}", f"{admitted:.0%}"])
    parts = [
        "# Candidates through cost and gate",
        f"One core, {count:,} candidates of each space, drawn beforehand. Measured on {machine()}.",
        table(["space", "candidates a second", "admitted"], rows),
        "Command: `python -m benchmarks.gate_rate`",
    ]
    publish("\n\n".join(parts), options.out)


if __name__ == "__main__":
    main()
