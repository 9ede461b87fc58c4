"""Layers that do not read a subspace of the residual stream.

What a layer's attention and feed-forward block take from the residual stream is projected off orthonormal directions V
``[D, r]``, x (I - V V^T); the stream itself goes on with all of x. So what lies along V passes the layers without any of them
looking at it, up to their normalisation and what they add to it themselves. Where V is what `ssop` turns, Part 2 works nearly
as if nothing was turned. Our own (for ELSA, arXiv:2601.13824). In a model that is normalised before it is read (GPT-2, Llama), the
projection comes before the normalisation.

Costs no FLOPs that are counted: V goes into the frozen weights once, W (I - V V^T), and into the r rows of an adapter.
Tested in tests/learning/backbone/test_unread.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from .model import Backbone


@dataclass(frozen=True, eq=False)
class Off:
    """A hook that takes the input of a module off the directions V ``[D, r]``."""

    directions: Tensor

    def __call__(self, module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        x, *others = args
        v = self.directions.to(x.device, x.dtype)
        return (x - (x @ v) @ v.t(), *others)


def leave_unread(backbone: Backbone, directions: Tensor, layers: range) -> None:
    """Have ``layers`` of a backbone read nothing along orthonormal ``directions`` [D, r], for everyone who computes with it."""
    hook = Off(directions.detach().clone())
    for index in layers:
        for name in backbone.family.readers:
            backbone.family.layers[index].get_submodule(name).register_forward_pre_hook(hook)
