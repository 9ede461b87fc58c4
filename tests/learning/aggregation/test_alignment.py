"""Alignment against a problem with a closed form, and the merge of updates."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from learning.training.test_model import model, samples, start
from scipy.optimize import lsq_linear
from torch import Tensor

from elsa_sim.base.errors import Divergence
from elsa_sim.learning.aggregation.alignment import Change, Layer, coefficients, mean_change, module_of
from elsa_sim.learning.aggregation.rules.mean import Mean
from elsa_sim.learning.execution.executor import Executor
from elsa_sim.learning.execution.work import Ref
from elsa_sim.learning.tasks.data import Batches

MODULES = ("one", "two", "three")


def problem(seed: int) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
    """Data X_m [20, 4], and versions in which the gain of module m differs: f = sum_m gain_m X_m w_m."""
    draw = torch.Generator().manual_seed(seed)
    data = {m: torch.randn(20, 4, generator=draw) for m in MODULES}
    gains = [0.3 + 2 * torch.rand(3, generator=draw) for _ in range(2)]
    base, present = ({**{m: torch.randn(4, generator=draw) for m in MODULES}, "gain": g} for g in gains)
    delta = {m: torch.randn(4, generator=draw) for m in MODULES}
    return data, base, present, delta


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("ridge", [1e-3, 0.3])
def test_a_linear_model_has_a_closed_form(seed: int, ridge: float) -> None:
    data, base, present, delta = problem(seed)

    def term(i: int, m: str) -> Layer:
        return Layer(lambda adapters, x: x + adapters["gain"][i] * (data[m] @ adapters[m]), frozenset({m}))

    layers = [term(i, m) for i, m in enumerate(MODULES)]
    modules, found = coefficients(layers, torch.zeros(20), base, present, delta, ridge=ridge, steps=1)
    assert modules == list(MODULES)
    columns = np.stack([(data[m] @ delta[m]).numpy() for m in MODULES], 1).astype(np.float64)
    shift = columns @ base["gain"].numpy().astype(np.float64)
    jacobian = columns * present["gain"].numpy()
    scale = float((shift**2).mean())
    rows = np.vstack([jacobian / np.sqrt(len(shift) * scale), np.eye(3) * np.sqrt(ridge / 3)])
    wanted = np.concatenate([shift / np.sqrt(len(shift) * scale), np.full(3, np.sqrt(ridge / 3))])
    assert found == pytest.approx(lsq_linear(rows, wanted, (0, 1), tol=1e-12).x, abs=1e-3)


def shifted(scale: float) -> list[float]:
    """Coefficients where states are of float16, times ``scale``."""
    data, base, present, delta = problem(3)

    def term(i: int, m: str) -> Layer:
        return Layer(
            lambda adapters, x: x + (scale * adapters["gain"][i] * (data[m] @ adapters[m])).half(), frozenset({m})
        )

    layers = [term(i, m) for i, m in enumerate(MODULES)]
    start = torch.zeros(20, dtype=torch.float16)
    return list(coefficients(layers, start, base, present, delta, ridge=1e-2, steps=1)[1])


@pytest.mark.parametrize("scale", [1e-4, 1e3])
def test_half_precision_neither_overflows_nor_vanishes(scale: float) -> None:
    """Squares of states would: their sum is taken in float64."""
    assert shifted(scale) == pytest.approx(shifted(1.0), abs=0.02)


def test_states_beyond_half_precision_are_told() -> None:
    with pytest.raises(Divergence, match=r"not finite in float16; lower protocol\.lr, or take another backbone\.dtype"):
        shifted(1e6)


def test_in_stages_or_as_a_whole() -> None:
    """Three layers in a row, of which two have a coefficient and a fourth coefficient has none: as one stage with all."""
    draw = torch.Generator().manual_seed(0)
    base, present, delta = ({m: 0.4 * torch.randn(6, 6, generator=draw) for m in "abcd"} for _ in range(3))
    delta = {m: 0.3 * delta[m] for m in "acd"}
    start = torch.randn(9, 6, generator=draw)
    layers = [Layer(lambda adapters, x, m=m: torch.tanh(x @ adapters[m]), frozenset({m})) for m in "abc"]

    def through(adapters: dict[str, Tensor], x: Tensor) -> Tensor:
        for layer in layers:
            x = layer.function(adapters, x)
        return x

    one, two = (
        coefficients(layers, start, base, present, delta, ridge=1e-2, steps=3)
        for layers in (layers, [Layer(through, frozenset("abcd"))])
    )
    assert one[0] == two[0] == ["a", "c", "d"]
    assert one[1] == pytest.approx(two[1], abs=1e-4)
    assert all(0.01 < each < 0.99 for each in one[1][:2])
    assert one[1][2] == pytest.approx(1.0, abs=1e-12)


def test_nothing_is_to_be_aligned_within_a_version() -> None:
    data, base, _, delta = problem(0)
    whole = Layer(
        lambda a, x: x + sum(a["gain"][i] * torch.tanh(data[m] @ a[m]) for i, m in enumerate(MODULES)),
        frozenset(MODULES),
    )
    _, found = coefficients([whole], torch.zeros(20), base, base, delta, ridge=1e-3, steps=2)
    assert found == pytest.approx(np.ones(3), abs=1e-3)
    nothing = {name: torch.zeros_like(tensor) for name, tensor in delta.items()}
    _, found = coefficients([whole], torch.zeros(20), base, base, nothing, ridge=0.0, steps=1)
    assert found.tolist() == [1.0] * 3


def test_an_aligned_update_of_the_real_model_shifts_more_alike() -> None:
    of = model()
    theta = start(of)
    batch = next(Batches(samples(24), np.arange(24), 8, 0, np.random.default_rng(3)))
    draw = torch.Generator().manual_seed(1)

    def moved(by: float) -> Ref:
        return Ref.of({n: t + by * torch.randn(t.shape, generator=draw) for n, t in theta.value.items()}, theta.spec)

    base, present = moved(0.3), moved(0.6)
    trained = Ref.of({n: t + 0.5 * torch.randn(t.shape, generator=draw) for n, t in base.value.items()}, base.spec)
    (alpha,) = Executor().finish(of.align(Mean(), present, base, [trained], [2.0], batch, ridge=1e-4, steps=2))
    assert set(alpha.value) == {module_of(name) for name in of.specs}
    assert all(0 <= value <= 1 for value in alpha.value.values())

    def apart(alpha: Ref | None) -> float:
        def f(adapters: Ref) -> Tensor:
            part = of.whole.__class__("f", 0, of.layers, True, False)
            with torch.no_grad():
                return of.backbone.call(
                    adapters.value, part, torch.from_numpy(batch.tokens), torch.from_numpy(batch.lengths)
                )

        (after,) = Executor().finish(of.change(present, base, [trained], [1.0], alpha))
        mask = torch.from_numpy(np.arange(batch.tokens.shape[1]) < batch.lengths[:, None])
        return float(((f(after) - f(present)) - (f(trained) - f(base)))[mask].square().mean())

    assert apart(alpha) < 0.9 * apart(None)
    once, twice = (of.align(Mean(), present, base, [trained], [2.0], batch, ridge=0.0, steps=n).flops for n in (1, 2))
    assert 1.5 * once < twice < 2 * once


def test_a_merge_adds_weighted_changes_to_the_present_version() -> None:
    present = {"a.lora_A.w": torch.tensor([1.0]), "a.lora_B.w": torch.tensor([2.0]), "head.weight": torch.tensor([3.0])}
    base = {name: tensor - 1 for name, tensor in present.items()}
    one, two = ({name: tensor + by for name, tensor in base.items()} for by in (1.0, 10.0))
    (after,) = Change((0.5, 0.25))(present, base, {"a": 0.5, "head": 1.0}, one, two)
    assert {name: float(tensor) for name, tensor in after.items()} == {
        "a.lora_A.w": 1 + 0.5 * 3, "a.lora_B.w": 2 + 0.5 * 3, "head.weight": 3 + 3.0
    }  # fmt: skip
    changes = mean_change(base, [one, two], [1.0, 3.0])
    assert {float(tensor) for tensor in changes.values()} == {7.75}
    assert float(present["head.weight"]) == 3.0
