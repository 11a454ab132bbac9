"""What only a GPU shows: bfloat16 training, the fused kernels, memory under the bound, others that fill it. Run with a
CUDA device."""

import math
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from nas.candidate import Architecture, Candidate, Recipe
from nas.cost import cost, memory_bound
from nas.data.texts import Texts
from nas.errors import CrowdedError
from nas.plan import Allowance, plan_run
from nas.ports import Assignment, Outcome
from nas.records import Verdict
from nas.train import containment
from nas.train.containment import check_uncrowded, contained
from nas.train.cuda import ALLOCATOR_SETTINGS
from nas.train.decode import Decoder
from nas.train.model import Transformer
from nas.train.run import Finish, Request, train
from nas.train.worker import Workshop, carry_out, is_out_of_memory

pytestmark = pytest.mark.gpu

ARCHITECTURE = Architecture(
    depth=3, width=128, heads=4, head_size=32, kv_heads=2, mlp_width=384, vocabulary=320, context=64
)


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_trains_in_bfloat16_within_the_memory_bound(tiny_texts: Texts, optimizer: str) -> None:
    candidate = Candidate(ARCHITECTURE, Recipe(batch_tokens=1024, optimizer=optimizer))  # type: ignore[arg-type]
    facts = tiny_texts.facts(320, 64)
    own = cost(candidate, facts.bytes_per_token)
    plan = plan_run(candidate, own, facts, Allowance(60 * own.step_flops), rungs=3, precision="bfloat16")
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    *reports, finish = train(Request(candidate, plan, seed=0, device="cuda"), tiny_texts)
    assert isinstance(finish, Finish) and finish.kind == "completed" and finish.validation is not None
    losses = [report.train_bpb for report in reports if report.train_bpb is not None]  # type: ignore[union-attr]
    assert math.isfinite(finish.validation.bpb) and losses[-1] < 0.8 * losses[0]
    workspace = 64 * 2**20  # cuBLAS
    assert torch.cuda.max_memory_allocated() - before <= memory_bound(candidate, plan.micro_batch) + workspace


def test_compiled_equals_eager(tiny_texts: Texts) -> None:
    candidate = Candidate(ARCHITECTURE, Recipe(batch_tokens=1024))
    facts = tiny_texts.facts(320, 64)
    own = cost(candidate, facts.bytes_per_token)
    scores = []
    for compiles in (False, True):
        plan = plan_run(candidate, own, facts, Allowance(40 * own.step_flops), rungs=0, precision="bfloat16")
        plan = type(plan).from_dict({**plan.to_dict(), "compile": compiles})
        *_, finish = train(Request(candidate, plan, seed=0, device="cuda"), tiny_texts)
        assert isinstance(finish, Finish) and finish.validation is not None
        scores.append(finish.validation.bpb)
    assert scores[0] == pytest.approx(scores[1], abs=0.05)


def test_tokens_are_read_one_by_one_as_at_once() -> None:
    model = Transformer(ARCHITECTURE, precision="bfloat16")
    model.initialise(0)
    model.to("cuda").eval()
    tokens = torch.randint(0, 320, (64,), generator=torch.Generator().manual_seed(0)).cuda()
    decoder = Decoder(model)
    found = torch.stack([decoder.read(piece) for piece in (tokens[:30], *tokens[30:].split(1))])
    with torch.no_grad():
        expected = model.logits(tokens[None])[0, 29:].float()
    torch.testing.assert_close(found, expected, atol=0.05, rtol=0.05)


def test_segments_grow() -> None:
    """In a fresh process, which no variable told so."""
    code = """
import torch
import nas.train.fused
kept = torch.ones(2**24, device="cuda")
print([own["is_expandable"] for own in torch.cuda.memory_snapshot()], torch.backends.cuda.cudnn_sdp_enabled())
"""
    variables = {name: value for name, value in os.environ.items() if name not in ALLOCATOR_SETTINGS}
    told = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=True)
    assert told.stdout == "[True] False\n"


def test_the_name_of_a_device_may_have_a_number() -> None:
    with contained("cuda:0", GIB), pytest.raises(torch.OutOfMemoryError):
        torch.empty(2 * GIB, dtype=torch.uint8, device="cuda:0")
    torch.empty(2 * GIB, dtype=torch.uint8, device="cuda:0")


# --- a device that another process fills ---

GIB = 2**30
FILLS = """
import sys, torch
free, _ = torch.cuda.mem_get_info()
kept = torch.empty(free - int(sys.argv[1]), dtype=torch.uint8, device="cuda")
print("filled", flush=True)
sys.stdin.read()
"""


@contextmanager
def filled(left: int) -> Iterator[None]:
    """Another process has all but so many bytes, until the end of the block."""
    torch.ones(1, device="cuda")  # this process has its context before
    torch.cuda.empty_cache()
    command = [sys.executable, "-c", FILLS, str(left)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout is not None and other.stdout.readline() == "filled\n"
            yield
        finally:
            other.kill()


def test_a_run_waits_for_a_device_that_another_process_fills(
    tiny_texts: Texts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    candidate = Candidate(ARCHITECTURE, Recipe(batch_tokens=1024))
    facts = tiny_texts.facts(320, 64)
    own = cost(candidate, facts.bytes_per_token)
    plan = plan_run(candidate, own, facts, Allowance(40 * own.step_flops), rungs=0, precision="bfloat16")
    workshop, notes = Workshop(tiny_texts, tmp_path, "cuda", threads=1, all_threads=1), list[str]()

    def attempt(number: int) -> Outcome:
        assignment = Assignment("s", 0, number, candidate, plan, 0, deadline_seconds=None, memory_cap=2 * GIB)
        return carry_out(assignment, workshop, lambda point, *, durable: Verdict.CONTINUE, notes.append)

    with monkeypatch.context() as patch, filled(left=GIB):
        patch.setattr(containment, "FREE_SECONDS", 0.5)
        outcome = attempt(0)
    assert (outcome.kind, outcome.train_flops, outcome.measured) == ("interrupted", 0, {})
    (said,) = notes
    assert said.startswith("cuda is used by others: ") and said.endswith("2 GiB needed")
    assert attempt(1).kind == "completed"


def test_memory_that_another_process_took_meanwhile_is_not_the_candidate_s_fault() -> None:
    with contained("cuda", 4 * GIB):
        with filled(left=GIB):
            with pytest.raises(torch.OutOfMemoryError) as raised:
                torch.empty(3 * GIB, dtype=torch.uint8, device="cuda")
            assert is_out_of_memory(raised.value)
            with pytest.raises(CrowdedError, match=r"cuda was filled by others: .* left of 4 GiB"):
                check_uncrowded("cuda", 4 * GIB)
        with pytest.raises(torch.OutOfMemoryError):
            torch.empty(5 * GIB, dtype=torch.uint8, device="cuda")
        check_uncrowded("cuda", 4 * GIB)  # it had all that it was allowed
