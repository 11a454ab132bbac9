"""How fast a run goes, and how many steps it can still make before a deadline."""

from dataclasses import dataclass

MINIMUM_STEPS = 3  # timed steps before anything is said
RECENT = 0.7  # weight that the recent pace keeps at each step
SCORING_RESERVE = 1.25  # scoring is timed on little text; some time is left for what that misses


@dataclass
class Pace:
    """Seconds of a step, over the whole attempt and lately, and seconds of a FLOP of scoring.

    A hiccup must neither go unseen nor end a run, so the pace is the mean of the two.
    """

    steps: int = 0
    seconds: float = 0.0
    recent: float = 0.0
    scored_flops: int = 0
    scored_seconds: float = 0.0

    def stepped(self, seconds: float) -> None:
        self.steps, self.seconds = self.steps + 1, self.seconds + seconds
        self.recent = seconds if self.steps == 1 else RECENT * self.recent + (1 - RECENT) * seconds

    def scored(self, flops: int, seconds: float) -> None:
        self.scored_flops, self.scored_seconds = self.scored_flops + flops, self.scored_seconds + seconds

    @property
    def known(self) -> bool:
        return self.steps >= MINIMUM_STEPS and self.seconds > 0

    @property
    def step_seconds(self) -> float:
        return (self.seconds / self.steps + self.recent) / 2

    def possible_steps(self, seconds: float, step_flops: int, scoring_flops: int) -> int:
        """Steps that fit into ``seconds`` when ``scoring_flops`` of scoring are still to come; at least 0."""
        a_flop = self.step_seconds / step_flops
        if self.scored_flops:
            a_flop = max(self.scored_seconds / self.scored_flops, a_flop / 3)
        left = seconds - SCORING_RESERVE * scoring_flops * a_flop
        return max(0, int(left / self.step_seconds))
