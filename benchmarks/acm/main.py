"""python -m benchmarks.acm [--corpus NAME] [--budgets FLOPS ...] [--ladder FLOPS ...] [--seeds 3] [--workers 2]

Goes on where it was ended: runs and searches are kept under --work.
"""

import argparse
import os
import shlex
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import runs
from benchmarks.acm import searches
from benchmarks.acm.figure import figure
from benchmarks.acm.ladder import MOST_EPOCHS, Rung, ladder, rungs
from benchmarks.acm.multiplier import Ladder, Multiplier, Spent, break_even, multiplier
from benchmarks.acm.searches import Found, Plan, Search
from benchmarks.command import write_texts
from benchmarks.corpora import NAMES, corpus
from benchmarks.machine import machine, publish, table
from nas.appraise import Appraiser
from nas.candidate import describe
from nas.data.texts import Texts
from nas.space import load_space
from nas.spec import Limits
from nas.units import format_flops, format_seconds, parse_flops
from services.home import home

ROOT = Path(__file__).parents[2]
OUT, PICTURE = ROOT / "docs/results/acm.md", ROOT / "docs/images/acm.svg"
BUDGETS = ("5TFLOP", "10TFLOP", "20TFLOP")
LADDER = ("2.5TFLOP", "5TFLOP", "10TFLOP", "20TFLOP", "40TFLOP", "80TFLOP")

ABOUT = """\
Is it worth searching at all? The **dial** is what scaling rules choose for a budget: one run, no search. A search
spends the same kind of money on candidates, stopped and failed ones, scores, and a final run. The all-in compute
multiplier (ACM) is the FLOPs that the dial would need to reach the test loss of the search's final model, divided by
everything that the search spent: above 1 it has paid for itself, below 1 scaling rules alone would have been better."""


@dataclass(frozen=True)
class Contest:
    """What was run."""

    corpus: str
    plan: Plan
    rungs: Sequence[Rung]
    scored: Mapping[runs.Job, runs.Scored]
    found: Mapping[Search, Found]

    @property
    def ladder(self) -> Ladder:
        return ladder(self.rungs, self.scored)

    @property
    def budgets(self) -> list[int]:
        return sorted({own.compute for own in self.found})

    def of(self, budget: int) -> list[Found]:
        return [found for own, found in self.found.items() if own.compute == budget]

    def multipliers(self) -> dict[int, Multiplier]:
        return {
            budget: multiplier(
                self.ladder, [Spent(own.flops + own.profile_flops, own.test_bpb) for own in self.of(budget)]
            )
            for budget in self.budgets
        }


def main(arguments: Sequence[str] | None = None) -> None:
    given = _parser().parse_args(arguments)
    folder = given.work or home().cache / "acm"
    folder = folder.absolute() / given.corpus
    folder.mkdir(parents=True, exist_ok=True)
    own = corpus(given.corpus, folder)
    texts = Texts(own, folder / "home" / "cache")
    plan, seeds = Plan(given.space, given.final, given.candidate), range(given.seeds)
    wanted = [Search(plan, parse_flops(budget, "--budgets"), seed) for budget in given.budgets for seed in seeds]
    files = write_texts(own, folder / "texts")
    found = searches.make(wanted, files, folder, _say, given.workers)
    budgets = [parse_flops(budget, "--ladder") for budget in given.ladder]
    steps = rungs(budgets, given.seeds, load_space(given.space), Appraiser(texts, Limits(export="any")), texts)
    jobs = [job for rung in steps for job in rung.jobs]
    scored = runs.make(folder / "dial.jsonl", jobs, texts, _say, given.workers, given.dial_device)
    contest = Contest(given.corpus, plan, steps, scored, found)
    command = shlex.join(["python", "-m", "benchmarks.acm", *(sys.argv[1:] if arguments is None else arguments)])
    drawn = f"![ACM over the total budget]({os.path.relpath(given.picture, given.out.parent)})"
    publish("\n\n".join([*write_up(contest), drawn, f"Measured on {machine()}.", f"Command: `{command}`"]), given.out)
    given.picture.parent.mkdir(parents=True, exist_ok=True)
    given.picture.write_text(figure(contest.multipliers()), encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.acm")
    parser.add_argument("--corpus", choices=NAMES, default="sotu")
    parser.add_argument("--budgets", nargs="+", default=BUDGETS, help="of whole searches")
    parser.add_argument("--ladder", nargs="+", default=LADDER, help="training FLOPs of the dial's runs")
    parser.add_argument("--seeds", type=int, default=3, help="of each search and of each run of the dial")
    parser.add_argument("--space", default="speedrun")
    parser.add_argument("--final", type=float, default=0.8, help="the final run's share of a budget")
    parser.add_argument("--candidate", type=float, default=0.06, help="a candidate's training, as a share of a budget")
    parser.add_argument("--workers", type=int, default=2, help="runs or searches at a time, of one thread each")
    parser.add_argument("--dial-device", default="cpu", help="where the dial is trained; searches are on the CPU")
    parser.add_argument("--work", type=Path, help="folder for texts, runs and searches")
    parser.add_argument("--out", type=Path, default=OUT, help="file for the tables")
    parser.add_argument("--picture", type=Path, default=PICTURE, help="file for the figure")
    return parser


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


# --- what is said of it ---


def write_up(contest: Contest) -> list[str]:
    plan, found = contest.plan, contest.multipliers()
    return [
        "# The all-in compute multiplier",
        ABOUT,
        f"**{conclusion(found)}**",
        f"Text: {contest.corpus}. Space: `{plan.space}`, {plan.final:.0%} of a budget for the final run, "
        f"{plan.candidate:.0%} for the training of one candidate; the dial chooses from the same space. No run of the "
        f"dial goes over the text more than {MOST_EPOCHS:g} times; a rung that would is left out. What the device's "
        "profile took is counted to the search. Final models that were scaled from the dial of a candidate's budget "
        "owe nothing to proposals: what they gain on the dial of the whole budget is that they were carried.",
        "## Searches",
        table(
            [
                "total budget",
                "ACM (95%)",
                "test loss of each seed",
                "spent, with the profile",
                "final run's share",
                "trained, stopped",
                "final models",
            ],
            [search_row(budget, found[budget], contest.of(budget)) for budget in contest.budgets],
        ),
        "## The dial",
        table(
            ["training", "spent, with scores", "epochs", "test loss: mean, each seed", "candidate", "trained on"],
            [rung_row(own, contest.scored) for own in contest.rungs],
        ),
        "ACM is the median over the seeds of a search; its interval is a bootstrap over searches and over the seeds "
        "of each rung. The FLOPs for a loss lie on a line between two rungs, in loss and log FLOPs. Nothing is "
        "extrapolated: > says that no rung reaches the loss, < that the first one betters it.",
        f"The searches took {format_seconds(sum(own.seconds for own in contest.found.values()))} of one thread.",
    ]


def conclusion(found: Mapping[int, Multiplier]) -> str:
    largest = max(found)
    even = break_even({float(budget): own.value for budget, own in found.items()})
    said = f"ACM at {format_flops(largest)}: {found[largest].told()}."
    if even is None:
        return f"{said} Up to there no search has paid for itself."
    if even == min(found):
        return f"{said} Searches have paid for themselves at every budget tried."
    return f"{said} Searches pay for themselves from about {format_flops(round(even))} on."


def search_row(budget: int, own: Multiplier, found: Sequence[Found]) -> list[str]:
    spent = statistics.mean(each.flops + each.profile_flops for each in found)
    share = statistics.mean(each.final_flops / (each.flops + each.profile_flops) for each in found)
    return [
        format_flops(budget),
        own.told(),
        ", ".join(f"{each.test_bpb:.4f}" for each in found),
        format_flops(round(spent)),
        f"{share:.0%}",
        ", ".join(f"{each.trained} and {each.stopped}" for each in found),
        "; ".join(f"{each.model} ({each.origin}, {each.epochs:.1f} epochs)" for each in found),
    ]


def rung_row(own: Rung, scored: Mapping[runs.Job, runs.Scored]) -> list[str]:
    losses = [scored[job].test_bpb for job in own.jobs]
    each = ", ".join(f"{loss:.4f}" for loss in losses)
    return [
        format_flops(own.jobs[0].compute),
        format_flops(own.flops),
        f"{own.epochs:.2f}",
        f"{statistics.mean(losses):.4f} ({each})",
        describe(own.candidate),
        "; ".join(sorted({scored[job].machine for job in own.jobs})),
    ]
