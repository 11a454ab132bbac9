import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nas.cost import LOGITS_CHUNKS
from nas.train.loss import chunk_rows, linear_cross_entropy, token_losses


def problem(
    rows: int, width: int, vocabulary: int, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(rows)
    hidden = torch.randn(rows, width, generator=generator, dtype=dtype, requires_grad=True)
    weight = torch.randn(vocabulary, width, generator=generator, dtype=dtype, requires_grad=True)
    return hidden, weight, torch.randint(0, vocabulary, (rows,), generator=generator)


@pytest.mark.parametrize("elements", [1, 29, 30, 31, 100, 2**20], ids=lambda n: f"chunks of {n}")
@pytest.mark.parametrize("rows", [1, 2, 7])
def test_value_and_gradients(rows: int, elements: int) -> None:
    """Of the plain loss, whatever the rows' share of a chunk: one row, several and a rest, all."""
    hidden, weight, targets = problem(rows, 4, 10, torch.float32)
    found = linear_cross_entropy(hidden, weight, targets, elements)
    expected = F.cross_entropy(hidden @ weight.T, targets)
    torch.testing.assert_close(found, expected)
    ours, theirs = (torch.autograd.grad(3 * value, (hidden, weight)) for value in (found, expected))
    torch.testing.assert_close(ours, theirs)


@given(st.integers(1, 40), st.integers(2, 30), st.integers(1, 2000), st.sampled_from([torch.float32, torch.bfloat16]))
@settings(max_examples=40)
def test_the_chunk_is_only_how(rows: int, vocabulary: int, chunk: int, dtype: torch.dtype) -> None:
    """Of any size it gives what one chunk of all logits gives, and so do those that the layouts choose among."""
    hidden, weight, targets = problem(rows, 4, vocabulary, torch.float32)
    hidden = hidden.detach().to(dtype).requires_grad_()
    whole, *others = (
        linear_cross_entropy(hidden, weight, targets, own) for own in (rows * vocabulary, chunk, *LOGITS_CHUNKS["cpu"])
    )
    expected = torch.autograd.grad(whole, (hidden, weight))
    rounding = {} if dtype is torch.float32 else {"atol": 0.02, "rtol": 0.02}  # products are rounded chunk by chunk
    for found in others:
        torch.testing.assert_close(found, whole, **rounding)
        torch.testing.assert_close(torch.autograd.grad(found, (hidden, weight)), expected, **rounding)


@pytest.mark.parametrize("softcap", [0.0, 0.5, 4.0])
def test_gradients_by_differences(softcap: float) -> None:
    """In float64; the loss itself is summed in float32, hence the tolerance."""
    hidden, weight, targets = problem(5, 3, 6)
    assert torch.autograd.gradcheck(
        lambda h, w: linear_cross_entropy(h, w, targets, softcap=softcap), (hidden, weight), eps=1e-2, atol=1e-3
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("elements", [1, 30, 100])
@pytest.mark.parametrize("softcap", [0.5, 3.0, 50.0])
def test_capped_logits(softcap: float, elements: int, dtype: torch.dtype) -> None:
    """Value and gradients of the plain loss of capped logits, with and without gradients."""
    hidden, weight, targets = problem(7, 4, 10, torch.float32)
    hidden = hidden.detach().to(dtype).requires_grad_()
    logits = (hidden @ weight.to(dtype).T).float()
    expected = F.cross_entropy(softcap * torch.tanh(logits / softcap), targets)
    found = linear_cross_entropy(hidden, weight, targets, elements, softcap)
    rounding = {} if dtype is torch.float32 else {"atol": 0.02, "rtol": 0.02}
    torch.testing.assert_close(found, expected, **rounding)
    ours, theirs = (torch.autograd.grad(value, (hidden, weight)) for value in (found, expected))
    torch.testing.assert_close(ours, theirs, **rounding)
    with torch.no_grad():
        torch.testing.assert_close(linear_cross_entropy(hidden, weight, targets, elements, softcap), found)
        torch.testing.assert_close(token_losses(hidden, weight, targets, elements, softcap).mean(), found)


@pytest.mark.parametrize("rows", [1, 7, 64])
def test_without_gradients(rows: int) -> None:
    hidden, weight, targets = problem(rows, 4, 10, torch.float32)
    with torch.no_grad():
        each = token_losses(hidden, weight, targets, 30)
        mean = linear_cross_entropy(hidden, weight, targets, 30)
    torch.testing.assert_close(each, F.cross_entropy(hidden @ weight.T, targets, reduction="none"))
    torch.testing.assert_close(mean, each.mean())
    assert not mean.requires_grad


def test_half_precision_keeps_the_loss_and_the_weight_s_gradient_whole() -> None:
    """As under autocast: the hidden states are bfloat16, the head float32."""
    hidden, weight, targets = problem(16, 8, 32, torch.float32)
    half = hidden.detach().bfloat16().requires_grad_()
    found = linear_cross_entropy(half, weight, targets)
    assert found.dtype == torch.float32
    found.backward()
    assert half.grad is not None and weight.grad is not None
    assert (half.grad.dtype, weight.grad.dtype) == (torch.bfloat16, torch.float32)
    expected = F.cross_entropy(half.float() @ weight.T, targets)
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0.02)


def test_a_target_that_is_certain_costs_nothing() -> None:
    hidden, weight = torch.tensor([[1000.0, 0.0]]), torch.eye(2)
    assert linear_cross_entropy(hidden, weight, torch.tensor([0])).item() == 0.0
    assert linear_cross_entropy(hidden, weight, torch.tensor([1])).item() == 1000.0


@pytest.mark.parametrize(
    ("rows", "vocabulary", "chunk", "expected"),
    [
        (100, 256, 2**20, 100),
        (10_000, 256, 2**20, 4096),
        (10_000, 256, 2**16, 256),
        (10, 2**21, 2**20, 1),  # never less than a row
        (10_000, 2**16, 2**20, 16),
        (10_000, 2**16, 2**26, 1024),
    ],
)
def test_rows_of_a_chunk(rows: int, vocabulary: int, chunk: int, expected: int) -> None:
    assert chunk_rows(rows, vocabulary, chunk) == expected
