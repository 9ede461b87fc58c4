"""Adaptive server optimizers against the papers' recursions, written out in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from elsa_sim.learning.aggregation.server_optim import Adaptive

LR, BETA1, BETA2, TAU = 0.1, 0.9, 0.99, 1e-3


def drawn(seed: int, scale: float = 1.0) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return {name: scale * torch.randn(shape, generator=draw) for name, shape in (("a", (3, 4)), ("b", (5,)))}


@pytest.mark.parametrize("maximum", [False, True])
def test_steps_are_those_of_the_papers(maximum: bool) -> None:
    optimizer = Adaptive(LR, BETA1, BETA2, TAU, maximum)
    theta, state = drawn(0), None
    x = {name: tensor.double().numpy() for name, tensor in theta.items()}
    m = {name: np.zeros_like(value) for name, value in x.items()}
    v = {name: np.full_like(value, TAU**2) for name, value in x.items()}
    top = {name: np.full_like(value, TAU**2) for name, value in x.items()}
    for step in range(1, 9):
        delta = drawn(step, scale=0.5**step)  # updates fade: here the two differ
        theta, state = optimizer.step(theta, {name: theta[name] + delta[name] for name in theta}, state)
        for name, each in delta.items():
            d = each.double().numpy()
            m[name] = BETA1 * m[name] + (1 - BETA1) * d
            v[name] = BETA2 * v[name] + (1 - BETA2) * d**2
            top[name] = np.maximum(top[name], v[name])
            x[name] = x[name] + LR * m[name] / (np.sqrt(top[name]) if maximum else np.sqrt(v[name]) + TAU)
            np.testing.assert_allclose(theta[name], x[name], rtol=2e-4, atol=2e-5)


def test_the_largest_second_moment_never_falls() -> None:
    theta, state, before = drawn(0), None, None
    for step in range(1, 30):
        delta = drawn(step, scale=1.0 if step < 3 else 0.0)
        theta, state = Adaptive(LR, BETA1, 0.5, TAU, True).step(theta, {n: theta[n] + delta[n] for n in theta}, state)
        for name, tensor in state.largest.items():
            assert before is None or bool((tensor >= before[name]).all())
            assert bool((tensor >= state.second[name]).all())
        before = state.largest


def test_nothing_moves_without_an_update() -> None:
    theta = drawn(0)
    for maximum in (False, True):
        after, _ = Adaptive(LR, BETA1, BETA2, TAU, maximum).step(theta, theta, None)
        assert all(torch.equal(after[name], theta[name]) for name in theta)


def test_what_nobody_sent_stays_and_nothing_passed_in_changes() -> None:
    theta, mean = drawn(0), {"a": drawn(1)["a"]}
    optimizer = Adaptive(LR, BETA1, BETA2, TAU)
    _, state = optimizer.step(theta, drawn(1), None)
    held = [*theta.values(), *mean.values(), *state.first.values(), *state.second.values()]
    copies = [tensor.clone() for tensor in held]
    after, following = optimizer.step(theta, mean, state)
    assert all(torch.equal(one, other) for one, other in zip(held, copies, strict=True))
    assert torch.equal(after["b"], theta["b"])
    assert torch.equal(following.first["b"], state.first["b"])
    assert not torch.equal(after["a"], theta["a"])
