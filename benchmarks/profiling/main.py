"""python -m benchmarks.profiling [--quick | --share X] [--device cpu|cuda] [--short] [--stored] [--rounds N]
[--parts PARTS] [--seed S] [--out FILE]"""

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from benchmarks.machine import machine, publish
from benchmarks.profiling import cost, gate, memory, modules, step_time
from benchmarks.profiling.held_out import ROUNDS, Setting
from benchmarks.profiling.report import Part, paragraph, write_up
from services.profiles import describe

ABOUT = """\
What is predicted of a training step without making it, against real steps. Candidates are drawn with seeds of their
own: none was in the profile that predicts them, which was made beforehand. Unless said otherwise they have any number
of sequences in a pass, one or two passes in a step, and activation checkpointing three times in ten. Errors are
relative to what was measured.
"""
QUICK = 0.1

PARTS: dict[str, Callable[[Setting], Part]] = {
    "memory": memory.measure,
    "time": step_time.measure,
    "gate": gate.measure,
    "cost": cost.measure,
    "modules": modules.measure,
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profiling")
    much = parser.add_mutually_exclusive_group()
    much.add_argument("--quick", action="store_true", help="a tenth of the candidates: does it run?")
    much.add_argument("--share", type=float, default=1.0, help="of the candidates (default: 1)")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS), help="only these")
    parser.add_argument("--seed", type=int, default=0, help="of the candidates")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"in which times are measured (default: {ROUNDS})")
    parser.add_argument("--short", action="store_true", help="by a short profile, and no step compiled")
    parser.add_argument("--out", type=Path, help="file for the tables")
    parser.add_argument("--stored", action="store_true", help="by the profile that nas keeps of the device, if any")
    given = parser.parse_args(arguments)
    setting = Setting(
        given.device, QUICK if given.quick else given.share, given.seed, given.rounds, given.short, given.stored
    )
    torch.set_num_threads(setting.fingerprint.threads)
    parts = [PARTS[name](setting) for name in PARTS if name in given.parts]
    command = shlex.join(["python", "-m", "benchmarks.profiling", *(sys.argv[1:] if arguments is None else arguments)])
    texts = [
        "# Predictions against real steps",
        paragraph(ABOUT),
        f"Measured on {machine(given.device)}; {setting.fingerprint.precision} products; seed {given.seed}.",
        *([f"The profile: {describe(setting.profile)}."] if needs_profile(given.parts) else []),
        write_up(parts),
        f"Command: `{command}`",
    ]
    publish("\n\n".join(texts), given.out)


def needs_profile(parts: Sequence[str]) -> bool:
    """Whether it was made: modules are counted and not predicted."""
    return set(parts) != {"modules"}
