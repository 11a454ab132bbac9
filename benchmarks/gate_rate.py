"""Candidates a second of processor time through cost and gate, sampling apart.

python -m benchmarks.gate_rate [--quick] [--out FILE]
"""

import argparse
import itertools
import random
import tempfile
import time
from pathlib import Path

from benchmarks.machine import machine
from nas.appraise import Appraiser
from nas.data.corpora import load_corpus
from nas.data.texts import Texts
from nas.plan import Allowance
from nas.space import load_space
from nas.spec import Limits


def rate(name: str, count: int, texts: Texts, largest: int) -> tuple[float, float]:
    """(candidates a second, share admitted) of ``count`` candidates of a space; the best of three passes.

    ``largest`` vocabulary: a tokenizer is trained for each.
    """
    space, rng = load_space(name), random.Random(0)
    drawn = (space.decode(space.sample(rng)) for _ in itertools.count())
    candidates = list(itertools.islice((own for own in drawn if own.architecture.vocabulary <= largest), count))
    appraiser = Appraiser(texts, Limits(params=20_000_000, flops_per_byte=10**7))
    grant = Allowance(10**12, memory=2**30)
    for vocabulary in {candidate.architecture.vocabulary for candidate in candidates}:
        texts.bytes_per_token(vocabulary)
    best, admitted = 0.0, 0
    for _ in range(3):
        began = time.process_time()
        admitted = sum(appraiser.admits(candidate, grant) for candidate in candidates)
        best = max(best, count / (time.process_time() - began))
    return best, admitted / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="fewer candidates")
    parser.add_argument("--out", type=Path, help="a Markdown file to write as well")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        texts = Texts(load_corpus("austen"), Path(folder))
        count, largest = (500, 512) if options.quick else (20_000, 8192)
        found = {"llama-tiny": rate("llama-tiny", count, texts, largest)}
    lines = [
        "# Cost and gate",
        "",
        f"{machine()}; one core",
        "",
        "| space | candidates a second | admitted |",
        "|---|---|---|",
    ]
    lines += [f"| {name} | {per_second:,.0f} | {share:.0%} |" for name, (per_second, share) in found.items()]
    text = "\n".join([*lines, "", "Command: python -m benchmarks.gate_rate"])
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
