"""AdamW as a pure function: parameters, gradients and moments in, new parameters and moments out.

The arithmetic is PyTorch's own (``torch.optim.adamw.adamw``); only the ownership of the state differs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim.adamw import adamw

#: Operations of one AdamW update per parameter: two moments, bias corrections, root, quotient, decay, step.
FLOPS_PER_PARAMETER = 14
#: Further operations per parameter with a proximal term: difference, product, sum.
PROXIMAL_FLOPS = 3


@dataclass(frozen=True)
class Moments:
    """Optimizer state of some adapters: number of steps made, first and second moments."""

    step: Tensor
    first: Mapping[str, Tensor]
    second: Mapping[str, Tensor]


def update(
    adapters: Mapping[str, Tensor],
    gradients: Mapping[str, Tensor],
    moments: Moments | None,
    lr: float,
    weight_decay: float,
    proximal: float = 0.0,
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
    if proximal and anchor is not None:
        pairs = zip(names, slopes, parameters, strict=True)
        slopes = [g.add(theta - anchor[name], alpha=proximal) for name, g, theta in pairs]
    if moments is None:
        step = torch.zeros(())
        first, second = ([torch.zeros_like(p) for p in parameters] for _ in range(2))
    else:
        step = moments.step
        first, second = ([held[name].clone() for name in names] for held in (moments.first, moments.second))
    adamw(
        parameters,
        slopes,
        first,
        second,
        [],
        [step.clone() for _ in names],
        foreach=True,
        amsgrad=False,
        beta1=0.9,
        beta2=0.999,
        lr=lr,
        weight_decay=weight_decay,
        eps=1e-8,
        maximize=False,
    )
    after = Moments(step + 1, dict(zip(names, first, strict=True)), dict(zip(names, second, strict=True)))
    return dict(zip(names, parameters, strict=True)), after
