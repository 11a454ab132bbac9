"""How fast a run goes, and how many steps it can still make before a deadline."""

from collections import deque
from dataclasses import dataclass, field
from statistics import median

MINIMUM_STEPS = 3  # timed steps before anything is said
LATEST_STEPS = 15
SCORING_RESERVE = 1.25  # scoring is timed on little text; some time is left for what that misses


@dataclass
class Pace:
    """Seconds of a step, lately, and seconds of a FLOP of scoring.

    A step takes the median of the latest: a hiccup has taken its time from the deadline and must not count once more
    for every step to come, while a machine that has changed its speed for good is believed after eight steps.
    """

    latest: deque[float] = field(default_factory=lambda: deque(maxlen=LATEST_STEPS))
    scored_flops: int = 0
    scored_seconds: float = 0.0

    def stepped(self, seconds: float) -> None:
        self.latest.append(seconds)

    def scored(self, flops: int, seconds: float) -> None:
        self.scored_flops, self.scored_seconds = self.scored_flops + flops, self.scored_seconds + seconds

    @property
    def known(self) -> bool:
        return len(self.latest) >= MINIMUM_STEPS and self.step_seconds > 0

    @property
    def step_seconds(self) -> float:
        return median(self.latest)

    def possible_steps(self, seconds: float, step_flops: int, scoring_flops: int) -> int:
        """Steps that fit into ``seconds`` when ``scoring_flops`` of scoring are still to come; at least 0."""
        a_flop = self.step_seconds / step_flops
        if self.scored_flops:
            a_flop = max(self.scored_seconds / self.scored_flops, a_flop / 3)
        left = seconds - SCORING_RESERVE * scoring_flops * a_flop
        return max(0, int(left / self.step_seconds))
