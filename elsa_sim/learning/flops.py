"""Counted FLOPs of the real operations, once per shape.

The operations of a part run on a copy of the backbone that has shapes only, under PyTorch's own counter (matrix
products and attention; element-wise operations are not counted). So the count follows the real code: LoRA terms, frozen
weights without a weight gradient, and an input gradient only where one is needed.
"""

from __future__ import annotations

from functools import cache
from typing import Literal

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from . import segments
from .backbone import Backbone
from .backbone_options import Part


class FlopCounter:
    """Counts the FLOPs of parts of ``backbone``, whose tensors are on the meta device."""

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone
        self._adapters = backbone.initial()
        self.count = cache(self._count)

    def _count(self, part: Part, phase: Literal["forward", "backward", "learn"], rows: int, width: int) -> int:
        """FLOPs of a phase of ``part`` on a padded batch [rows, width]; ``learn`` is forward, loss and backward."""
        lengths = np.full(rows, width)
        tokens = torch.zeros(rows, width, dtype=torch.int64, device="meta")
        packed = torch.zeros(rows * width, self.backbone.hidden, device="meta")
        x = tokens if part.first else packed
        with FlopCounterMode(display=False) as counter:
            if phase == "learn":
                labels = tokens[:, 0]
                segments.learn(self.backbone, part, self._adapters, x, lengths, tokens, labels)
                return int(counter.get_total_flops())
            _, tape = segments.forward(self.backbone, part, self._adapters, x, lengths)
            forward = int(counter.get_total_flops())
            if phase == "forward":
                return forward
            segments.backward(tape, packed)
            return int(counter.get_total_flops()) - forward
