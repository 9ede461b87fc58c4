"""FLOPs counted by PyTorch's own counter, which closed forms are compared with."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from elsa_sim.learning.backbone.flops import Phase
from elsa_sim.learning.backbone.model import Backbone
from elsa_sim.learning.backbone.options import Part
from elsa_sim.learning.training import reference


def head(backbone: Backbone, rows: int) -> tuple[int, int]:
    """Outputs of the head of a backbone, and its FLOPs on representations [rows, D]."""
    layers, one = backbone.layers, torch.ones(rows, dtype=torch.int64)
    states = torch.zeros(rows, 1, backbone.hidden)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        logits = backbone.call(backbone.initial(), Part("head", layers, layers, last=True), states, one)
    return int(logits.shape[-1]), int(counter.get_total_flops())


def counted(backbone: Backbone, part: Part, phase: Phase, rows: int, width: int) -> int:
    """FLOPs of a phase of ``part`` on a padded batch [rows, width], by running the operations.

    The counter sees matrix products, not element-wise operations, and no kernel that fuses attention.
    """
    lengths, adapters = np.full(rows, width), backbone.initial()
    tokens = torch.zeros(rows, width, dtype=torch.int64)
    packed = torch.zeros(rows * width, backbone.hidden)
    x = tokens if part.first else packed
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        if phase == "learn":
            reference.learn(backbone, part, adapters, x, lengths, tokens, tokens[:, 0])
            return int(counter.get_total_flops())
        _, saved = reference.forward(backbone, part, adapters, x, lengths)
        forward = int(counter.get_total_flops())
        if phase == "forward":
            return forward
        reference.backward(saved, packed)
        return int(counter.get_total_flops()) - forward
