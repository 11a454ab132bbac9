"""What predictions cost: seconds of a trace, of one that is known already, and of a profile."""

import itertools
import time
from collections.abc import Sequence

from benchmarks.machine import table
from benchmarks.profiling.errors import Target, milliseconds, quantile
from benchmarks.profiling.held_out import Draw, Setting, counted, drawn, laid_out, tell
from benchmarks.profiling.report import Part
from nas.measure.calibrate import profile_device
from nas.measure.trace import trace_step
from nas.measure.tracer import Tracer
from nas.units import format_seconds

COUNT = 60
KINDS = (("llama-tiny", "cpu", "float32"), ("llama-small", "cuda", "bfloat16"))
MOST_SECONDS, MOST_CACHED, MOST_PROFILE = 0.2, 0.001, 90.0

ABOUT = """\
Processor time of a trace of {count} candidates of each kind, after one to warm up: of the whole step; by the tracer,
which puts deep candidates together from shallow ones, with nothing kept; and by the same tracer when it is asked
again. The targets are for the slowest. A short profile of this device took {profile} by the clock ({probes} probes).
"""


def measure(setting: Setting) -> Part:
    count, short = setting.count(COUNT), setting.profile
    if setting.backend != "cpu":
        short = profile_device(setting.device, setting.fingerprint, short=True, tell=tell)
    found, targets = [], []
    for space, backend, precision in KINDS:
        every = (laid_out(candidate, rng, backend) for candidate, rng in drawn(setting, "cost", space))
        draws = list(itertools.islice(every, count + 1))
        kind = f"{space}, {backend}, {precision}"
        whole, first, again = seconds(draws, backend, precision, f"cost, {space}")
        found += [_cells(kind, *own) for own in (("whole", whole), ("by the tracer", first), ("asked again", again))]
        targets += [
            Target(f"trace of {kind}: slowest", max(first), MOST_SECONDS, milliseconds),
            Target(f"trace of {kind}, asked again: slowest", max(again), MOST_CACHED, milliseconds),
        ]
    targets.append(Target("a short profile", short.seconds, MOST_PROFILE, format_seconds))
    about = ABOUT.format(count=count, profile=format_seconds(short.seconds), probes=short.probes)
    head = ["kind", "trace", "median", "p90", "slowest"]
    return Part("What it costs", about, table(head, found), targets)


def seconds(
    draws: Sequence[Draw], backend: str, precision: str, what: str
) -> tuple[list[float], list[float], list[float]]:
    """Of each but the first, which warms up: traced as a whole, by a tracer that knows nothing, and by it again."""
    whole: list[float] = []
    first: list[float] = []
    again: list[float] = []
    for candidate, layout in counted(draws, what, len(draws)):
        tracer = Tracer(backend, precision)
        times = [time.process_time()]
        trace_step(candidate, layout, backend=backend, precision=precision)
        times.append(time.process_time())
        for _ in range(2):
            tracer.trace(candidate, layout)
            times.append(time.process_time())
        for kept, (start, end) in zip((whole, first, again), itertools.pairwise(times), strict=True):
            kept.append(end - start)
    return whole[1:], first[1:], again[1:]


def _cells(kind: str, how: str, values: Sequence[float]) -> list[str]:
    return [kind, how, *(milliseconds(own) for own in (quantile(values, 0.5), quantile(values, 0.9), max(values)))]
