"""What only a GPU shows: bfloat16 training, the fused kernels, memory under the bound. Run with a CUDA device."""

import math

import pytest
import torch

from nas.candidate import Architecture, Candidate, Recipe
from nas.cost import cost, memory_bound
from nas.data.texts import Texts
from nas.plan import Allowance, plan_run
from nas.train.run import Finish, Request, train

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
