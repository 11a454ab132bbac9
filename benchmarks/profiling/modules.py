"""fvcore's table of modules against the closed forms."""

import itertools
from collections.abc import Iterable

from benchmarks.machine import table
from benchmarks.profiling.errors import Target
from benchmarks.profiling.held_out import Setting, counted, drawn, tell
from benchmarks.profiling.report import Part
from nas.candidate import Candidate
from nas.errors import ProfileError
from nas.measure.modules import module_table

COUNT = 20
SPACES = ("llama-tiny", "llama-small")

ABOUT = """\
Parameters and forward FLOPs of {count} candidates of each space as fvcore counts them module by module, against the
closed forms. Equal means to the last one."""


def measure(setting: Setting) -> Part:
    count, found, targets = setting.count(COUNT), [], []
    for space in SPACES:
        candidates = [candidate for candidate, _ in itertools.islice(drawn(setting, "modules", space), count)]
        same = equal(counted(candidates, f"modules, {space}", count))
        found.append([space, f"{count}", f"{same}"])
        targets.append(Target(f"modules of {space}: candidates counted otherwise", count - same, 0))
    head = ["space", "candidates", "equal"]
    return Part("Modules", ABOUT.format(count=count), table(head, found), targets)


def equal(candidates: Iterable[Candidate]) -> int:
    """How many are counted alike; what differs is told."""
    same = 0
    for candidate in candidates:
        try:
            module_table(candidate)
            same += 1
        except ProfileError as error:
            tell(f"candidate {candidate.id}: {error}")
    return same
