import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.tabular.grid import space
from benchmarks.tabular.replay import TableTexts
from benchmarks.tabular.table import load
from nas.candidate import Candidate
from nas.encode import Encoding
from nas.extrapolate import LEAST_RUNS, UNKNOWN, Drop, fit_drop
from nas.scaling import expected_excess

Floats = NDArray[np.float64]
Runs = tuple[Floats, Floats, Floats]
"""Features, losses at the rung, losses at the end."""


def planted(seed: int, count: int, noise: float) -> Runs:
    """Runs whose drop is linear but for the noise; the last feature says nothing."""
    rng = np.random.default_rng(seed)
    features, losses = rng.random((count, 3)), rng.uniform(2, 3, count)
    drops = 0.2 + 0.3 * features[:, 0] - 0.2 * features[:, 1] + 0.1 * losses
    return features, losses, losses - drops + noise * rng.normal(size=count)


def split(runs: Runs, count: int) -> tuple[Drop, Runs]:
    """What the first ones say, and the others."""
    features, losses, ends = runs
    return fit_drop(*(own[:count] for own in runs)), (features[count:], losses[count:], ends[count:])


@pytest.mark.parametrize("seed", range(4))
def test_a_linear_drop_is_found(seed: int) -> None:
    drop, (features, losses, ends) = split(planted(seed, 64, 0.0), 24)
    mean, deviation = drop.predict(features, losses)
    assert np.abs(mean - ends).max() < 0.01 < 0.3 * np.std(losses - ends)
    assert np.all(deviation < 0.05)


def test_what_tells_the_drop_is_used_and_what_does_not_is_not() -> None:
    drop, _ = split(planted(0, 200, 0.03), 200)
    at = np.full((3, 3), 0.5)
    at[1, 0], at[2, 2] = 1.0, 1.0
    (base, by_first, by_last), _ = drop.predict(at, np.full(3, 2.5))
    assert base - by_first == pytest.approx(0.15, abs=0.02)
    assert base - by_last == pytest.approx(0.0, abs=0.02)


@pytest.mark.parametrize("count", range(LEAST_RUNS + 1))
def test_of_hardly_any_run(count: int) -> None:
    features, losses, ends = planted(1, LEAST_RUNS, 0.05)
    drop = fit_drop(features[:count], losses[:count], ends[:count])
    mean, deviation = drop.predict(features, losses)
    assert mean.shape == deviation.shape == (LEAST_RUNS,)
    if count < LEAST_RUNS:
        expected = float(np.mean(losses[:count] - ends[:count])) if count else 0.0
        assert mean == pytest.approx(losses - expected)
        assert deviation.tolist() == [UNKNOWN] * LEAST_RUNS
    else:
        assert np.all(deviation > 0) and np.all(deviation < UNKNOWN)


def test_runs_that_are_all_alike() -> None:
    alike = np.full((5, 2), 0.5), np.full(5, 2.5), np.full(5, 2.0)
    mean, deviation = fit_drop(*alike).predict(*alike[:2])
    assert mean == pytest.approx(alike[2])
    assert np.all(deviation < 0.1) and np.all(deviation > 0)


def test_farther_from_what_was_seen_it_is_less_sure() -> None:
    drop, _ = split(planted(2, 30, 0.05), 30)
    _, (near, far, farther) = drop.predict(np.array([[0.5] * 3, [2.0] * 3, [4.0] * 3]), np.full(3, 2.5))
    assert near < far < farther


@pytest.mark.parametrize(
    ("count", "noise", "least"), [(6, 0.03, 0.8), (12, 0.03, 0.85), (32, 0.03, 0.9), (6, 0.1, 0.65), (32, 0.1, 0.9)]
)
def test_deviations_are_as_wide_as_errors(count: int, noise: float, least: float) -> None:
    """Of a normal number 95% lie within two deviations; fewer where six runs are noisier than is expected."""
    within = []
    for seed in range(20):
        drop, (features, losses, ends) = split(planted(seed, count + 200, noise), count)
        mean, deviation = drop.predict(features, losses)
        within.append(np.mean(np.abs(mean - ends) <= 2 * deviation))
    assert least < np.mean(within) < 0.995


def rms(errors: Floats) -> float:
    return float(np.sqrt(np.mean(errors**2)))


def test_on_the_runs_of_the_table() -> None:
    """A quarter of the way of 32 of them says where the others end: on the mean to half of what the mean drop leaves
    open."""
    table, own = load("austen"), space()
    texts, flops = TableTexts(table), int(table.about["compute"])

    def law(candidate: Candidate) -> float:
        return expected_excess(candidate, flops, texts.facts)

    candidates = [own.decode(knobs) for knobs in table.knobs]
    encode = Encoding(own, law, candidates)
    features = np.array([encode(*each) for each in zip(table.knobs, candidates, strict=True)])
    at_quarter, ends = table.validation[:, 3], table.val_bpb
    whole = np.isfinite(at_quarter) & np.isfinite(ends)
    errors, plain, within = [], [], []
    for seed in range(10):
        order = np.random.default_rng(seed).permutation(np.flatnonzero(whole))
        drop, (rest, losses, truth) = split((features[order], at_quarter[order], ends[order]), 32)
        mean, deviation = drop.predict(rest, losses)
        errors.append(rms(mean - truth))
        plain.append(rms(losses - drop.mean - truth))
        within.append(np.mean(np.abs(mean - truth) <= 2 * deviation))
    assert max(errors) < 0.1
    assert np.mean(errors) < 0.5 * np.mean(plain)
    assert np.mean(within) > 0.8
