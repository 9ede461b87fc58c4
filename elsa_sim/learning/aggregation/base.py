"""What an aggregation rule is: adapters of several members, each with a weight, become one.

A rule is a pure function of contributions (adapters by the names of their tensors), weights, and the *base*: the adapters
that training started from. Contributions may hold different layers, because cuts differ. Tensors that the same
contributions hold form a *block*; a rule sees one block at a time, and of the contributions those that hold it. What
weighs nothing is not looked at, whatever is in it. A tensor that nobody with weight holds stays as it is in the base.

Adding a rule is adding one file: a subclass of :class:`Aggregation` with ``kind``, its options as fields, and ``combine``
(or of :class:`Coordinatewise`, with ``tensor``), and the FLOPs.
What all rules have in common is tested in tests/learning/aggregation/test_laws.py.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from ...base.lazy import lazy
from ...base.registry import Component
from ..execution.work import Ref, TensorSpec

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy("torch")

Adapters: TypeAlias = "Mapping[str, Tensor]"


class Aggregation(Component):
    """A rule by which adapters become one."""

    family: ClassVar[str] = "aggregation"
    #: Whether the aggregate of changes is their weighted sum: a server may then merge them in any groups, one after another.
    linear: ClassVar[bool] = False
    #: Whether the rule looks at the change against the base.
    needs_base: ClassVar[bool] = False
    kind: str

    @property
    def least(self) -> int:
        """Members without which the rule cannot do what it is for."""
        return 1

    def combine(self, contributions: Sequence[Adapters], weights: Sequence[float], base: Adapters) -> Adapters:
        """The aggregate of contributions that hold the same tensors.

        Args:
            contributions: at least one, none of which may be changed.
            weights: positive, one for each.
            base: the tensors that training started from; empty unless ``needs_base``.
        """
        raise NotImplementedError

    def flops(self, members: int, elements: int) -> float:
        """Operations of :meth:`combine` on ``members`` contributions of ``elements`` numbers each; leading terms."""
        raise NotImplementedError

    def aggregate(
        self, contributions: Sequence[Adapters], weights: Sequence[float], base: Adapters | None = None
    ) -> dict[str, Tensor]:
        """The aggregate of contributions that may hold different tensors; see the module.

        Raises:
            ValueError: no contribution, a negative weight, or no base where one is needed.
        """
        if not contributions or len(contributions) != len(weights) or min(weights) < 0:
            raise ValueError("aggregation needs at least one contribution and one non-negative weight for each")
        counted = [(each, weight) for each, weight in zip(contributions, weights, strict=True) if weight > 0]
        found: dict[str, Tensor] = {}
        for holders, names in blocks([each for each, _ in counted]).items():
            own = [{name: counted[i][0][name] for name in names} for i in holders]
            start = {name: _of(base, name) for name in names} if self.needs_base else {}
            found |= self.combine(own, [counted[i][1] for i in holders], start)
        every = dict.fromkeys(name for each in contributions for name in each)
        return {name: found[name] if name in found else _of(base, name) for name in every}

    def work_flops(self, contributions: Sequence[Mapping[str, TensorSpec]]) -> float:
        """Operations of :meth:`aggregate` on contributions of these shapes, all of which have a weight."""
        total = 0.0
        for holders, names in blocks(contributions).items():
            total += self.flops(len(holders), sum(contributions[holders[0]][name].numel for name in names))
        return total


class Coordinatewise(Aggregation):
    """A rule that looks at each number by itself."""

    def tensor(self, values: Tensor, weights: Tensor) -> Tensor:
        """The aggregate [...] of ``values`` [m, ...] with ``weights`` [m] (float64, positive)."""
        raise NotImplementedError

    def combine(self, contributions: Sequence[Adapters], weights: Sequence[float], base: Adapters) -> Adapters:
        mass = torch.tensor(weights, dtype=torch.float64, device=next(iter(contributions[0].values())).device)
        return {
            name: self.tensor(torch.stack([each[name] for each in contributions]), mass) for name in contributions[0]
        }


def blocks(contributions: Sequence[Mapping[str, Any]]) -> dict[tuple[int, ...], list[str]]:
    """The contributions that hold the same tensors, by their numbers, and the names of these tensors."""
    holders = defaultdict[str, list[int]](list)
    for number, each in enumerate(contributions):
        for name in each:
            holders[name].append(number)
    found = defaultdict[tuple[int, ...], list[str]](list)
    for name, numbers in holders.items():
        found[tuple(numbers)].append(name)
    return dict(found)


def _of(base: Adapters | None, name: str) -> Tensor:
    if base is None or name not in base:
        raise ValueError(
            f"nobody with a weight has {name}, or the rule looks at its change, and there is no base of it"
        )
    return base[name]


@dataclass(frozen=True, eq=False)
class DeferredWeights:
    """Weights that are known once ``scores`` are there: ``weigh(*scores)`` gives one for each contribution."""

    scores: tuple[Ref, ...]
    weigh: Callable[..., Sequence[float]]


@dataclass(frozen=True)
class Fixed:
    """Weights that are known from the start."""

    weights: tuple[float, ...]

    def __call__(self) -> tuple[float, ...]:
        return self.weights


@dataclass(frozen=True)
class Aggregate:
    """(scores, ..., base or ``None``, contribution, ...) -> their aggregate, as a function of work; ``scores`` are so many."""

    rule: Aggregation
    weigh: Callable[..., Sequence[float]]
    scores: int = 0

    def __call__(self, *inputs: Any) -> tuple[dict[str, Tensor]]:
        known, base, contributions = inputs[: self.scores], inputs[self.scores], inputs[self.scores + 1 :]
        return (self.rule.aggregate(contributions, self.weigh(*known), base),)


@dataclass(frozen=True)
class MergeChanges:
    """(theta, base, alpha or ``None``, trained, ...) -> theta + sum_i w_i R(alpha_i (trained_i - base_i); w).

    For a server that merges changes of several versions at once; R is the rule, and the base of a change is none. With the
    mean for a rule that is FedBuff's sum of w_i (trained_i - base_i). The sum of weights is, for each tensor, that of those
    who hold it. ``alpha`` is a factor for the module of each tensor, as ``module_of`` names them.
    """

    rule: Aggregation
    weights: tuple[float, ...]
    module_of: Callable[[str], str]

    def __call__(self, theta: Adapters, *updates: Any) -> tuple[dict[str, Tensor]]:
        changes: list[dict[str, Tensor]] = []
        mass = defaultdict[str, float](float)
        for weight, base, alpha, trained in zip(self.weights, *(updates[i::3] for i in range(3)), strict=True):
            change = {name: tensor - base[name] for name, tensor in trained.items()}
            if alpha is not None:
                change = {name: tensor * alpha[self.module_of(name)] for name, tensor in change.items()}
            changes.append(change)
            for name in change:
                mass[name] += weight
        none = {name: torch.zeros_like(tensor) for name, tensor in theta.items()}
        found = self.rule.aggregate(changes, self.weights, none)
        return ({name: t.add(found[name], alpha=mass[name]) if name in found else t for name, t in theta.items()},)
