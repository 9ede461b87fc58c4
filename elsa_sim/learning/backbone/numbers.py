"""What numbers a backbone is made of: their type, quantised weights, and what is computed again instead of kept.

Frozen weights, states between layers and their gradients are of ``dtype``; adapters, a class head, their gradients and the
optimizer's moments are float32 (as in mixed-precision training, Micikevicius et al., arXiv:1710.03740, and as peft casts adapters).
``quantize`` stores the weights of the linear layers with fewer bits and multiplies in ``dtype``: ``int8`` with one float32 scale a
row, ``nf4`` with four bits and one float32 scale per 64 weights (QLoRA, Dettmers et al., arXiv:2305.14314, without its second
quantisation). No tensor library here.

Does not model: scaling of losses for float16, what converting weights costs, kernels that multiply quantised weights as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..execution.work import ITEM_SIZE

DType = Literal["float32", "bfloat16", "float16"]
Quantized = Literal["int8", "nf4"]
#: Bytes of an adapter's number, and of a scale.
FLOAT = 4
#: Weights that share a scale of ``nf4``.
BLOCK = 64


@dataclass(frozen=True)
class Numbers:
    """How frozen weights are stored, and what autograd keeps of a forward pass."""

    dtype: DType = "float32"
    quantize: Quantized | None = None
    recomputed: bool = False
    """Whether only the input of each layer is kept, and the rest computed again on the way back."""

    @property
    def size(self) -> int:
        """Bytes of a number in states and in weights that are not quantised."""
        return ITEM_SIZE[self.dtype]

    @property
    def halved(self) -> bool:
        """Whether weights are anything but float32."""
        return self != Numbers(recomputed=self.recomputed)

    @property
    def spoken(self) -> str:
        """What is not as usual, in words."""
        said = [] if self.dtype == "float32" else [f"in {self.dtype}"]
        said += [] if self.quantize is None else [f"linear layers stored as {self.quantize}"]
        return ", ".join([*said, *(["gradient checkpointing"] if self.recomputed else [])])

    def linear(self, inputs: int, outputs: int) -> int:
        """Bytes of the weights [outputs, inputs] of a frozen linear layer."""
        count = inputs * outputs
        if self.quantize == "int8":
            return count + FLOAT * outputs
        if self.quantize == "nf4":
            return -(-count // 2) + FLOAT * -(-count // BLOCK)
        return self.size * count


#: Everything in single precision.
SINGLE = Numbers()
