"""Real steps of one candidate in a process of its own: what it takes of the device, and how long.

A probe is forked from a server that has torch loaded and has never touched a device, so that each finds the device as
the first process there does, in some tens of milliseconds. It may run out of memory, hang or be killed: that is an
answer about the candidate, and nothing else ends.
"""

import math
import multiprocessing
import signal
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from typing import Any

import torch
from torch import Tensor

from nas.candidate import Candidate
from nas.errors import CrowdedError, NasError, ProbeError
from nas.measure import nvml
from nas.measure.memory import peak_bytes
from nas.plan import Layout, rates, step_flops
from nas.train.containment import check_uncrowded, contained
from nas.train.decode import Decoder
from nas.train.model import Transformer
from nas.train.optimizer import Optimizers
from nas.train.worker import is_out_of_memory

WARM_UP = 1
TIMED = 3
"""Steps that are timed at least unless fewer are asked for; short ones are repeated for some time."""
REPEAT_SECONDS = 0.2
ENERGY_SECONDS = 2.0
"""For which steps are repeated where their energy is counted: counters are coarse."""
DECODED = 16
"""Tokens that are timed together."""
LIMIT_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class ProbeRequest:
    """Which steps to make. ``device`` is torch's name.

    Attributes:
        cap_bytes: that tensors may take; ``None`` for what the device has.
        timed: steps that are timed at least; one alone is not repeated, for whom only its memory matters.
        decodes: whether a token in use is timed too.
    """

    candidate: Candidate
    layout: Layout
    compile: bool = False
    device: str = "cpu"
    threads: int = 1
    precision: str = "float32"
    cap_bytes: int | None = None
    timed: int = TIMED
    decodes: bool = False


@dataclass(frozen=True, slots=True)
class Probe:
    """What was measured of a step.

    Attributes:
        peak_bytes: allocated at most, weights and optimizer state included.
        reserved_bytes: held by the allocator at most; on the CPU, which has none of its own, the peak.
        context_bytes: that the process takes of the device beside.
        step_seconds: least of the steps that were timed; on the CPU with one thread of processor time.
        compile_seconds: of the first pass, where it was compiled.
        joules: of a step; ``None`` where nothing counts them.
        token_seconds: of a token in use, one sequence at a time, amid a context; ``None`` where that was not asked for.
        steps, flops: that were made.
    """

    peak_bytes: int
    reserved_bytes: int
    context_bytes: int
    step_seconds: float
    compile_seconds: float
    joules: float | None
    token_seconds: float | None
    steps: int
    flops: int

    @property
    def process_bytes(self) -> int:
        """Of the device, by the whole process."""
        return self.reserved_bytes + self.context_bytes

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def probe(request: ProbeRequest, limit_seconds: float = LIMIT_SECONDS) -> Probe:
    """Makes the steps in a fresh process.

    Raises:
        ProbeError: its ``kind`` is ``out_of_memory``, ``hung`` (not over after ``limit_seconds``; it is ended),
            ``died`` (killed, or crashed), or ``failed`` (an error, which the message names).
    """
    here, there = _context().Pipe(duplex=False)
    process = _context().Process(target=_answer, args=(there, request, limit_seconds), daemon=True)
    process.start()
    there.close()
    try:
        answer = here.recv() if here.poll(limit_seconds) else ("hung", f"not over after {limit_seconds:g} s")
    except EOFError:
        process.join(5)
        answer = ("died", f"its process ended with {process.exitcode}")
    finally:
        process.kill()
        process.join()
        here.close()
    if isinstance(answer, Probe):
        return answer
    kind, detail = answer
    raise ProbeError(kind, detail)


def _context() -> multiprocessing.context.ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "torch._dynamo"])  # optimizers load it
    return context


def _answer(there: Connection, request: ProbeRequest, limit_seconds: float) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the command, which ends this
    signal.alarm(math.ceil(limit_seconds) + 5)  # in case nobody is left to end it
    try:
        with contained(request.device, request.cap_bytes, compiles=request.compile):
            there.send(measure_step(request))
    except Exception as error:
        there.send(_ended(error, request))


def _ended(error: Exception, request: ProbeRequest) -> tuple[str, str]:
    """How a probe did not end well. It is not out of memory when others have filled its device."""
    kind = "failed"
    if is_out_of_memory(error):
        try:
            check_uncrowded(request.device, request.cap_bytes)
            kind = "out_of_memory"
        except CrowdedError as crowded:
            error = crowded
    detail = str(error) if isinstance(error, NasError) else f"{type(error).__name__}: {error}"
    return kind, (detail.splitlines() or [""])[0]


def measure_step(request: ProbeRequest) -> Probe:
    """Makes the steps in this process: one to warm up, one for its memory, three and more for their time."""
    torch.set_num_threads(request.threads)
    context = _context_bytes(request.device)
    work = _Work(request)
    began = time.perf_counter()
    for _ in range(WARM_UP):
        work.step()
    first = time.perf_counter() - began
    peak, reserved = work.peak()
    before = nvml.joules(request.device)
    least_seconds = REPEAT_SECONDS if before is None else ENERGY_SECONDS
    seconds = work.time(request.timed, least_seconds if request.timed > 1 else 0.0)
    after = nvml.joules(request.device)
    steps = WARM_UP + 1 + len(seconds)
    return Probe(
        peak_bytes=peak,
        reserved_bytes=reserved,
        context_bytes=context,
        step_seconds=min(seconds),
        compile_seconds=max(0.0, first - min(seconds)) if request.compile else 0.0,
        joules=(after - before) / len(seconds) if before is not None and after is not None else None,
        token_seconds=work.token_seconds() if request.decodes else None,
        steps=steps,
        flops=steps * step_flops(request.candidate),
    )


class _Work:
    """A candidate that is ready to make steps, on random tokens."""

    def __init__(self, request: ProbeRequest) -> None:
        candidate, self.device = request.candidate, torch.device(request.device)
        architecture, self.candidate = candidate.architecture, candidate
        self.model = Transformer(
            architecture,
            candidate.recipe.dropout,
            recompute=request.layout.recompute,
            precision=request.precision,
            logits_chunk=request.layout.logits_chunk,
        )
        self.model.initialise(0)
        self.model.to(self.device).train()
        self.optimizers = Optimizers(self.model, candidate.recipe.optimizer)
        self.forward: Callable[..., Tensor] = self.model
        if request.compile:
            self.forward = torch.compile(self.model, dynamic=False)
        self.passes = candidate.sequences // request.layout.micro_batch
        shape = (request.layout.micro_batch, architecture.context)
        tokens = torch.randint(0, architecture.vocabulary, shape, generator=torch.Generator().manual_seed(0))
        self.tokens = tokens.to(self.device)
        one_thread = self.device.type == "cpu" and request.threads == 1
        self.clock = time.process_time if one_thread else time.perf_counter

    def step(self) -> None:
        """As `nas.train.run` makes it."""
        for _ in range(self.passes):
            loss = self.forward(self.tokens, self.tokens)
            (loss / self.passes).backward()  # type: ignore[no-untyped-call]
            del loss
        self.optimizers.step(rates(self.candidate, 0.5))
        self._await_device()

    def peak(self) -> tuple[int, int]:
        """Bytes allocated and reserved at most, in a step."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            self.step()
            return torch.cuda.max_memory_allocated(self.device), torch.cuda.max_memory_reserved(self.device)
        found = sum(tensor.nbytes for tensor in self._resident()) + peak_bytes(self.step)
        return found, found

    def token_seconds(self) -> float:
        """Seconds of a token, the least over some stretches of text from half of a context on."""
        self.model.eval()
        tokens = self.tokens[0]
        half = len(tokens) // 2
        stretch, best = min(DECODED, len(tokens) - half), math.inf
        began = time.perf_counter()
        while best == math.inf or time.perf_counter() - began < REPEAT_SECONDS:
            decoder = Decoder(self.model)
            if half:
                decoder.read(tokens[:half])
            self._await_device()
            started = self.clock()
            for at in range(half, half + stretch):
                decoder.read(tokens[at : at + 1])
            self._await_device()
            best = min(best, (self.clock() - started) / stretch)
        return best

    def _await_device(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def _resident(self) -> list[Tensor]:
        states = [state for optimizer in self.optimizers.all.values() for state in optimizer.state.values()]
        state = [tensor for own in states for tensor in own.values()]
        return [*self.model.parameters(), *self.model.buffers(), *state, self.tokens]

    def time(self, least: int, least_seconds: float) -> list[float]:
        """Seconds of each of some steps, so many at least and for so long."""
        seconds: list[float] = []
        began = time.perf_counter()
        while len(seconds) < least or time.perf_counter() - began < least_seconds:
            started = self.clock()
            self.step()
            seconds.append(self.clock() - started)
        return seconds


def _context_bytes(device: str) -> int:
    """That a process takes of a GPU before it has a tensor there: what is free before against after."""
    if not device.startswith("cuda"):
        return 0
    before = nvml.used_bytes(device)
    torch.zeros(1, device=device)
    after = nvml.used_bytes(device)
    if before is None or after is None:
        return 0
    return max(0, after - before - torch.cuda.memory_reserved(device))
