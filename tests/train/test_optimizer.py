import copy
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from nas.candidate import Architecture, Deviation
from nas.plan import Rates
from nas.train.model import Transformer
from nas.train.optimizer import MUON_MOMENTUM, Matrix, Muon, Optimizers, matrices, orthogonalise

Build = Callable[..., Transformer]
PLAIN = Architecture(depth=2, width=16, heads=4, head_size=4, kv_heads=2, mlp_width=24, vocabulary=256, context=16)
VARIANTS = [
    PLAIN,
    replace(PLAIN, tied=False, qk_norm=False),
    replace(PLAIN, kv_heads=1, deviations=(Deviation(1, heads=3, kv_heads=3, mlp_width=8),)),
    replace(PLAIN, activation="relu2", value_embeddings="alternate", x0_shortcut=True, softcap=15.0),
]
RATES = Rates(matrix=0.1, embedding=0.2, head=0.3, vector=0.4, decay=0.0)


def with_gradients(model: Transformer, seed: int = 0) -> Transformer:
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    return model


# --- the update ---


@pytest.mark.parametrize("shape", [(1, 1), (4, 4), (64, 64), (16, 48), (48, 16), (192, 64), (1, 100), (128, 8)])
def test_singular_values_are_pushed_to_one(shape: tuple[int, int]) -> None:
    """From any scale: an update of Muon is a rotation, near enough."""
    generator = torch.Generator().manual_seed(shape[0])
    x = torch.randn(3, *shape, generator=generator) * torch.tensor([1e-3, 1.0, 1e3])[:, None, None]
    found = torch.linalg.svdvals(orthogonalise(x))
    original = torch.linalg.svdvals(x)
    seen = original / original.norm(dim=-1, keepdim=True) > 0.01  # what is all but zero may stay small
    assert found[seen].min() >= 0.6
    assert found.max() <= 1.3


def test_directions_stay() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 8, 20, generator=generator)
    u, _, v = torch.linalg.svd(x[0], full_matrices=False)
    turned = u.T @ orthogonalise(x)[0] @ v.T
    torch.testing.assert_close(turned, turned.diagonal().diag(), atol=1e-4, rtol=0.0)


def test_a_matrix_of_zeros_stays_one() -> None:
    assert torch.equal(orthogonalise(torch.zeros(2, 3, 5)), torch.zeros(2, 3, 5))


def test_matrices_of_one_shape_go_together_as_they_would_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(5, 12, 20, generator=generator)
    alone = torch.cat([orthogonalise(own[None]) for own in x])
    torch.testing.assert_close(orthogonalise(x), alone, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(orthogonalise(x.mT), alone.mT, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("architecture", VARIANTS)
def test_batches_equal_one_by_one(architecture: Architecture, random_model: Build) -> None:
    """Three steps with momentum and decay, against a Muon for each matrix."""
    together, alone = random_model(architecture), random_model(architecture)
    one = Muon(matrices(together))
    each = [SlowMuon(matrix) for matrix in matrices(alone)]
    for step in range(3):
        with_gradients(together, step)
        with_gradients(alone, step)
        one.param_groups[0].update(lr=0.1 / (step + 1), weight_decay=0.05)
        one.step()
        for optimizer in each:
            optimizer.step(0.1 / (step + 1), 0.05)
    for ours, theirs in zip(together.parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


class SlowMuon:
    """Muon as its definition reads, for one matrix."""

    def __init__(self, matrix: Matrix) -> None:
        self.matrix = matrix
        self.momentum: Tensor | float = 0.0

    @torch.no_grad()
    def step(self, rate: float, decay: float) -> None:
        weight, gradient = self.matrix.of(self.matrix.parameter), self.matrix.of(self.matrix.parameter.grad)  # type: ignore[arg-type]
        self.momentum = MUON_MOMENTUM * self.momentum + (1 - MUON_MOMENTUM) * gradient
        nesterov = MUON_MOMENTUM * self.momentum + (1 - MUON_MOMENTUM) * gradient
        rows, columns = weight.shape
        update = orthogonalise(nesterov[None])[0] * max(1.0, rows / columns) ** 0.5
        weight.mul_(1 - rate * decay).sub_(rate * update)


# --- who updates what ---


@pytest.mark.parametrize("architecture", VARIANTS)
def test_every_hidden_weight_is_in_one_matrix(architecture: Architecture, random_model: Build) -> None:
    model = random_model(architecture)
    counts = {parameter: torch.zeros_like(parameter) for parameter in model.parameters()}
    for matrix in matrices(model):
        matrix.of(counts[matrix.parameter]).add_(1)
        assert matrix.of(matrix.parameter).shape == matrix.shape
    for name, parameter in model.named_parameters():
        hidden = name.startswith("blocks.") and parameter.ndim == 2 and "value_embedding" not in name
        assert counts[parameter].eq(1.0 if hidden else 0.0).all(), name


def test_query_key_value_and_gate_up_are_apart() -> None:
    shapes = [matrix.shape for matrix in matrices(Transformer(PLAIN))]
    assert shapes == [(16, 16), (8, 16), (8, 16), (16, 16), (24, 16), (24, 16), (16, 24)] * 2


def role_of(name: str, parameter: Tensor) -> str:
    if "value_embedding" in name:
        return "embedding"
    return "vector" if parameter.ndim == 1 else "matrix" if name.startswith("blocks.") else name.split(".")[0]


@pytest.mark.parametrize("architecture", VARIANTS)
@pytest.mark.parametrize("kind", ["muon", "adamw"])
def test_every_parameter_has_one_role(architecture: Architecture, kind: str) -> None:
    model = Transformer(architecture)
    names = {parameter: name for name, parameter in model.named_parameters()}
    roles: dict[str, str] = {}
    for which, optimizer in Optimizers(model, kind).all.items():
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                assert names[parameter] not in roles
                roles[names[parameter]] = group.get("role", which)
    expected = {name: role_of(name, parameter) for name, parameter in model.named_parameters()}
    assert roles == {name: kind if kind == "muon" and role == "matrix" else role for name, role in expected.items()}


@pytest.mark.parametrize("architecture", VARIANTS)
@pytest.mark.parametrize("kind", ["muon", "adamw"])
@pytest.mark.parametrize("role", ["matrix", "embedding", "head", "vector"])
def test_rates_reach_their_role_and_no_other(
    architecture: Architecture, kind: str, role: str, random_model: Build
) -> None:
    model = with_gradients(random_model(architecture))
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    zero = Rates(0, 0, 0, 0, 0)
    Optimizers(model, kind).step(replace(zero, **{role: 0.01}))
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name]) == (role_of(name, parameter) != role), name
        assert parameter.grad is None


@pytest.mark.parametrize("kind", ["muon", "adamw"])
def test_decay_is_for_matrices(kind: str, random_model: Build) -> None:
    """With gradients of zero only decay is left: w (1 - rate x decay)."""
    model = random_model(replace(PLAIN, tied=False))
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    Optimizers(model, kind).step(replace(RATES, decay=0.5))
    for name, parameter in model.named_parameters():
        decays = name.startswith("blocks.") and parameter.ndim == 2
        torch.testing.assert_close(parameter.detach(), before[name] * (0.95 if decays else 1.0))


def test_the_effect_of_an_update_does_not_depend_on_the_width(random_model: Build) -> None:
    """An input of unit RMS changes the output's by about the rate, whatever the matrix's shape."""
    for width, hidden in ((16, 64), (64, 16), (64, 64), (128, 32)):
        model = with_gradients(random_model(replace(PLAIN, width=width, mlp_width=hidden)))
        before = model.blocks[0].mlp.down.weight.detach().clone()
        Optimizers(model, "muon").step(RATES)
        update = model.blocks[0].mlp.down.weight.detach() - before
        largest = torch.linalg.matrix_norm(update, 2) * (hidden / width) ** 0.5
        assert largest.item() == pytest.approx(0.1 * max(1.0, (hidden / width) ** 0.5), rel=0.3)


# --- state ---


@pytest.mark.parametrize("kind", ["muon", "adamw"])
@pytest.mark.parametrize("architecture", VARIANTS)
def test_a_restored_optimizer_goes_on_bit_for_bit(architecture: Architecture, kind: str, random_model: Build) -> None:
    model = random_model(architecture)
    optimizers = Optimizers(model, kind)
    for step in range(2):
        with_gradients(model, step)
        optimizers.step(RATES)
    other = random_model(architecture)
    other.load_state_dict(model.state_dict())
    restored = Optimizers(other, kind)
    restored.load_state_dict(copy.deepcopy(optimizers.state_dict()))
    for own, optimizer in ((model, optimizers), (other, restored)):
        with_gradients(own, 9)
        optimizer.step(RATES)
    for ours, theirs in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(ours, theirs)
