"""Cross-version semantic alignment (AlignFed, arXiv:2606.08197): how much of an old update to take, module by module.

An update Delta was made from version theta_v and shifts the model's representation of some calibration texts by
s = f(theta_v + Delta) - f(theta_v). Applied to the present version theta_t it should shift it alike, so coefficients alpha
in [0, 1], one per module, minimise

    |f(theta_t + alpha * Delta) - f(theta_t) - s|^2 / |s|^2 + ridge * mean (alpha - 1)^2.

The paper's abstract says what is aligned; that f is the states [n, D] after the last layer, the scaling by |s|^2 and the
solver are our reading: Gauss-Newton steps, each a bounded linear least-squares problem (Stark and Parker 1995) in as many
unknowns as there are modules, with exact forward-mode derivatives. For a linear f one step is exact.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from typing import TYPE_CHECKING, Any

import numpy as np

from ...base.errors import Divergence
from ...base.lazy import lazy
from ..backbone.options import Part
from ..tasks.data import Batch
from ..training.reference import pack_tokens
from .base import Adapters, Aggregation

if TYPE_CHECKING:
    import torch
    from scipy import optimize
    from torch import Tensor
    from torch.nn import attention

    from ..backbone.model import Backbone
else:
    torch, attention, optimize = lazy("torch"), lazy("torch.nn.attention"), lazy("scipy.optimize")


def module_of(name: str) -> str:
    """The module that a trained tensor belongs to: A and B of one LoRA pair share one, so do weight and bias of a head."""
    return name.partition(".lora_")[0].removesuffix(".weight").removesuffix(".bias")


def scaled(delta: Adapters, modules: Sequence[str], alpha: Tensor) -> dict[str, Tensor]:
    """alpha * Delta, a coefficient per module."""
    place = {module: index for index, module in enumerate(modules)}
    return {name: alpha[place[module_of(name)]] * tensor for name, tensor in delta.items()}


@dataclass(frozen=True)
class Layer:
    """A piece of f = f_n(...f_1(x)): a function of adapters and what comes in, and the modules whose adapters it reads."""

    function: Callable[[Adapters, Tensor], Tensor]
    modules: frozenset[str]


def coefficients(
    layers: Sequence[Layer],
    start: Tensor,
    base: Adapters,
    present: Adapters,
    delta: Adapters,
    *,
    ridge: float,
    steps: int,
) -> tuple[list[str], np.ndarray]:
    """The modules of ``delta``, and alpha [modules].

    Args:
        stages: f in pieces, differentiable in forward mode.
        start: x, which no coefficient changes.
        base: theta_v, where ``delta`` began.
        present: theta_t.
        steps: number of Gauss-Newton steps.
    """
    modules = list(dict.fromkeys(module_of(name) for name in delta))
    count = len(modules)
    like = next(iter(delta.values()))

    def represent(adapters: Adapters) -> Tensor:
        return reduce(lambda x, layer: layer.function(adapters, x), layers, start)

    with torch.no_grad(), attention.sdpa_kernel(attention.SDPBackend.MATH):  # the fused kernels have no forward mode
        shift = represent(_plus(base, delta)) - represent(base)
        target = represent(present) + shift
        weight = float(shift.double().square().sum())
        if not weight:
            return modules, np.ones(count)
        alpha = np.ones(count)
        for _ in range(steps):
            at = torch.tensor(alpha, dtype=like.dtype, device=like.device)
            value, by = _linearised(layers, start, present, delta, modules, at)
            apart, slopes = (
                each.double().cpu().numpy() for each in (value.double().sub(target).flatten(), by.flatten(1).T)
            )
            if not (np.isfinite(apart).all() and np.isfinite(slopes).all()):
                what = f"hidden states or their derivatives are not finite in {value.dtype}".replace("torch.", "")
                raise Divergence(f"semantic alignment: {what}; lower protocol.lr, or take another backbone.dtype")
            rows = np.vstack([slopes / np.sqrt(weight), np.eye(count) * np.sqrt(ridge / count)])
            wanted = np.concatenate(
                [(slopes @ alpha - apart) / np.sqrt(weight), np.full(count, np.sqrt(ridge / count))]
            )
            alpha = np.clip(optimize.lsq_linear(rows, wanted, (0.0, 1.0), method="bvls").x, 0.0, 1.0)
    return modules, alpha


def _linearised(
    layers: Sequence[Layer], start: Tensor, present: Adapters, delta: Adapters, modules: Sequence[str], at: Tensor
) -> tuple[Tensor, Tensor]:
    """f(present + alpha * delta) at alpha = ``at``, and its derivatives by every coefficient [modules, ...].

    A stage is differentiated only by the coefficients of itself and of those before it, all of them in one pass: what does
    not depend on the direction is computed once.
    """
    x, by, before = start, start.new_zeros(0, *start.shape), list[int]()
    units = torch.eye(len(modules), dtype=at.dtype, device=at.device)
    for layer in layers:
        own = [index for index, module in enumerate(modules) if module in layer.modules and index not in before]
        moves = {name: tensor for name, tensor in delta.items() if module_of(name) in layer.modules}

        def moved(alpha: Tensor, x: Tensor, layer: Layer = layer, moves: Adapters = moves) -> Tensor:
            return layer.function(_plus(present, scaled(moves, modules, alpha)), x)

        if not before and not own:
            x = moved(at, x)
            by = x.new_zeros(0, *x.shape)
            continue
        before = [*before, *own]
        into = torch.cat([by, x.new_zeros(len(own), *x.shape)])
        found: Any = torch.func.vmap(partial(_slope, moved, at, x))(units[before], into)
        x, by = found[0][0], found[1]
    every = by.new_zeros(len(modules), *by.shape[1:])
    every[before] = by
    return x, every


def _slope(function: Callable[[Tensor, Tensor], Tensor], at: Tensor, x: Tensor, along: Tensor, into: Tensor) -> Any:
    """The value of ``function`` at (``at``, ``x``) and its derivative in the direction (``along``, ``into``)."""
    return torch.func.jvp(function, (at, x), (along, into))


def _plus(one: Adapters, other: Adapters) -> dict[str, Tensor]:
    return {name: tensor + other[name] if name in other else tensor for name, tensor in one.items()}


@dataclass(frozen=True, eq=False)
class Align:
    """(theta_v, theta_t, trained adapters of the group, ...) -> alpha by module, as a function of work.

    Delta is what ``rule`` makes of the trained adapters minus theta_v, weighted by ``weights``.
    """

    rule: Aggregation
    backbone: Backbone
    batch: Batch
    weights: tuple[float, ...]
    ridge: float
    steps: int

    def __call__(self, base: Adapters, present: Adapters, *trained: Adapters) -> tuple[dict[str, float]]:
        backbone, delta = self.backbone, group_change(self.rule, base, trained, self.weights)
        lengths = torch.from_numpy(self.batch.lengths).to(backbone.device)

        def through(part: Part) -> Layer:
            names = backbone.names(part)

            def states(adapters: Adapters, x: Tensor) -> Tensor:
                return backbone.call({name: adapters[name] for name in names}, part, x, lengths)

            return Layer(states, frozenset(map(module_of, names)))

        parts = [Part("layer", index, index + 1) for index in range(backbone.layers)]
        ended = Layer(lambda _, x: pack_tokens(x, self.batch.lengths), frozenset())
        start = backbone.call({}, Part("embeddings", 0, 0, first=True), backbone.tensor(self.batch), lengths)
        layers = [*map(through, parts), ended]
        modules, alpha = coefficients(layers, start, base, present, delta, ridge=self.ridge, steps=self.steps)
        return ({module: float(value) for module, value in zip(modules, alpha, strict=True)},)


@dataclass(frozen=True)
class Change:
    """(theta_t, theta_v, alpha or ``None``, trained adapters, ...) -> theta_t + sum_i w_i alpha * (trained_i - theta_v).

    For a group of updates of one base version; FedBuff's and FedAsync's step is that without alpha.
    """

    weights: tuple[float, ...]

    def __call__(
        self, present: Adapters, base: Adapters, alpha: Mapping[str, float] | None, *trained: Adapters
    ) -> tuple[dict[str, Tensor]]:
        result: dict[str, Any] = dict(present)
        for name in base:
            factor = 1.0 if alpha is None else alpha[module_of(name)]
            for weight, adapters in zip(self.weights, trained, strict=True):
                if name in adapters:
                    result[name] = result[name].add(adapters[name] - base[name], alpha=weight * factor)
        return (result,)


def group_change(
    rule: Aggregation, base: Adapters, trained: Sequence[Adapters], weights: Sequence[float]
) -> dict[str, Tensor]:
    """The change of a group of updates from ``base``, by ``rule``."""
    if rule.linear:
        return mean_change(base, trained, weights)
    changes = [{name: tensor - base[name] for name, tensor in each.items()} for each in trained]
    return rule.aggregate(changes, weights, {name: torch.zeros_like(tensor) for name, tensor in base.items()})


def mean_change(base: Adapters, trained: Sequence[Adapters], weights: Sequence[float]) -> dict[str, Tensor]:
    """sum_i w_i (trained_i - base) / sum_i w_i."""
    total = sum(weights)
    changes: dict[str, Tensor] = {}
    for weight, adapters in zip(weights, trained, strict=True):
        for name, tensor in adapters.items():
            change = (tensor - base[name]) * (weight / total)
            changes[name] = changes[name] + change if name in changes else change
    return changes
