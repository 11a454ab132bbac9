"""Candidates that no profile was fitted to, and real steps of them."""

import itertools
import random
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

from nas.adapters.sql.store import open_store
from nas.calibration import DeviceProfile, Fingerprint
from nas.candidate import Architecture, Candidate
from nas.cost import LOGITS_CHUNKS
from nas.errors import ProbeError
from nas.measure.calibrate import FULL, SHORT, SPACES, Measured, profile_device, shapes
from nas.measure.fingerprint import fingerprint_here
from nas.measure.probe import ProbeRequest, probe
from nas.measure.tracer import Tracer
from nas.plan import Layout
from nas.predict import Predictor
from nas.space import load_space
from services.device import precision_for, threads_for
from services.home import home
from services.profiles import find

Item = TypeVar("Item")

FIRST_SEEDS = {"memory": 10_000, "time": 20_000, "gate": 30_000, "cost": 40_000, "modules": 50_000}
"""By part, one for each candidate that is drawn; a profile draws all of its own with seed 0."""
SEEDS = 1_000_000
"""Between those of one run and of the next."""
RECOMPUTED = 0.3
"""Share of the candidates whose activations are computed again."""
FEWEST = 3
ROUNDS = 3


@dataclass(frozen=True)
class Setting:
    """Where is measured, and how much.

    Attributes:
        device: torch's name.
        share: of the candidates that a part takes.
        rounds: in which times are measured, the least of them taken.
        short: a short profile predicts, which says nothing of compiled steps; of the CPU always.
        stored: the profile that `nas` keeps of the device predicts, if there is one.
    """

    device: str = "cpu"
    share: float = 1.0
    seed: int = 0
    rounds: int = ROUNDS
    short: bool = False
    stored: bool = False

    @property
    def backend(self) -> str:
        return self.fingerprint.backend

    @property
    def space(self) -> str:
        """That a profile draws from too."""
        return SPACES[self.backend]

    @cached_property
    def fingerprint(self) -> Fingerprint:
        threads = 1 if self.device == "cpu" else threads_for(self.device, 1)
        return fingerprint_here(self.device, threads, precision_for(self.device))

    @cached_property
    def profile(self) -> DeviceProfile:
        """Made when it is first asked for."""
        if self.stored and (known := find(open_store(home().database), self.fingerprint)) is not None:
            return known
        tell(f"a profile of {self.fingerprint.name} is made")
        return profile_device(self.device, self.fingerprint, short=self.short or self.backend == "cpu", tell=tell)

    @cached_property
    def seen(self) -> frozenset[Architecture]:
        """By profiles of this device, full or short."""
        probes = (own for count in (FULL, SHORT) for own in shapes(self.device, self.fingerprint, count))
        return frozenset(own.candidate.architecture for own in probes)

    @cached_property
    def predictor(self) -> Predictor:
        tracer = Tracer(self.fingerprint.backend, self.fingerprint.precision)
        return Predictor(tracer, self.profile, self.profile)

    def count(self, whole: int) -> int:
        """Candidates to take of so many."""
        return max(FEWEST, round(self.share * whole))


def tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def counted(items: Iterable[Item], what: str, count: int) -> Iterator[Item]:
    """The items, and a line for people after every tenth."""
    for number, item in enumerate(items, 1):
        yield item
        if number % 10 == 0:
            tell(f"{what}: {number} of {count}")


# --- drawing ---

Draw = tuple[Candidate, Layout]


def drawn(setting: Setting, part: str, space_name: str = "") -> Iterator[tuple[Candidate, random.Random]]:
    """Candidates without end that no profile has seen, each with its own random numbers.

    Args:
        space_name: empty for the device's own.
    """
    space = load_space(space_name or setting.space)
    first = FIRST_SEEDS[part] + SEEDS * setting.seed
    for seed in itertools.count(first):
        rng = random.Random(seed)
        candidate = space.decode(space.sample(rng))
        if candidate.architecture not in setting.seen:
            yield candidate, rng


def laid_out(candidate: Candidate, rng: random.Random, backend: str = "cpu") -> Draw:
    """With a batch of one or two passes, of any number of sequences that divides those of its own batch, and any chunk
    of logits."""
    sizes = [size for size in range(1, candidate.sequences + 1) if candidate.sequences % size == 0]
    micro_batch = rng.choice(sizes)
    tokens = micro_batch * rng.choice((1, 2)) * candidate.architecture.context
    recipe = replace(candidate.recipe, batch_tokens=tokens)
    layout = Layout(micro_batch, rng.random() < RECOMPUTED, rng.choice(LOGITS_CHUNKS[backend]))
    return replace(candidate, recipe=recipe), layout


def layouts(setting: Setting, part: str, count: int, fits: Callable[[Draw], bool]) -> list[Draw]:
    """So many that fit."""
    every = (laid_out(candidate, rng, setting.backend) for candidate, rng in drawn(setting, part))
    return list(itertools.islice(filter(fits, every), count))


# --- measuring ---


def requested(setting: Setting, draw: Draw, *, timed: bool) -> ProbeRequest:
    candidate, layout = draw
    asked = ProbeRequest(
        candidate,
        layout,
        device=setting.device,
        threads=setting.fingerprint.threads,
        precision=setting.fingerprint.precision,
        decodes=timed,
    )
    return asked if timed else replace(asked, timed=1)


def probed(setting: Setting, what: str, requests: Sequence[ProbeRequest]) -> list[Measured]:
    """Real steps of each, in a fresh process, with the trace; what did not end well is told, and left out."""
    measured = []
    for request in counted(requests, what, len(requests)):
        trace = setting.predictor.tracer.trace(request.candidate, request.layout)
        try:
            measured.append(Measured(request, trace, probe(request)))
        except ProbeError as error:
            tell(f"{what}: candidate {request.candidate.id}: {error}")
    if not measured:
        raise RuntimeError(f"{what}: not one of {len(requests)} probes ended well")
    return measured
