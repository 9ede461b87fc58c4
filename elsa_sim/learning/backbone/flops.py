"""Counted FLOPs of the real operations, for every shape, from a few counted shapes.

The operations of a part run on a copy of the backbone that has shapes only, under PyTorch's own counter (matrix
products and attention; element-wise operations are not counted). So the count follows the real code: LoRA terms, frozen
weights without a weight gradient, and an input gradient only where one is needed.

The FLOPs of a transformer on a padded batch [B, T] are B times a polynomial of degree two in T (attention is quadratic,
everything else at most linear), and what is done once per batch (positions that all rows share). Three counts give that
polynomial exactly, and a fourth the rest, so no shape needs a count of its own.
"""

from __future__ import annotations

from fractions import Fraction
from functools import cache

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from ..training import reference
from .blueprint import Phase
from .model import Backbone
from .options import Part

#: Sequence lengths that are counted.
_WIDTHS = (2, 3, 4)


class FlopCounter:
    """FLOPs of parts of ``backbone``, whose tensors are on the meta device."""

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone
        self._adapters = backbone.initial()
        self._counts = cache(self._counted)
        self._row = cache(self._interpolated)
        self._once = cache(self._per_batch)

    def flops(self, part: Part, phase: Phase, rows: int, width: int) -> int:
        """FLOPs of a phase of ``part`` on a padded batch [rows, width]; ``learn`` is forward, loss and backward."""
        once = self._once(part, phase)
        return once + rows * (self._row(part, phase, width) - once)

    def _interpolated(self, part: Part, phase: Phase, width: int) -> int:
        total = Fraction(0)
        for i, count in zip(_WIDTHS, self._counts(part, phase), strict=True):  # Lagrange, in exact arithmetic
            weight = Fraction(1)
            for j in _WIDTHS:
                if j != i:
                    weight *= Fraction(width - j, i - j)
            total += weight * count
        return int(total)

    def _per_batch(self, part: Part, phase: Phase) -> int:
        """What does not depend on rows."""
        width = _WIDTHS[0]
        return 2 * self._counts(part, phase)[0] - self.count(part, phase, 2, width)

    def _counted(self, part: Part, phase: Phase) -> tuple[int, ...]:
        return tuple(self.count(part, phase, 1, width) for width in _WIDTHS)

    def head(self, rows: int) -> tuple[int, int]:
        """Outputs of the head, and its FLOPs on representations [rows, D]."""
        layers, one = self.backbone.layers, torch.ones(rows, dtype=torch.int64, device="meta")
        states = torch.zeros(rows, 1, self.backbone.hidden, device="meta")
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            logits = self.backbone.call(self._adapters, Part("head", layers, layers, last=True), states, one)
        return int(logits.shape[-1]), int(counter.get_total_flops())

    def count(self, part: Part, phase: Phase, rows: int, width: int) -> int:
        """The same as :meth:`flops`, by running the operations without their data."""
        lengths = np.full(rows, width)
        tokens = torch.zeros(rows, width, dtype=torch.int64, device="meta")
        packed = torch.zeros(rows * width, self.backbone.hidden, device="meta")
        x = tokens if part.first else packed
        with FlopCounterMode(display=False) as counter:
            if phase == "learn":
                reference.learn(self.backbone, part, self._adapters, x, lengths, tokens, tokens[:, 0])
                return int(counter.get_total_flops())
            _, saved = reference.forward(self.backbone, part, self._adapters, x, lengths)
            forward = int(counter.get_total_flops())
            if phase == "forward":
                return forward
            reference.backward(saved, packed)
            return int(counter.get_total_flops()) - forward
