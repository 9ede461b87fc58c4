"""What a client computes and holds at every cut, against the whole model: what ``elsa-sim check --cuts`` prints.

FLOPs are those of one local step on a full padded batch (forward, backward, AdamW), memory is that of training what the
client has: exact but for activations, which are an estimate (:mod:`..learning.backbone.memory`). Neither counts codecs, nor
the memory of the framework.

Tested in tests/run/test_cut_costs.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..base.errors import InputError
from ..learning.backbone.flops import pass_flops, update_flops
from ..learning.backbone.memory import Outline
from ..learning.backbone.options import Part, whole
from ..learning.splits.pattern import StepPattern
from .checks import Plan


@dataclass(frozen=True)
class CutCost:
    """One local step of a client that holds the first ``p`` and the last ``q`` layers."""

    p: int
    q: int
    flops: float
    """Of forward, backward and update."""
    memory: int
    """Weights, adapters with gradients and moments, activations (B)."""


def whole_model(outline: Outline, batch: int, length: int) -> CutCost:
    """The same for a client that trains the unsplit model on batches of ``batch`` sequences of ``length`` tokens."""
    return _cost(outline, [whole(outline.shape.layers)], outline.shape.layers, 0, batch, length)


def every_cut(outline: Outline, pattern: StepPattern, batch: int, length: int) -> list[CutCost]:
    """All cuts of a step ``pattern`` with p >= 1, and q >= 1 where the client has a Part 3; by q, then p."""
    layers, found = outline.shape.layers, []
    for q in range(1, layers - 1) if pattern.tail else (0,):
        for p in range(1, layers - q):
            held = pattern.held(pattern.divide(layers, p, q), "client")
            found.append(_cost(outline, held, p, q, batch, length))
    return found


def of_plan(plan: Plan) -> tuple[CutCost, list[CutCost]]:
    """The whole model and every cut of a scenario.

    Raises:
        InputError: its protocol does not cut the model.
    """
    protocol, task = plan.scenario.protocol, plan.scenario.task
    if not protocol.pattern.split:
        raise InputError(f"--cuts: protocol {protocol.kind!r} does not cut the model")
    batch, length = task.batch_size, task.max_length
    return whole_model(plan.outline, batch, length), every_cut(plan.outline, protocol.pattern, batch, length)


def step_flops(outline: Outline, parts: Sequence[Part], batch: int, length: int) -> float:
    """FLOPs of a local step of ``parts`` on a full padded batch: forward, backward, update."""
    passes = sum(pass_flops(outline, part, "learn", batch, length) for part in parts)
    return passes + update_flops(outline, parts)


def _cost(outline: Outline, parts: Sequence[Part], p: int, q: int, batch: int, length: int) -> CutCost:
    memory = outline.training(parts, batch, length).total()
    return CutCost(p, q, step_flops(outline, parts, batch, length), memory)
