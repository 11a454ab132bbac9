"""Predicted time of a step against the real one, by traces and by closed forms."""

import random
from collections.abc import Sequence
from dataclasses import replace

from benchmarks.machine import table
from benchmarks.profiling.errors import ERRORS, Errors, Pairs, Target, above, percent
from benchmarks.profiling.held_out import Draw, Setting, layouts, probed, requested
from benchmarks.profiling.report import Part, ended_well
from nas.calibration import DeviceProfile
from nas.measure.calibrate import FULL, MEMORY_SHARE, STEP_FLOPS, Measured, fit_decode, fit_speed, fit_time, shapes
from nas.measure.probe import ProbeRequest
from nas.plan import bound, step_flops
from nas.units import format_flops

COUNT = 30
MOST_MEAN, MOST_P90 = 0.1, 0.25

ABOUT = """\
{count} candidates of {space} of {least} to {most} a step. Measured is the
least of the steps that were timed{clock}, in {processes}. The {own} probes of a full profile are made
among them, in random order, because the machine's speed drifts. By traces: their fit to what traces count; by closed
forms: their fit for candidates that are not traced. A token in use: seconds of each that a model writes after half of
a context. Above the upper end: how often a step took longer than the
prediction's interval holds, which is of the 90th percentile of errors."""
ONE_THREAD = " (one thread, its processor time)"


def measure(setting: Setting) -> Part:
    draws = layouts(setting, "time", setting.count(COUNT), lambda draw: fits(setting, draw))
    requests = [requested(setting, draw, timed=True) for draw in draws]
    own, measured = interleaved(setting, requests)
    profile = replace(setting.profile, eager=replace(setting.profile.eager, time=fit_time(own)), speed=fit_speed(own))
    traced, highs, closed = pairs(measured, profile)
    least, most = STEP_FLOPS[setting.backend]
    about = ABOUT.format(
        count=len(requests),
        space=setting.space,
        least=format_flops(least),
        most=format_flops(most),
        processes=f"{setting.rounds} fresh processes" if setting.rounds > 1 else "a fresh process",
        own=len(own),
        clock=ONE_THREAD if setting.backend == "cpu" else "",
    )
    by_trace, by_form = Errors.of(traced), Errors.of(closed)
    found = [
        ["by traces", *by_trace.cells(), f"{above(highs)} of {len(highs)}"],
        ["by closed forms", *by_form.cells(), "-"],
        ["a token in use", *Errors.of(token_pairs(own, measured)).cells(), "-"],
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


def interleaved(setting: Setting, requests: Sequence[ProbeRequest]) -> tuple[list[Measured], list[Measured]]:
    """A profile's own probes and those held out, each in some rounds among all others, the fastest of each: machines
    that others use drift by a third within minutes, which is no error of a prediction."""
    own = list(shapes(setting.device, setting.fingerprint, FULL))
    order = [*own, *requests] * setting.rounds
    random.Random(setting.seed).shuffle(order)
    best: dict[ProbeRequest, Measured] = {}
    for found in probed(setting, "time", order):
        best[found.request] = _faster(best.get(found.request, found), found)
    return [best[one] for one in own if one in best], [best[one] for one in requests if one in best]


def _faster(one: Measured, other: Measured) -> Measured:
    """The least of a step and of a token, which one probe need not have both."""
    fastest = min(one, other, key=lambda own: own.probe.step_seconds)
    tokens = [own.probe.token_seconds for own in (one, other) if own.probe.token_seconds is not None]
    return replace(fastest, probe=replace(fastest.probe, token_seconds=min(tokens, default=None)))


def token_pairs(own: Sequence[Measured], measured: Sequence[Measured]) -> Pairs:
    """Seconds of a token by a fit to a profile's own probes, with those that were measured."""
    fit = fit_decode(own)
    return [
        (fit.seconds(one.request.candidate.architecture), one.probe.token_seconds)
        for one in measured
        if one.probe.token_seconds is not None
    ]


def fits(setting: Setting, draw: Draw) -> bool:
    candidate, layout = draw
    least, most = STEP_FLOPS[setting.backend]
    needed = bound(candidate, layout)
    return least <= step_flops(candidate) <= most and needed <= MEMORY_SHARE * setting.fingerprint.memory_bytes


def pairs(measured: Sequence[Measured], profile: DeviceProfile) -> tuple[Pairs, Pairs, Pairs]:
    """Seconds by traces, their upper ends, and seconds by closed forms, each with those that were measured."""
    traced, highs, closed = [], [], []
    for own in measured:
        request, real = own.request, own.probe.step_seconds
        told = profile.seconds_of(own.trace, compiled=request.compile)
        form = profile.speed.step_seconds(request.candidate, own.passes, recompute=request.layout.recompute)
        traced.append((told.value, real))
        highs.append((told.high, real))
        closed.append((form, real))
    return traced, highs, closed
