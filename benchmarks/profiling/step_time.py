"""Predicted time of a step against the real one, by traces and by closed forms."""

from collections.abc import Sequence

from benchmarks.machine import table
from benchmarks.profiling.errors import ERRORS, Errors, Pairs, Target, above, percent
from benchmarks.profiling.held_out import Draw, Setting, layouts, probed, requested
from benchmarks.profiling.report import Part, ended_well
from nas.calibration import DeviceProfile
from nas.cost import memory_bound
from nas.measure.calibrate import MEMORY_SHARE, STEP_FLOPS, Measured
from nas.plan import step_flops
from nas.units import format_flops

COUNT = 30
MOST_MEAN, MOST_P90 = 0.1, 0.25

ABOUT = """\
{count} candidates of {space} of {least} to {most} a step. Measured is the
least of the steps that were timed{clock}, in a fresh process. By traces: the profile's fit to FLOPs, bytes and
operators of a trace; by closed forms: its fit for candidates that are not traced. Above the upper end: how often a
step took longer than the prediction's interval holds, which is of the 90th percentile of errors."""
ONE_THREAD = " (one thread, its processor time)"


def measure(setting: Setting) -> Part:
    draws = layouts(setting, "time", setting.count(COUNT), lambda draw: fits(setting, draw))
    requests = [requested(setting, draw, timed=True) for draw in draws]
    measured = probed(setting, "time", requests)
    traced, highs, closed = pairs(measured, setting.profile)
    least, most = STEP_FLOPS[setting.backend]
    about = ABOUT.format(
        count=len(requests),
        space=setting.space,
        least=format_flops(least),
        most=format_flops(most),
        clock=ONE_THREAD if setting.backend == "cpu" else "",
    )
    by_trace, by_form = Errors.of(traced), Errors.of(closed)
    found = [
        ["by traces", *by_trace.cells(), f"{above(highs)} of {len(highs)}"],
        ["by closed forms", *by_form.cells(), "-"],
    ]
    return Part(
        title="Time",
        about=about + ended_well(len(measured), len(requests)),
        found=table(["prediction", *ERRORS, "above the upper end"], found),
        targets=[
            Target("step time, by traces: MAPE", by_trace.mean, MOST_MEAN, percent),
            Target("step time, by traces: p90", by_trace.p90, MOST_P90, percent),
        ],
    )


def fits(setting: Setting, draw: Draw) -> bool:
    candidate, micro_batch, recompute = draw
    least, most = STEP_FLOPS[setting.backend]
    bound = memory_bound(candidate, micro_batch, recompute=recompute)
    return least <= step_flops(candidate) <= most and bound <= MEMORY_SHARE * setting.fingerprint.memory_bytes


def pairs(measured: Sequence[Measured], profile: DeviceProfile) -> tuple[Pairs, Pairs, Pairs]:
    """Seconds by traces, their upper ends, and seconds by closed forms, each with those that were measured."""
    traced, highs, closed = [], [], []
    for own in measured:
        request, real = own.request, own.probe.step_seconds
        told = profile.seconds_of(own.trace, compiled=request.compile)
        passes = request.candidate.sequences // request.micro_batch
        traced.append((told.value, real))
        highs.append((told.high, real))
        closed.append((profile.speed.step_seconds(request.candidate, passes, recompute=request.recompute), real))
    return traced, highs, closed
