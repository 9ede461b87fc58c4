"""FLOPs of a part of the model in closed form, from its shape alone: no tensor library, so that a check can use them.

A product of [n, a] and [a, b] is 2 n a b operations, attention two products of T x T per head; element-wise operations are not
counted. Frozen linear modules have an input gradient only, and only where something before them is trained; LoRA's A and B have
one gradient each besides. With gradient checkpointing a backward pass begins with one more forward pass of its layers. Converting
quantised weights is not counted. They are what PyTorch's own counter finds when the operations run: a test compares them for every
family, part and phase. Tested in tests/learning/backbone/test_flops.py and tests/learning/backbone/test_flop_formulas.py.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from functools import cache
from typing import Literal

from . import tensors
from .families import FAMILIES, Linear, Role, Table
from .memory import Outline
from .options import Part, adapted

Phase = Literal["forward", "backward", "learn"]
#: Operations of one AdamW update per parameter: two moments, bias corrections, root, quotient, decay, step.
FLOPS_PER_PARAMETER = 14


class Formulas:
    """FLOPs of the parts of one model; what depends on neither rows nor client is computed once."""

    def __init__(self, outline: Outline) -> None:
        self._outline = outline
        self._rows = cache(self._of_one_and_two)

    def flops(self, part: Part, phase: Phase, rows: int, width: int) -> int:
        """FLOPs of a phase of ``part`` on a padded batch [rows, width]."""
        one, two = self._rows(part, phase, width)
        return one + (rows - 1) * (two - one)

    def head(self, rows: int) -> tuple[int, int]:
        """Outputs of the head, and its FLOPs on representations [rows, D]."""
        return self._outline.outputs, head_flops(self._outline, rows)

    def _of_one_and_two(self, part: Part, phase: Phase, width: int) -> tuple[int, int]:
        one, two = (pass_flops(self._outline, part, phase, rows, width) for rows in (1, 2))
        return one, two


def pass_flops(outline: Outline, part: Part, phase: Phase, rows: int, width: int) -> int:
    """FLOPs of a phase of ``part`` on a padded batch [rows, width]; ``learn`` is forward, loss and backward."""
    total, layers = 0, part.stop - part.start
    lowest = int(part.first and part.start == 0 < layers)  # the layer that nothing trained lies below
    if phase != "backward":
        total += rows * layers * _forward(outline, width)
    if phase != "forward":
        total += rows * layers * _forward(outline, width) * outline.numbers.recomputed
        total += rows * lowest * _backward(outline, width, below=False)
        total += rows * (layers - lowest) * _backward(outline, width, below=True)
    if part.last:
        below = part.stop > 0 if part.first else True
        passes = {"forward": (1, 0), "backward": (0, 1), "learn": (1, 1)}[phase]
        total += sum(rows * n * each for n, each in zip(passes, _head(outline, width, below), strict=True))
    again = outline.numbers.recomputed and phase != "forward"
    return total + layers * (_per_batch(outline, phase) + again * _per_batch(outline, "forward"))


def head_flops(outline: Outline, rows: int) -> int:
    """FLOPs of the head, forward, on representations [rows, D]."""
    return rows * _head(outline, 1, below=False)[0]


def update_flops(outline: Outline, parts: Sequence[Part]) -> float:
    """FLOPs of one optimizer step on ``parts``."""
    return float(FLOPS_PER_PARAMETER * outline.trained(parts))


def _head(outline: Outline, width: int, below: bool) -> tuple[int, int]:
    """Forward and backward of the head for one sequence."""
    shape = outline.shape
    if outline.causal_lm:
        product = 2 * width * shape.hidden * outline.vocabulary
        return product, product * below
    frozen, trained = (
        sum(2 * math.prod(size) for size in part.values() if len(size) == 2)
        for part in (tensors.pooler(shape), tensors.class_head(shape, outline.labels))
    )
    return frozen + trained, frozen * below + 2 * trained


def _per_batch(outline: Outline, phase: Phase) -> int:
    """What a layer does once for all rows: it projects tables of positions, which are frozen."""
    targets, total = adapted(outline.shape, outline.lora), 0
    for table in FAMILIES[outline.shape.family].tables(outline.shape):
        if phase != "backward":
            total += _applied(outline, [table.module], targets, table.rows)
        if phase != "forward":
            total += _gradients(outline, [table.module], targets, False, table.rows)
    return total


def _forward(outline: Outline, width: int) -> int:
    family, targets = FAMILIES[outline.shape.family], adapted(outline.shape, outline.lora)
    modules = [each for each in family.modules(outline.shape) if each.role != "position"]
    met = sum(_meeting(outline, width, table) for table in family.tables(outline.shape))
    return _applied(outline, modules, targets, width) + 2 * _product(outline, width) + met


def _applied(outline: Outline, modules: list[Linear], targets: Collection[str], width: int) -> int:
    """The products of modules, and of their adapters, with so many inputs."""
    total, rank = 0, outline.lora.rank
    for each in modules:
        total += 2 * width * each.inputs * each.outputs
        total += 2 * width * rank * (each.inputs + each.outputs) * (each.name in targets)
    return total


def _meeting(outline: Outline, width: int, table: Table) -> int:
    """The product of the queries or keys of a sequence with a table of positions."""
    return 2 * width * table.rows * outline.shape.heads * outline.shape.head


def _product(outline: Outline, width: int) -> int:
    """One of the two products of attention."""
    return 2 * width * width * outline.shape.heads * outline.shape.head


def _backward(outline: Outline, width: int, below: bool) -> int:
    """Backward of a layer for one sequence; ``below``: something before the layer is trained, or waits for a gradient."""
    targets = adapted(outline.shape, outline.lora)
    family = FAMILIES[outline.shape.family]
    into = _modules(outline, "query", "key", "value", "qkv")
    queries, keys, values = (below or any(m.role in (role, "qkv") and m.name in targets for m in into)
                             for role in ("query", "key", "value"))  # fmt: skip
    total, scores = _gradients(outline, into, targets, below, width), queries or keys
    for table in family.tables(outline.shape):
        moves = table.module.name in targets
        total += _meeting(outline, width, table) * ((queries if table.met_by == "query" else keys) + moves)
        scores = scores or moves
    total += _product(outline, width) * (scores + values + queries + keys)
    flows = scores or values
    parallel = family.parallel(outline.shape)
    roles: tuple[Role, ...] = ("out", "up", "down")
    for role in roles:
        block = _modules(outline, role)
        flows = below if role == "up" and parallel else flows
        total += _gradients(outline, block, targets, flows, width)
        flows = flows or any(each.name in targets for each in block)
    return total


def _modules(outline: Outline, *roles: Role) -> list[Linear]:
    return [each for each in FAMILIES[outline.shape.family].modules(outline.shape) if each.role in roles]


def _gradients(outline: Outline, block: list[Linear], targets: Collection[str], flows: bool, width: int) -> int:
    """Gradients of modules side by side, if their input needs one (``flows``), and of their adapters."""
    total, rank = 0, outline.lora.rank
    for each in block:
        total += 2 * width * each.inputs * each.outputs * flows
        if each.name in targets:
            total += 2 * width * rank * (each.inputs * flows + each.inputs + each.outputs + each.outputs)
    return total
