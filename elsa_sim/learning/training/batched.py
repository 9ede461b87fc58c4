"""Batched forward and backward passes of many clients: sorted by length, in chunks, each sequence with its own adapters.

Sequences of different clients go through the frozen backbone side by side. Every row of a chunk brings the adapters of
the client it belongs to, gathered from those of all clients, stacked [C, ...]. Sorting by length leaves little padding,
and a chunk small enough to stay in the processor's caches is quicker than one large batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np

from ...base.lazy import lazy
from ..backbone.options import Part
from .optim import Stack
from .reference import widened

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from torch.nn import functional as F

    from ..backbone.model import Backbone
else:
    torch, F = lazy("torch"), lazy("torch.nn.functional")

#: Numbers in the padded states of a chunk, about: by kind of device, what was quickest (benchmarks/training.py).
CHUNK = {"cpu": 160_000, "cuda": 6_000_000}


@dataclass(frozen=True)
class Chunk:
    """Some rows of one computation, padded to [b, width]."""

    owner: Tensor
    """[b]: which of the calls each row belongs to."""
    row: np.ndarray
    """[b]: its position among all rows of all calls."""
    lengths: Tensor
    """[b]: valid tokens."""
    width: int
    flat: Tensor
    """[n]: positions of the valid tokens among those of all calls, packed one after the other."""
    place: Tensor
    """[n]: their positions b * width + t in the padded chunk."""

    def unpack(self, packed: Tensor) -> Tensor:
        """[N, ...] of all calls -> [b, width, ...] of this chunk, zeros at padding."""
        rows = packed.index_select(0, self.flat)
        padded = packed.new_zeros(len(self.owner) * self.width, *packed.shape[1:]).index_copy_(0, self.place, rows)
        return padded.view(len(self.owner), self.width, *packed.shape[1:])

    def pack(self, padded: Tensor, packed: Tensor) -> None:
        """Write the valid tokens of [b, width, ...] to their places in ``packed`` [N, ...]."""
        packed.index_copy_(0, self.flat, padded.flatten(0, 1).index_select(0, self.place))


def chunks(lengths: Sequence[np.ndarray], hidden: int, device: torch.device) -> list[Chunk]:
    """The rows of several calls, of ``lengths`` [B_c] each, by length, for states of size ``hidden``."""
    every = np.concatenate(lengths)
    owner = np.repeat(np.arange(len(lengths)), [len(each) for each in lengths])
    starts = np.cumsum(every) - every
    order = np.argsort(every, kind="stable")
    budget = CHUNK.get(device.type, max(CHUNK.values())) / hidden
    found: list[Chunk] = []
    to = partial(_tensor, device=device)
    stop = len(order)
    while stop:  # from the longest
        width = int(every[order[stop - 1]])
        rows = order[max(0, stop - max(1, round(budget / width))) : stop]
        stop -= len(rows)
        size = every[rows]
        within = np.arange(int(size.sum())) - np.repeat(np.cumsum(size) - size, size)
        flat = np.repeat(starts[rows], size) + within
        place = np.repeat(np.arange(len(rows)) * width, size) + within
        found.append(Chunk(to(owner[rows]), rows, to(size), width, to(flat), to(place)))
    return found


def _tensor(array: np.ndarray, device: torch.device) -> Tensor:
    return torch.from_numpy(array.astype(np.int64)).to(device)


@dataclass
class SharedActivations:
    """What the forward pass of several calls leaves for their backward passes, together or one after the other."""

    lengths: list[np.ndarray]
    chunks: list[Chunk]
    kept: list[tuple[dict[str, Tensor], Tensor | None, Tensor]]
    """Per chunk: adapters gathered per row, padded input (``None`` for token ids), padded output."""
    open: set[int] = field(default_factory=set)
    """The calls whose backward pass is still to come."""

    @property
    def offsets(self) -> list[int]:
        """Where each call's tokens begin among those of all calls."""
        return [0, *accumulate(int(each.sum()) for each in self.lengths)][:-1]


@dataclass(frozen=True)
class SavedActivations:
    """The share of one call in :class:`SharedActivations`."""

    shared: SharedActivations
    index: int


def forward(
    backbone: Backbone, part: Part, stacks: Stack, x: Tensor, lengths: Sequence[np.ndarray]
) -> tuple[list[Tensor], list[SavedActivations]]:
    """Run a part that has no head for several calls.

    Args:
        stacks: adapters of the calls [C, ...].
        x: token ids [N] or states [N, D] of all calls, packed one after the other.

    Returns:
        Packed states [n_c, D] and the saved activations of each call.
    """
    shared = SharedActivations(list(lengths), chunks(lengths, backbone.hidden, x.device), [], set(range(len(lengths))))
    packed = torch.empty(len(x), backbone.hidden, dtype=backbone.dtype, device=x.device)
    for chunk in shared.chunks:
        leaves = _gathered(stacks, chunk)
        padded = chunk.unpack(x)
        source = None if part.first else padded.requires_grad_()
        with torch.enable_grad():
            output = backbone.call(leaves, part, padded, chunk.lengths)
        chunk.pack(output.detach(), packed)
        shared.kept.append((leaves, source, output))
    sizes = [int(each.sum()) for each in lengths]
    return list(torch.split(packed, sizes)), [SavedActivations(shared, index) for index in range(len(lengths))]


def backward(each_saved: Sequence[SavedActivations], gradients: Sequence[Tensor]) -> tuple[list[Tensor | None], Stack]:
    """Gradients of the packed inputs (``None`` for token ids), and of the adapters, stacked [C, ...], of several calls.

    All are of one forward pass; calls of it that are not among them can still run backwards later.
    """
    shared = each_saved[0].shared
    now = {saved.index: position for position, saved in enumerate(each_saved)}
    shared.open -= now.keys()
    like = gradients[0]
    total = int(sum(int(each.sum()) for each in shared.lengths))
    complete = len(now) == len(shared.lengths)
    given = (
        torch.cat([gradients[now[i]] for i in range(len(now))]) if complete else like.new_zeros(total, like.shape[1])
    )
    offsets = shared.offsets
    if not complete:
        for index, position in now.items():
            given[offsets[index] : offsets[index] + len(gradients[position])] = gradients[position]
    sums: dict[str, Tensor] = {}
    to_input: Tensor | None = None
    for chunk, (leaves, source, output) in zip(shared.chunks, shared.kept, strict=True):
        if not complete and not now.keys() & set(chunk.owner.tolist()):
            continue  # their gradients would be zeros: this only saves time
        wanted = [*leaves.values(), *([] if source is None else [source])]
        if not wanted or not output.requires_grad:
            continue
        found = torch.autograd.grad(output, wanted, chunk.unpack(given), retain_graph=bool(shared.open))
        _collect(sums, dict(zip(leaves, found, strict=False)), chunk, len(shared.lengths))
        if source is not None:
            to_input = torch.zeros_like(given) if to_input is None else to_input
            chunk.pack(found[-1], to_input)
    if not shared.open:
        shared.kept.clear()
    order = torch.tensor(list(now), device=like.device)
    inputs = [None if to_input is None else to_input[o : o + len(g)]
              for o, g in zip([offsets[i] for i in now], gradients, strict=True)]  # fmt: skip
    return inputs, {name: each.index_select(0, order) for name, each in sums.items()}


def learn(
    backbone: Backbone,
    part: Part,
    stacks: Stack,
    x: Tensor,
    lengths: Sequence[np.ndarray],
    tokens: Tensor,
    labels: Tensor | None,
) -> tuple[list[Tensor], list[Tensor | None], Stack]:
    """Forward, loss and backward of a part with the head for several calls; ``x`` as in :func:`forward`.

    Args:
        tokens: token ids [N] of all calls, packed.
        labels: of all rows [R], or ``None`` for language modelling.

    Returns:
        Losses (scalars), gradients of the packed inputs (``None`` for token ids), those of the adapters [C, ...].
    """
    terms = [len(each) if labels is not None else int((each - 1).sum()) for each in lengths]
    share = 1.0 / torch.tensor(terms, dtype=torch.promote_types(backbone.dtype, torch.float32), device=x.device)
    losses = torch.zeros_like(share)
    to_input = None if part.first else torch.empty_like(x)
    sums: dict[str, Tensor] = {}
    for chunk in chunks(lengths, backbone.hidden, x.device):
        leaves = _gathered(stacks, chunk)
        padded = chunk.unpack(x)
        source = None if part.first else padded.requires_grad_()
        with torch.enable_grad():
            logits = backbone.call(leaves, part, padded, chunk.lengths)
            if labels is not None:
                owner = chunk.owner
                each = F.cross_entropy(
                    widened(logits), labels[torch.from_numpy(chunk.row).to(x.device)], reduction="none"
                )
            else:
                owner, each = _next_tokens(logits, chunk, tokens)
            each = each * share[owner]
            value = each.sum()
        losses.index_add_(0, owner, each.detach())
        wanted = [*leaves.values(), *([] if source is None else [source])]
        if not wanted or not value.requires_grad:
            continue
        found = torch.autograd.grad(value, wanted)
        _collect(sums, dict(zip(leaves, found, strict=False)), chunk, len(lengths))
        if to_input is not None:
            chunk.pack(found[-1], to_input)
    sizes = [int(each.sum()) for each in lengths]
    inputs: list[Tensor | None] = [None] * len(sizes) if to_input is None else list(torch.split(to_input, sizes))
    return list(losses.unbind()), inputs, sums


def _next_tokens(logits: Tensor, chunk: Chunk, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Owner and cross-entropy of every next token; the last token of a sequence predicts nothing."""
    at = torch.arange(chunk.width, device=logits.device)
    predicts = (at < chunk.lengths[:, None] - 1).flatten().nonzero()[:, 0]
    expected = chunk.unpack(tokens).flatten()[predicts + 1]
    each = F.cross_entropy(widened(logits.flatten(0, 1)[predicts]), expected, reduction="none")
    return chunk.owner.repeat_interleave(chunk.lengths - 1), each


def _gathered(stacks: Stack, chunk: Chunk) -> dict[str, Tensor]:
    return {name: stack.index_select(0, chunk.owner).requires_grad_() for name, stack in stacks.items()}


def _collect(sums: dict[str, Tensor], found: Mapping[str, Tensor], chunk: Chunk, calls: int) -> None:
    for name, gradient in found.items():
        if name not in sums:
            sums[name] = gradient.new_zeros(calls, *gradient.shape[1:])
        sums[name].index_add_(0, chunk.owner, gradient)
