"""A device's profile in words."""

from dataclasses import replace

from dashboards.devices import describe, extras, is_full, profile_lines
from nas.plan import Compiles
from tests.dashboards.test_candidate import PROFILE


def test_a_full_profile_tells_of_compiled_runs_too() -> None:
    assert is_full(PROFILE) and not is_full(replace(PROFILE, compiled=None))
    names = [line.name for line in profile_lines(PROFILE)]
    assert names == [
        *("memory", "time of a step", "memory, compiled", "time of a step, compiled", "time of a token in use"),
    ]
    assert [line.name for line in profile_lines(replace(PROFILE, compiled=None))] == [names[0], names[1], names[4]]


def test_errors_are_those_of_runs_left_out() -> None:
    errors = {line.name: (line.error, line.share) for line in profile_lines(PROFILE)}
    assert errors == {
        "memory": ("at most 10.0%", 0.1),
        "time of a step": ("10% on average, 20% in nine of ten", 0.2),
        "memory, compiled": ("at most 30.0%", 0.3),
        "time of a step, compiled": ("30% on average, 50% in nine of ten", 0.5),
        "time of a token in use": ("at most 150.0%", 1.5),
    }


def test_coefficients_in_words() -> None:
    words = {line.name: line.words for line in profile_lines(PROFILE)}
    assert words["memory"] == "1 MiB for the process, 1.000 times the traced peak, and 0 B"
    assert words["time of a step"] == (
        "1 GFLOP/s in products, no time for a FLOP in attention, no time for a B moved, 0 µs an operator"
    )
    slow = replace(PROFILE, decode=replace(PROFILE.decode, per_operator=0.002))
    assert profile_lines(slow)[-1].words.startswith("2 ms an operator")


def test_the_device_and_what_else_is_known() -> None:
    assert describe(PROFILE) == "a CPU, 1 GiB, 1 thread, float32"
    gpu = replace(PROFILE.fingerprint, backend="cuda", slice="1g.10gb", driver="570", allocator="expandable")
    assert describe(replace(PROFILE, fingerprint=gpu)) == "a CPU 1g.10gb, 1 GiB, float32"
    assert extras(PROFILE) == [("software", "torch 2.9")]
    watts = replace(PROFILE.eager, watts=300.0)
    more = replace(PROFILE, fingerprint=gpu, eager=watts, compiles=Compiles(40.0, 1.5))
    assert extras(more) == [
        ("compiling", "takes 40 s, then 1.50 times as fast"),
        ("energy", "300 W while it trains"),
        ("software", "torch 2.9, driver 570, expandable"),
    ]
