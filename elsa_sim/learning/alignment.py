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
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import torch
from scipy.optimize import lsq_linear
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from .backbone import Backbone
from .backbone_options import Part
from .data import Batch
from .segments import pack

Adapters: TypeAlias = Mapping[str, Tensor]


def module_of(name: str) -> str:
    """The module that a trained tensor belongs to: A and B of one LoRA pair share one, so do weight and bias of a head."""
    return name.partition(".lora_")[0].removesuffix(".weight").removesuffix(".bias")


def scaled(delta: Adapters, modules: Sequence[str], alpha: Tensor) -> dict[str, Tensor]:
    """alpha * Delta, a coefficient per module."""
    place = {module: index for index, module in enumerate(modules)}
    return {name: alpha[place[module_of(name)]] * tensor for name, tensor in delta.items()}


def coefficients(
    represent: Callable[[Adapters], Tensor],
    base: Adapters,
    present: Adapters,
    delta: Adapters,
    *,
    ridge: float,
    steps: int,
) -> tuple[list[str], np.ndarray]:
    """The modules of ``delta``, and alpha [modules].

    Args:
        represent: f, differentiable in forward mode.
        base: theta_v, where ``delta`` began.
        present: theta_t.
        steps: number of Gauss-Newton steps.
    """
    modules = list(dict.fromkeys(module_of(name) for name in delta))
    count = len(modules)
    like = next(iter(delta.values()))
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):  # the fused kernels have no forward mode
        shift = represent(_plus(base, delta)) - represent(base)
        target = represent(present) + shift
        weight = float(shift.square().sum())
        if not weight:
            return modules, np.ones(count)

        def shifted(alpha: Tensor) -> Tensor:
            return (represent(_plus(present, scaled(delta, modules, alpha))) - target).flatten()

        alpha = np.ones(count)
        for _ in range(steps):
            at = torch.tensor(alpha, dtype=like.dtype, device=like.device)
            units = torch.eye(count, dtype=like.dtype, device=like.device)
            # one pass for all columns: what does not depend on the column is computed once
            found: Any = torch.func.vmap(partial(_slope, shifted, at), out_dims=(0, 1))(units)
            apart, slopes = (each.double().cpu().numpy() for each in (found[0][0], found[1]))
            rows = np.vstack([slopes / np.sqrt(weight), np.eye(count) * np.sqrt(ridge / count)])
            wanted = np.concatenate(
                [(slopes @ alpha - apart) / np.sqrt(weight), np.full(count, np.sqrt(ridge / count))]
            )
            alpha = np.clip(lsq_linear(rows, wanted, (0.0, 1.0), method="bvls").x, 0.0, 1.0)
    return modules, alpha


def _slope(function: Callable[[Tensor], Tensor], at: Tensor, along: Tensor) -> Any:
    """The value of ``function`` and its derivative ``along`` a direction."""
    return torch.func.jvp(function, (at,), (along,))


def _plus(one: Adapters, other: Adapters) -> dict[str, Tensor]:
    return {name: tensor + other[name] if name in other else tensor for name, tensor in one.items()}


@dataclass(frozen=True, eq=False)
class Align:
    """(theta_v, theta_t, trained adapters of the group, ...) -> alpha by module, as a function of work.

    Delta is the mean of the trained adapters minus theta_v, weighted by ``weights``.
    """

    backbone: Backbone
    part: Part
    batch: Batch
    weights: tuple[float, ...]
    ridge: float
    steps: int

    def __call__(self, base: Adapters, present: Adapters, *trained: Adapters) -> tuple[dict[str, float]]:
        delta = mean_change(base, trained, self.weights)
        lengths = torch.from_numpy(self.batch.lengths).to(self.backbone.device)
        tokens = self.backbone.tensor(self.batch)

        def represent(adapters: Adapters) -> Tensor:
            return pack(self.backbone.call(adapters, self.part, tokens, lengths), self.batch.lengths)

        modules, alpha = coefficients(represent, base, present, delta, ridge=self.ridge, steps=self.steps)
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


def mean_change(base: Adapters, trained: Sequence[Adapters], weights: Sequence[float]) -> dict[str, Tensor]:
    """sum_i w_i (trained_i - base) / sum_i w_i."""
    total = sum(weights)
    changes: dict[str, Tensor] = {}
    for weight, adapters in zip(weights, trained, strict=True):
        for name, tensor in adapters.items():
            change = (tensor - base[name]) * (weight / total)
            changes[name] = changes[name] + change if name in changes else change
    return changes
