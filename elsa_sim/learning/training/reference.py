"""Reference forward and backward passes of a part of the model: the arithmetic of split training, exact and pure.

States cross the wire packed: [n, D], one row per valid token, in sequence order; padding is neither sent nor kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from ...base.lazy import lazy
from ..backbone.options import Part

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from torch.nn import functional as F

    from ..backbone.model import Backbone
else:
    torch, F = lazy("torch"), lazy("torch.nn.functional")

Adapters: TypeAlias = "Mapping[str, Tensor]"


@dataclass(frozen=True)
class SavedActivations:
    """What a forward pass leaves for its backward pass."""

    source: Tensor | None
    parameters: dict[str, Tensor]
    output: Tensor


def valid_rows(lengths: np.ndarray, width: int) -> Tensor:
    """Flat positions b * width + t of the valid tokens of a [B, width] batch."""
    starts = np.repeat(np.arange(len(lengths)) * width, lengths)
    within = np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return torch.from_numpy(starts + within)


def pack_tokens(padded: Tensor, lengths: np.ndarray) -> Tensor:
    """[B, T, D] -> [n, D]."""
    rows = valid_rows(lengths, padded.shape[1]).to(padded.device)
    return padded.flatten(0, 1).index_select(0, rows)


def unpack_tokens(packed: Tensor, lengths: np.ndarray) -> Tensor:
    """[n, D] -> [B, T, D] with T the longest length, zeros at padding."""
    width = int(lengths.max())
    rows = valid_rows(lengths, width).to(packed.device)
    padded = packed.new_zeros(len(lengths) * width, packed.shape[1]).index_copy(0, rows, packed)
    return padded.view(len(lengths), width, packed.shape[1])


def forward(
    backbone: Backbone, part: Part, adapters: Adapters, x: Tensor, lengths: np.ndarray
) -> tuple[Tensor, SavedActivations]:
    """Run a part that has no head.

    Args:
        x: token ids [B, T] for the part with the embeddings, else packed states [n, D].

    Returns:
        Packed states [n, D], and the saved activations for :func:`backward`.
    """
    leaves = {name: adapters[name].detach().requires_grad_() for name in backbone.names(part)}
    source = None if part.first else x.detach().requires_grad_()
    with torch.enable_grad():
        padded = x if source is None else unpack_tokens(source, lengths)
        output = pack_tokens(backbone.call(leaves, part, padded, _tensor(lengths, x)), lengths)
    return output.detach(), SavedActivations(source, leaves, output)


def backward(saved: SavedActivations, gradient: Tensor) -> tuple[Tensor | None, dict[str, Tensor]]:
    """Gradients of the part's input (packed, ``None`` for token ids) and of its adapters, from that of its output."""
    return _gradients(saved.output, saved, gradient)


def widened(logits: Tensor) -> Tensor:
    """In single precision, if they are in half: a loss of few digits has no gradient to speak of."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def loss(backbone: Backbone, logits: Tensor, labels: Tensor | None, tokens: Tensor, lengths: np.ndarray) -> Tensor:
    """Mean cross-entropy over sequences (classification) or over next tokens (causal language modelling)."""
    if backbone.objective == "classification":
        if labels is None:
            raise ValueError("classification needs labels")
        return F.cross_entropy(widened(logits), labels)
    rows = valid_rows(lengths - 1, tokens.shape[1]).to(logits.device)  # the last token of a sequence predicts nothing
    return F.cross_entropy(widened(logits.flatten(0, 1)[rows]), tokens.flatten()[rows + 1])


def learn(
    backbone: Backbone,
    part: Part,
    adapters: Adapters,
    x: Tensor,
    lengths: np.ndarray,
    tokens: Tensor,
    labels: Tensor | None,
) -> tuple[Tensor, Tensor | None, dict[str, Tensor]]:
    """Forward, loss and backward of a part with the head; ``x`` as in :func:`forward`.

    Returns:
        The loss (scalar), the gradient of packed input states (``None`` for token ids), and those of the adapters.
    """
    leaves = {name: adapters[name].detach().requires_grad_() for name in backbone.names(part)}
    source = None if part.first else x.detach().requires_grad_()
    with torch.enable_grad():
        padded = x if source is None else unpack_tokens(source, lengths)
        logits = backbone.call(leaves, part, padded, _tensor(lengths, x))
        value = loss(backbone, logits, labels, tokens, lengths)
    gradient, gradients = _gradients(value, SavedActivations(source, leaves, value), None)
    return value.detach(), gradient, gradients


def _gradients(
    output: Tensor, saved: SavedActivations, gradient: Tensor | None
) -> tuple[Tensor | None, dict[str, Tensor]]:
    wanted = [*saved.parameters.values(), *([saved.source] if saved.source is not None else [])]
    if not wanted or not output.requires_grad:  # a part without adapters, such as embeddings alone
        return None, {}
    found = torch.autograd.grad(output, wanted, gradient)
    named = dict(zip(saved.parameters, found, strict=False))
    return (found[-1] if saved.source is not None else None), named


def _tensor(lengths: np.ndarray, like: Tensor) -> Tensor:
    return torch.from_numpy(lengths.astype(np.int64)).to(like.device)
