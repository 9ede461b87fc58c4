"""A backbone on paper: what is trained, under which names and in which shapes, and what every pass costs. No weights, no tensors.

In timing mode nothing is computed, so nothing is built: a model of 70 billion parameters costs what a small one does. Names,
shapes and FLOPs are those of the built model; tests compare them for every family.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from ..execution.work import TensorSpec
from . import tensors
from .adapters import expected, own_name
from .memory import Outline
from .options import Part, adapted


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
