"""What is in the tables, in numbers, as the README shows it."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from benchmarks.corpora import SOURCES
from benchmarks.tabular.grid import COMPUTE
from benchmarks.tabular.table import FOLDER, Floats, Table, load
from nas.units import format_bytes, format_flops, format_seconds

README = Path(__file__).with_name("README.md")
BEGIN, END = "<!-- by python -m benchmarks.tabular card -->\n", "<!-- end -->\n"
BREAK = "\nRuns with less, made only to be ranked:\n\n"


def tables(folder: Path = FOLDER) -> list[Table]:
    return [load(path.name.removesuffix(".json.xz"), folder) for path in sorted(folder.glob("*.json.xz"))]


def card(shown: Iterable[Mapping[str, str]]) -> str:
    """A Markdown table with a column for each table of runs; empty when there are none."""
    columns = list(shown)
    if not columns:
        return ""
    head, *others = ([name, *(own[name] for own in columns)] for name in columns[0])
    rows = [head, ["---"] * len(head), *others]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def write(folder: Path = FOLDER, readme: Path = README) -> None:
    """Puts the cards between their marks: one of the tables that are scored on the way, one of those that are not."""
    before, _, rest = readme.read_text(encoding="utf-8").partition(BEGIN)
    after, there = rest.partition(END)[2], tables(folder)
    shown = [
        card(_facts(own) for own in there if own.evaluated),
        card(_brief_facts(own, there) for own in there if not own.evaluated),
    ]
    readme.write_text(f"{before}{BEGIN}{BREAK.join(own for own in shown if own)}{END}{after}", encoding="utf-8")


def _brief_facts(table: Table, others: Iterable[Table]) -> dict[str, str]:
    """``others``: among which is the table of the same corpus with the grid's own budget, if there is one."""
    finished = table.val_bpb[~np.isnan(table.val_bpb)]
    whole = (own for own in others if own.evaluated and own.about["corpus"] == table.about["corpus"])
    ends = next((dict(zip(own.ids, own.val_bpb, strict=True)) for own in whole if own.about["compute"] == COMPUTE), {})
    later = np.array([ends.get(own, np.nan) for own in table.ids])
    return {
        "corpus": f"`{table.about['corpus']}`",
        "runs, of them diverged": f"{len(table)}, {len(table) - len(finished)}",
        "training of a run": _training(table),
        "bits per byte at the end, of the rungs' subset": _spread(finished),
        f"Kendall's tau with the end of {format_flops(COMPUTE)}": f"{_tau(table.val_bpb, later):.2f}",
        **_making(table),
    }


def _facts(table: Table) -> dict[str, str]:
    corpus, finished = str(table.about["corpus"]), table.val_bpb[~np.isnan(table.val_bpb)]
    noise = seed_noise(table)
    tau = {rung: _tau(table.validation[:, int(16 * rung) - 1], table.val_bpb) for rung in (0.125, 0.25, 0.5)}
    memory = table.peak_memory[table.peak_memory > 0]
    return {
        "corpus": f"`{corpus}`",
        "licence of the text": SOURCES[corpus].licence if corpus in SOURCES else "public domain",
        "runs, of them diverged": f"{len(table)}, {len(table) - len(finished)}",
        "candidates, of them with several seeds": f"{len(set(table.ids))}, {len(noise)}",
        "training of a run": _training(table),
        "bits per byte at the end": _spread(finished),
        "standard error by the text": f"{np.nanmedian(table.val_error):.4f} (median)",
        "standard deviation between seeds": f"{np.median(noise):.4f} (median), at most {noise.max():.4f}",
        "Kendall's tau with the end": ", ".join(f"{value:.2f} at p = {rung:g}" for rung, value in tau.items()),
        "peak memory": f"{format_bytes(int(memory.min()))} to {format_bytes(int(memory.max()))}",
        **_making(table),
    }


def _training(table: Table) -> str:
    return f"{format_flops(int(table.about['compute']))}, {table.steps.min()} to {table.steps.max()} steps"


def _spread(finished: Floats) -> str:
    return f"{finished.min():.3f} to {finished.max():.3f}, median {np.median(finished):.3f}"


def _making(table: Table) -> dict[str, str]:
    return {
        "processor time": f"{format_seconds(float(table.seconds.sum()))}; "
        f"{table.seconds.min():.1f} to {table.seconds.max():.1f} s a run",
        "machine": str(table.about["machine"]),
    }


def seed_noise(table: Table) -> Floats:
    """The standard deviation of the final loss of each candidate with several seeds."""
    ids = np.array(table.ids)
    several = [table.val_bpb[ids == own] for own in dict.fromkeys(table.ids)]
    return np.array([losses.std(ddof=1) for losses in several if len(losses) > 1])


def _tau(early: Floats, late: Floats) -> float:
    """The share of pairs that both put in the same order, less the share of those that they do not."""
    there = ~(np.isnan(early) | np.isnan(late))
    first, second = (np.sign(own[there][:, None] - own[there][None, :]) for own in (early, late))
    pairs = int(there.sum()) * (int(there.sum()) - 1)
    return float((first * second).sum() / pairs)
