"""Traced memory against the real peak."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from benchmarks.machine import table
from benchmarks.profiling.errors import ERRORS, Errors, Pairs, Target, above, percent
from benchmarks.profiling.held_out import Draw, Setting, layouts, probed, requested
from benchmarks.profiling.report import Part, ended_well
from nas.calibration import DeviceProfile
from nas.measure.calibrate import MEMORY_SHARE, STEP_FLOPS, Measured
from nas.plan import bound, step_flops

COUNTS = {"cpu": 40, "cuda": 30}
LEAST_BYTES = 16 * 2**20
"""Of the traced peak; below it is what a step takes whatever its size."""
MOST_BYTES = 600_000_000
"""Of the closed form's bound, on the CPU."""
COMPILED_EACH = 3
"""Of the eager steps every third is made again compiled, on CUDA: compiling takes half a minute."""
TARGETS = {"cpu": ("worst", 0.005, 0.02), "cuda": ("p95", 0.03, 0.06)}
"""Which error beside the MAPE, and the most that the two may be."""

ABOUT = """\
{count} candidates of {space}. Measured is {measured}, in a fresh process. Above the upper end: how often more was
measured than the prediction's interval holds."""
MEASURED = {
    "cpu": "the largest sum of live allocations in a step",
    "cuda": "what the allocator has reserved (of the raw trace: allocated) and the context",
}


@dataclass(frozen=True)
class Row:
    """One kind of prediction: values and upper ends, each with what was measured; ``held`` where it has targets."""

    name: str
    values: Pairs
    highs: Pairs | None
    held: bool

    def cells(self) -> list[str]:
        found = f"{above(self.highs)} of {len(self.highs)}" if self.highs else "-"
        return [self.name, f"{len(self.values)}", *Errors.of(self.values).cells(), found]


def measure(setting: Setting) -> Part:
    count = setting.count(COUNTS[setting.backend])
    draws = layouts(setting, "memory", count, lambda draw: fits(setting, draw))
    requests = [requested(setting, draw, timed=False) for draw in draws]
    eager = probed(setting, "memory", requests)
    compiled: list[Measured] = []
    if setting.backend == "cuda" and not setting.short:
        again = [replace(own.request, compile=True) for own in eager[::COMPILED_EACH]]
        compiled = probed(setting, "memory, compiled", again)
    found = rows(eager, compiled, setting.profile)
    about = ABOUT.format(count=len(requests), space=setting.space, measured=MEASURED[setting.backend])
    head = ["prediction", "candidates", *ERRORS, "above the upper end"]
    return Part(
        title="Memory",
        about=about + ended_well(len(eager), len(requests)),
        found=table(head, [row.cells() for row in found]),
        targets=targets(found, setting.backend),
    )


def fits(setting: Setting, draw: Draw) -> bool:
    """Neither too small nor too large to say something; the bound first, for it costs nothing."""
    candidate, layout = draw
    needed = bound(candidate, layout)
    if setting.backend == "cpu":
        likely = LEAST_BYTES < needed < MOST_BYTES
    else:
        least, most = STEP_FLOPS[setting.backend]
        likely = needed <= MEMORY_SHARE * setting.fingerprint.memory_bytes and least <= step_flops(candidate) <= most
    if not likely:
        return False
    return setting.predictor.tracer.trace(candidate, layout).peak_bytes > LEAST_BYTES


def rows(eager: Sequence[Measured], compiled: Sequence[Measured], profile: DeviceProfile) -> list[Row]:
    raw = [(float(own.trace.peak_bytes), float(own.probe.peak_bytes)) for own in eager]
    found = [Row("raw trace", raw, None, profile.fingerprint.backend == "cpu"), _by_profile("eager", eager, profile)]
    return [*found, _by_profile("compiled", compiled, profile)] if compiled else found


def _by_profile(kind: str, measured: Sequence[Measured], profile: DeviceProfile) -> Row:
    told = [(profile.memory(own.trace, compiled=own.request.compile), own.probe.process_bytes) for own in measured]
    values = [(own.value, float(real)) for own, real in told]
    highs = [(own.high, float(real)) for own, real in told]
    return Row(f"by the profile, {kind}", values, highs, True)


def targets(found: Sequence[Row], backend: str) -> list[Target]:
    other, most_mean, most_other = TARGETS[backend]
    kept = []
    for row in found:
        if row.held:
            errors = Errors.of(row.values)
            second = errors.largest if other == "worst" else errors.p95
            kept.append(Target(f"peak memory, {row.name}: MAPE", errors.mean, most_mean, percent))
            kept.append(Target(f"peak memory, {row.name}: {other}", second, most_other, percent))
    return kept
