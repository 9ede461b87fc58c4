"""AdamW as a pure function, against PyTorch's optimizer."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from elsa_sim.learning.training.optim import FLOPS_PER_PARAMETER, Moments, Optimizer, update

SHAPES = {"a": (3, 4), "b": (5,), "c": (2, 1)}


def tensors(seed: int) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=draw) for name, shape in SHAPES.items()}


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_steps_are_those_of_torch_bit_for_bit(weight_decay: float) -> None:
    theirs = {name: tensor.clone().requires_grad_() for name, tensor in tensors(0).items()}
    optimizer = torch.optim.AdamW(theirs.values(), lr=0.01, weight_decay=weight_decay, foreach=True)
    ours, moments = tensors(0), None
    for step in range(1, 8):
        gradients = tensors(step)
        for name, tensor in theirs.items():
            tensor.grad = gradients[name].clone()
        optimizer.step()
        ours, moments = update(ours, gradients, moments, Optimizer(0.01, weight_decay))
        assert moments is not None
        assert moments.step == step
        for name, tensor in theirs.items():
            assert torch.equal(ours[name], tensor.detach())
            assert torch.equal(moments.first[name], optimizer.state[tensor]["exp_avg"])
            assert torch.equal(moments.second[name], optimizer.state[tensor]["exp_avg_sq"])


def test_the_first_step_in_closed_form() -> None:
    """With bias correction the first step is lr * g / (|g| + eps), after decay of lr * lambda * theta."""
    theta, gradients = tensors(0), tensors(1)
    after, _ = update(theta, gradients, None, Optimizer(0.01, 0.1))
    for name, tensor in theta.items():
        expected = tensor * (1 - 0.01 * 0.1) - 0.01 * gradients[name] / (gradients[name].abs() + 1e-8)
        torch.testing.assert_close(after[name], expected)


def test_nothing_that_is_passed_in_changes() -> None:
    theta, gradients = tensors(0), tensors(1)
    _, moments = update(theta, gradients, None, Optimizer(0.01, 0.1))
    assert moments is not None
    held = [*theta.values(), *gradients.values(), *moments.first.values(), *moments.second.values()]
    before, versions = [tensor.clone() for tensor in held], [tensor._version for tensor in held]
    one, next_moments = update(theta, gradients, moments, Optimizer(0.01, 0.1))
    assert all(torch.equal(tensor, copy) for tensor, copy in zip(held, before, strict=True))
    assert [tensor._version for tensor in held] == versions, "written to, if only with the same values"
    assert isinstance(next_moments, Moments)
    made = [*one.values(), *next_moments.first.values(), *next_moments.second.values()]
    assert not {tensor.data_ptr() for tensor in made} & {tensor.data_ptr() for tensor in held}
    two, _ = update(theta, gradients, moments, Optimizer(0.01, 0.1))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_only_tensors_with_a_gradient_are_stepped() -> None:
    theta, gradients = tensors(0), {"b": tensors(1)["b"]}
    after, moments = update(theta, gradients, None, Optimizer(0.01, 0.0))
    assert after.keys() == {"b"}
    assert moments is not None
    assert moments.first.keys() == {"b"}
    assert update(theta, {}, moments, Optimizer(0.01, 0.0)) == ({}, moments)
    assert update(theta, {}, None, Optimizer(0.01, 0.0)) == ({}, None)
    assert FLOPS_PER_PARAMETER > 0


def test_a_proximal_term_is_that_of_the_objective() -> None:
    """The steps are those of AdamW on the loss <g, theta> + mu/2 ||theta - anchor||^2, differentiated by PyTorch."""
    anchor = tensors(9)
    theirs = {name: tensor.clone().requires_grad_() for name, tensor in tensors(0).items()}
    optimizer = torch.optim.AdamW(theirs.values(), lr=0.01, weight_decay=0.1, foreach=True)
    ours, moments = tensors(0), None
    for step in range(1, 8):
        gradients = tensors(step)
        optimizer.zero_grad()
        terms = [(gradients[n] * t).sum() + 0.7 / 2 * ((t - anchor[n]) ** 2).sum() for n, t in theirs.items()]
        torch.stack(terms).sum().backward()
        optimizer.step()
        ours, moments = update(ours, gradients, moments, Optimizer(0.01, 0.1, 0.7), anchor)
        for name, tensor in theirs.items():
            torch.testing.assert_close(ours[name], tensor.detach())
