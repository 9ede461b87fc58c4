"""Top-k: of each row only the entries of largest magnitude cross, with their places.

Aji, Heafield, Sparse communication for distributed gradient descent, EMNLP 2017 (arXiv:1704.05021). A row x of
``[n, D]`` crosses as its ``k = ceil(fraction D)`` largest entries (main tensor ``[n, k]``, in the order of their places,
so that the next codec of the chain may shorten them) and their places: a bitmap of D bits per row or one integer per
entry, whichever is smaller. The estimate is x there and 0 elsewhere; its squared error is at most ``(1 - k/D) ||x||^2``
and no other k entries have less. The error of one element is at most the k-th largest magnitude of its row.

What is dropped is lost; where the same tensor is sent again and again, put `feedback` before it (see feedback.py).

Does not capture: thresholds over a whole message, run-length or entropy coding of the places.

Tested in tests/codecs/test_fewer_bytes.py and tests/codecs/test_laws.py.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from ..base.lazy import lazy
from ..learning.execution.work import TensorSpec
from .base import Codec, Encoded, EncodedSpec, MessageContext
from .bits import pack_bits, unpack_bits

if TYPE_CHECKING:
    import torch
else:
    torch = lazy("torch")


class TopK(Codec):
    """The entries of largest magnitude of each row, and where they stand."""

    kind: Literal["topk"] = "topk"
    fraction: float = Field(0.25, gt=0.0, le=1.0)
    """Share of the entries of a row that crosses; at least one entry does."""

    def count(self, width: int) -> int:
        """k for rows of ``width`` D."""
        return min(width, math.ceil(self.fraction * width))

    def _places(self, width: int) -> tuple[int, str]:
        """Places of one row: how many numbers of which type."""
        dtype, size = ("int16", 2) if width <= 2**15 else ("int32", 4)
        bitmap = -(-width // 8)
        return (bitmap, "uint8") if bitmap <= size * self.count(width) else (self.count(width), dtype)

    def encoded(self, spec: TensorSpec) -> EncodedSpec:
        lead, width = spec.shape[:-1], spec.shape[-1]
        places, dtype = self._places(width)
        return EncodedSpec(TensorSpec((*lead, self.count(width)), spec.dtype), (TensorSpec((*lead, places), dtype),))

    def flops(self, spec: TensorSpec, context: MessageContext) -> tuple[float, float]:
        # magnitude and comparisons of a heap of k; then writing k numbers
        width = spec.shape[-1]
        rows, count = spec.numel / max(1, width), self.count(width)
        return spec.numel * (1.0 + math.log2(count + 1)), rows * count

    def bound(self, x: torch.Tensor) -> torch.Tensor:
        count = self.count(x.shape[-1])
        return x.abs().double().topk(count, dim=-1).values[..., -1:]

    def encode(self, x: torch.Tensor, state: Any, context: MessageContext) -> tuple[Encoded, Any]:
        width = x.shape[-1]
        at = x.abs().topk(self.count(width), dim=-1).indices.sort(dim=-1).values
        _, dtype = self._places(width)
        if dtype == "uint8":
            taken = torch.zeros(x.shape, dtype=torch.int64, device=x.device).scatter_(-1, at, 1)
            places = pack_bits(taken, 1)
        else:
            places = at.to(getattr(torch, dtype))
        return Encoded(x.gather(-1, at), (places,)), state

    def decode(self, data: Encoded, spec: TensorSpec, state: Any, context: MessageContext) -> tuple[torch.Tensor, Any]:
        (places,) = data.side
        width = spec.shape[-1]
        if places.dtype == torch.uint8:
            taken = unpack_bits(places, 1, width).bool()
            at = taken.nonzero()[:, -1].reshape(data.main.shape)
        else:
            at = places.long()
        return data.main.new_zeros(spec.shape).scatter_(-1, at, data.main), state
