"""A backbone on paper: what is trained, under which names and in which shapes, and what every pass costs. No weights, no tensors.

In timing mode nothing is computed, so nothing is built: a model of 70 billion parameters costs what a small one does. Names,
shapes and FLOPs are those of the built model; tests compare them for every family.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Literal

from ..execution.work import TensorSpec
from . import flops_closed_form, tensors
from .adapters import expected, own_name
from .memory import Outline
from .options import Part, adapted

Phase = Literal["forward", "backward", "learn"]


class Blueprint:
    """The transformer, adapters and head that ``outline`` describes; stands where a built backbone would."""

    #: As a backbone on the meta device, it has no values.
    outline = True

    def __init__(self, outline: Outline) -> None:
        self.sizes = outline
        self.layers, self.hidden = outline.shape.layers, outline.shape.hidden
        self.dtype = outline.numbers.dtype
        self.objective = "causal_lm" if outline.causal_lm else "classification"
        lora = expected(outline.shape, adapted(outline.shape, outline.lora), outline.lora.rank)
        head = {} if outline.causal_lm else tensors.class_head(outline.shape, outline.labels)
        trained = {own_name(name): size for name, size in lora.items()} | head
        #: Names and shapes of everything that is trained, in model order.
        self.specs = {name: TensorSpec(size) for name, size in trained.items()}
        self._layers = tensors.layer_prefix(outline.shape.family)
        self.names = cache(self._names)

    def _names(self, part: Part) -> tuple[str, ...]:
        """Names of the trained tensors that live in ``part``."""
        return tuple(name for name in self.specs if self._holds(part, name))

    def _holds(self, part: Part, name: str) -> bool:
        if name.startswith(self._layers):
            return part.start <= int(name[len(self._layers) :].split(".", 1)[0]) < part.stop
        return part.last

    def initial(self) -> dict[str, Any]:
        """The values everyone starts from.

        Raises:
            TypeError: always; there are none.
        """
        raise TypeError("a blueprint has no values")


class Formulas:
    """FLOPs of parts of a ``blueprint`` in closed form: those that :class:`.FlopCounter` counts."""

    def __init__(self, blueprint: Blueprint) -> None:
        self._sizes = blueprint.sizes
        self._rows = cache(self._of_one_and_two)

    def flops(self, part: Part, phase: Phase, rows: int, width: int) -> int:
        """FLOPs of a phase of ``part`` on a padded batch [rows, width]; ``learn`` is forward, loss and backward."""
        one, two = self._rows(part, phase, width)
        return one + (rows - 1) * (two - one)

    def head(self, rows: int) -> tuple[int, int]:
        """Outputs of the head, and its FLOPs on representations [rows, D]."""
        return self._sizes.outputs, flops_closed_form.head(self._sizes, rows)

    def _of_one_and_two(self, part: Part, phase: Phase, width: int) -> tuple[int, int]:
        passes: Literal["forward", "backward", "both"] = "both" if phase == "learn" else phase
        one, two = (flops_closed_form.flops(self._sizes, part, passes, rows, width) for rows in (1, 2))
        return one, two
