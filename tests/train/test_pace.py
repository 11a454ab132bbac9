import pytest

from nas.train.pace import LATEST_STEPS, MINIMUM_STEPS, SCORING_RESERVE, Pace


def paced(*seconds: float) -> Pace:
    pace = Pace()
    for own in seconds:
        pace.stepped(own)
    return pace


def test_a_few_steps_say_nothing() -> None:
    assert not paced(*[1.0] * (MINIMUM_STEPS - 1)).known
    assert paced(*[1.0] * MINIMUM_STEPS).known
    assert not paced(*[0.0] * 9).known  # a clock that stands still


@pytest.mark.parametrize(
    ("seconds", "pace"),
    [
        ([1.0] * 20, 1.0),
        ([1.0] * 20 + [60.0], 1.0),  # a hiccup
        ([1.0] * 20 + [3.0] * (LATEST_STEPS // 2), 1.0),
        ([1.0] * 20 + [3.0] * (LATEST_STEPS // 2 + 1), 3.0),  # slower for good
        ([3.0] * 20 + [1.0] * LATEST_STEPS, 1.0),
    ],
)
def test_the_pace_of_steps(seconds: list[float], pace: float) -> None:
    assert paced(*seconds).step_seconds == pace


def test_possible_steps() -> None:
    pace = paced(*[2.0] * 5)
    assert pace.possible_steps(100.0, step_flops=10, scoring_flops=0) == 50
    assert pace.possible_steps(-1.0, step_flops=10, scoring_flops=0) == 0
    # scoring 40 FLOPs takes as long as four steps, and a reserve
    assert pace.possible_steps(100.0, 10, 40) == int(50 - SCORING_RESERVE * 4)
    pace.scored(flops=10, seconds=6.0)  # three times as long, as was seen
    assert pace.possible_steps(100.0, 10, 40) == int(50 - SCORING_RESERVE * 12)
    pace.scored(flops=10_000, seconds=0.0)  # never believed to be much faster than training
    assert pace.possible_steps(100.0, 10, 40) == int(50 - SCORING_RESERVE * 4 / 3)
