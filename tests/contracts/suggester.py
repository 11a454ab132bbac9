"""What every `nas.ports.Suggester` must do. A test class inherits `SuggesterContract` and supplies ``open_study``."""

import random
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pytest

from nas.candidate import Candidate
from nas.space import Choice, Knobs, Range, load_space

if TYPE_CHECKING:
    from nas.ports import Suggester

Open = Callable[..., "Suggester"]

SPACE = load_space(
    {
        "knobs": {
            "depth": [1, 2, 3, 4],
            "width": [16, 24, 32, 48, 64],
            "vocabulary": [256, 320],
            "context": [32, 64],
            "tied": [True, False],
            "window_pattern": ["L", "SL"],
            "window_ratio": {"values": [0.25, 0.5], "when": {"window_pattern": "SL"}},
            "optimizer": ["muon", "adamw"],
            "weight_decay": {"min": 0.01, "max": 1, "log": True, "when": {"optimizer": ["adamw"]}},
            "matrix_rate": {"min": 0.3, "max": 3, "log": True},
        }
    }
)
STARTUP = 4
WIDE = 24  # widths above are over the limit: three of five


class Play:
    """A search in small: each suggestion becomes the candidate of the next number, or is forgotten, and is answered
    at once or a little later by what its knobs and its key say."""

    def __init__(self, open_study: Open, **options: Any) -> None:
        self.open_study, self.options = open_study, {"startup": STARTUP, **options}
        self.rebuild()
        self.made: list[tuple[int, Knobs]] = []
        self.running: list[tuple[int, int]] = []

    def rebuild(self) -> None:
        self.suggester = self.open_study(SPACE, **self.options)

    def turn(self) -> None:
        own = self.suggester.ask()
        self.made.append((own.key, dict(own.knobs)))
        if own.key % 7 == 6:
            self.suggester.forget(own.key)
            return
        number = len(self.suggester.keys())
        self.suggester.name(own.key, f"id {number}", number, {"params": excess(own.knobs)})
        self.running.append((own.key, number))
        if excess(own.knobs) > 0 or len(self.running) > 2:
            self.answer(*self.running.pop(0 if excess(own.knobs) <= 0 else -1))

    def answer(self, key: int, number: int) -> None:
        knobs = dict(self.made)[key]
        if excess(knobs) > 0:
            self.suggester.tell_infeasible(key)
        elif number % 6 == 4:
            self.suggester.tell_infeasible(key, {"peak_memory_measured": 0.05})
        elif number % 6 == 5:
            self.suggester.tell_stopped(key)
        else:
            self.suggester.tell_completed(key, [loss(knobs), float(knobs["width"])])


def excess(knobs: Mapping[str, Any]) -> float:
    return float(knobs["width"] / WIDE - 1)


def loss(knobs: Mapping[str, Any]) -> float:
    return float(4 - 0.3 * knobs["depth"] - 0.2 * knobs["tied"] + abs(knobs["matrix_rate"] - 1))


class SuggesterContract:
    """Tests of the promises of `nas.ports.Suggester`.

    ``open_study(space, seed=..., startup=..., study=...)`` opens a study by name, as its next driver would: what was
    told to a suggester of that name before is known.
    """

    def test_suggestions_are_points_of_the_space(self, open_study: Open) -> None:
        play = Play(open_study)
        for _ in range(12):
            play.turn()
        for _, knobs in play.made:
            assert isinstance(SPACE.decode(knobs), Candidate)
            assert list(knobs) == [knob.name for knob in SPACE.knobs if knob.active(knobs)]
            for knob in SPACE.knobs:
                if knob.name in knobs:
                    assert in_domain(knob.domain, knobs[knob.name])
        named = [set(knobs) for _, knobs in play.made]
        assert {"window_ratio" in own for own in named} == {"weight_decay" in own for own in named} == {True, False}

    def test_the_seed_decides(self, open_study: Open) -> None:
        plays = [Play(open_study, study=f"study {index}", seed=seed) for index, seed in enumerate((0, 0, 1))]
        for play in plays:
            for _ in range(2 * STARTUP + 1):
                play.turn()
        same, again, other = (play.made for play in plays)
        assert same == again
        assert [knobs for _, knobs in other] != [knobs for _, knobs in same]

    def test_a_rebuilt_suggester_goes_on_as_if_it_had_never_died(self, open_study: Open) -> None:
        undisturbed, rebuilt = Play(open_study, study="undisturbed"), Play(open_study, study="rebuilt")
        rng = random.Random(0)
        for _ in range(3 * STARTUP):
            undisturbed.turn()
            rebuilt.turn()
            if rng.random() < 0.4:
                rebuilt.suggester.ask()  # nobody heard of it: it is gone
                rebuilt.rebuild()
        assert rebuilt.made == undisturbed.made
        assert rebuilt.suggester.keys() == undisturbed.suggester.keys()

    def test_keys_count_and_name_candidates(self, open_study: Open) -> None:
        suggester = open_study(SPACE)
        assert (suggester.asked(), suggester.keys()) == (0, {})
        for number in (1, 0, 2):
            own = suggester.ask()
            suggester.name(own.key, "id", number, {})
        assert suggester.ask().key == 3
        assert suggester.asked() == 4
        assert dict(suggester.keys()) == {1: 0, 0: 1, 2: 2}
        assert dict(open_study(SPACE).keys()) == {1: 0, 0: 1, 2: 2}
        assert open_study(SPACE).asked() == 3

    def test_a_given_point_is_suggested(self, open_study: Open) -> None:
        suggester = open_study(SPACE)
        for key, knobs in enumerate((SPACE.uniform(0), SPACE.uniform(1), SPACE.sample(random.Random(0)))):
            own = suggester.ask(knobs)
            assert (own.key, own.knobs) == (key, knobs)
            suggester.name(own.key, "id", key, {})
            suggester.tell_completed(own.key, [3.0, 1.0])

    @pytest.mark.parametrize("first", ["completed", "stopped", "infeasible", "forget"])
    def test_a_second_answer_changes_nothing(self, open_study: Open, first: str) -> None:
        answers: dict[str, Callable[[Suggester, int], None]] = {
            "completed": lambda suggester, key: suggester.tell_completed(key, [3.0, 1.0]),
            "stopped": lambda suggester, key: suggester.tell_stopped(key),
            "infeasible": lambda suggester, key: suggester.tell_infeasible(key, {"peak_memory_measured": 0.05}),
            "forget": lambda suggester, key: suggester.forget(key),
        }
        following = []
        for study in ("once", "twice"):
            suggester = open_study(SPACE, study=study, startup=1)
            for number in range(3):
                own = suggester.ask()
                suggester.name(own.key, "id", number, {})
                answers[first](suggester, own.key)
            if study == "twice":
                suggester = open_study(SPACE, study=study, startup=1)
                for tell in answers.values():
                    tell(suggester, 1)
            following.append(suggester.ask().knobs)
        assert following[0] == following[1]

    def test_what_is_forgotten_teaches_nothing(self, open_study: Open) -> None:
        """Whatever it was, and with a name or without one."""
        following = []
        for study, points in (("one", SPACE.uniform), ("other", lambda index: SPACE.uniform(50 + index))):
            suggester = open_study(SPACE, study=study, startup=2)
            for number in range(3):
                own = suggester.ask()
                suggester.name(own.key, "id", number, {})
                suggester.tell_completed(own.key, [loss(own.knobs), 1.0])
                unnamed = suggester.ask(points(number))
                suggester.forget(unnamed.key)
                named = suggester.ask(points(10 + number))
                suggester.name(named.key, "id", 100 + number, {})
                suggester.forget(named.key)
            following.append(suggester.ask())
        assert following[0] == following[1]
        assert following[0].key == 9

    def test_what_did_not_fit_is_avoided(self, open_study: Open) -> None:
        """Widths over the limit have the better loss, and are proposed less and less."""
        suggester = open_study(SPACE, startup=10)
        wide = []
        for number in range(40):
            own = suggester.ask()
            over = excess(own.knobs)
            wide.append(over > 0)
            suggester.name(own.key, f"id {number}", number, {"params": over})
            if over > 0:
                suggester.tell_infeasible(own.key)
            else:
                suggester.tell_completed(own.key, [4.0 - own.knobs["width"] / 64, loss(own.knobs)])
        assert sum(wide[:10]) > 4
        assert sum(wide[20:]) < 7, "of 20, where chance would make 12"

    def test_nothing_but_refusals_is_no_obstacle(self, open_study: Open) -> None:
        suggester = open_study(SPACE, startup=2)
        for number in range(4):
            own = suggester.ask()
            suggester.name(own.key, "id", number, {"params": 1.0 + number})
            suggester.tell_infeasible(own.key)
            own = suggester.ask()
            suggester.name(own.key, "id", 100 + number, {"params": -0.5})
            suggester.tell_stopped(own.key)
        assert suggester.asked() == 8


def in_domain(domain: Choice | Range, value: Any) -> bool:
    if isinstance(domain, Range):
        return bool(domain.low <= value <= domain.high)
    return any(type(value) is type(other) and value == other for other in domain.values)
