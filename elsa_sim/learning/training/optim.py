"""AdamW as a pure function: parameters, gradients and moments in, new parameters and moments out.

The arithmetic is PyTorch's own (``torch.optim.adamw.adamw``); only the ownership of the state differs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from ...base.lazy import lazy

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from torch.optim import adamw as adamw_of
else:
    torch, adamw_of = lazy("torch"), lazy("torch.optim.adamw")

#: Operations of one AdamW update per parameter: two moments, bias corrections, root, quotient, decay, step.
FLOPS_PER_PARAMETER = 14
#: Further operations per parameter with a proximal term: difference, product, sum.
PROXIMAL_FLOPS = 3
#: Tensors of several clients by name, stacked: [C, ...].
Stack: TypeAlias = "Mapping[str, Tensor]"


@dataclass(frozen=True)
class Optimizer:
    """Learning rate and decoupled weight decay of AdamW (Loshchilov and Hutter, arXiv:1711.05101).

    ``proximal`` is mu of FedProx (Li et al., arXiv:1812.06127): mu (theta - anchor) is added to the gradient.
    """

    lr: float
    weight_decay: float = 0.0
    proximal: float = 0.0


@dataclass(frozen=True)
class Moments:
    """Optimizer state of some adapters: number of steps made, first and second moments."""

    step: int
    first: Mapping[str, Tensor]
    second: Mapping[str, Tensor]


def update(
    adapters: Mapping[str, Tensor],
    gradients: Mapping[str, Tensor],
    moments: Moments | None,
    optimizer: Optimizer,
    anchor: Mapping[str, Tensor] | None = None,
) -> tuple[dict[str, Tensor], Moments | None]:
    """One AdamW step on the tensors that have a gradient; nothing that is passed in is changed.

    With ``proximal`` mu and an ``anchor``, the gradient is that of the loss plus mu/2 ||theta - anchor||^2 (FedProx).

    Returns:
        The updated adapters (only those with a gradient) and the next moments.
    """
    names = list(gradients)
    if not names:
        return {}, moments
    parameters = [adapters[name].detach().clone() for name in names]
    slopes = [gradients[name] for name in names]
    if optimizer.proximal and anchor is not None:
        pairs = zip(names, slopes, parameters, strict=True)
        slopes = [g.add(theta - anchor[name], alpha=optimizer.proximal) for name, g, theta in pairs]
    if moments is None:
        first, second = ([torch.zeros_like(p) for p in parameters] for _ in range(2))
    else:
        first, second = ([held[name].clone() for name in names] for held in (moments.first, moments.second))
    step = 0 if moments is None else moments.step
    adamw_of.adamw(
        parameters,
        slopes,
        first,
        second,
        [],
        [torch.tensor(float(step)) for _ in names],
        foreach=True,
        amsgrad=False,
        beta1=0.9,
        beta2=0.999,
        lr=optimizer.lr,
        weight_decay=optimizer.weight_decay,
        eps=1e-8,
        maximize=False,
    )
    after = Moments(step + 1, dict(zip(names, first, strict=True)), dict(zip(names, second, strict=True)))
    return dict(zip(names, parameters, strict=True)), after


def update_together(
    adapters: Stack,
    gradients: Stack,
    moments: Sequence[Moments | None],
    optimizers: Sequence[Optimizer],
    anchors: Sequence[Mapping[str, Tensor] | None],
) -> list[tuple[dict[str, Tensor], Moments | None]]:
    """:func:`update` of several clients, whose ``adapters`` and ``gradients`` are stacked."""
    alike: dict[tuple[int, Optimizer, bool], list[int]] = {}
    for index, (held, optimizer, anchor) in enumerate(zip(moments, optimizers, anchors, strict=True)):
        alike.setdefault((0 if held is None else held.step, optimizer, anchor is None), []).append(index)
    result: list[tuple[dict[str, Tensor], Moments | None]] = [({}, held) for held in moments]
    for (_, optimizer, free), indices in alike.items() if gradients else ():
        mine, slopes = adapters, gradients
        if len(indices) < len(moments):
            at = torch.tensor(indices, device=next(iter(gradients.values())).device)
            mine, slopes = ({n: t.index_select(0, at) for n, t in all.items()} for all in (adapters, gradients))
        before = [held for i in indices if (held := moments[i]) is not None]
        stacked = None
        if before:
            stacked = Moments(before[0].step, stack([m.first for m in before]), stack([m.second for m in before]))
        begun = None if free else stack([each for i in indices if (each := anchors[i]) is not None], slopes)
        parameters, after = update(mine, slopes, stacked, optimizer, begun)
        assert after is not None
        apart = zip(unstack(parameters), unstack(after.first), unstack(after.second), strict=True)
        for index, (values, first, second) in zip(indices, apart, strict=True):
            result[index] = values, Moments(after.step, first, second)
    return result


def stack(values: Sequence[Mapping[str, Tensor]], names: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
    """Tensors of several clients, name by name, as one each [C, ...]."""
    return {name: torch.stack([each[name] for each in values]) for name in names or values[0]}


def unstack(stacks: Stack) -> list[dict[str, Tensor]]:
    """The opposite of :func:`stack`; every piece has storage of its own, so that none keeps the others alive."""
    apart: Callable[[Tensor], list[Tensor]] = torch.unbind_copy  # type: ignore[assignment]  # its stub says None
    pieces = [apart(tensor) for tensor in stacks.values()]
    return [dict(zip(stacks, each, strict=True)) for each in zip(*pieces, strict=True)]
