"""Casts: send floating-point numbers in a shorter format.

Plain engineering, no paper. Rounding is to nearest, ties to even; values beyond the largest finite number of the short
format are clamped to it; NaN and infinities pass. Error of one element x with unit roundoff u (2^-11 for float16, 2^-8
for bfloat16): at most u |x| or half the smallest subnormal, plus what clamping cuts off.

Does not capture: stochastic rounding, loss scaling, entropy coding of the result.

Tested in tests/codecs/test_laws.py and tests/codecs/test_chains.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ..base.lazy import lazy
from ..learning.execution.work import TensorSpec
from .base import Codec, Encoded, EncodedSpec, MessageContext

if TYPE_CHECKING:
    import torch
else:
    torch = lazy("torch")


def saturate(x: torch.Tensor, dtype: str) -> torch.Tensor:
    """``x`` in another float format; finite numbers beyond its range become its largest, others pass."""
    short = getattr(torch, dtype)
    largest = torch.finfo(short).max
    if torch.finfo(x.dtype).max <= largest:
        return x.to(short)
    wide = x.to(torch.promote_types(x.dtype, torch.float32))  # bfloat16 cannot hold float16's largest
    return torch.where(wide.isinf(), wide, wide.clamp(-largest, largest)).to(short)


class _Cast(Codec):
    """Common part of the casts; the name of the format is the codec's ``kind``."""

    digits: ClassVar[int]

    def encoded(self, spec: TensorSpec) -> EncodedSpec:
        return EncodedSpec(TensorSpec(spec.shape, self.kind))

    def flops(self, spec: TensorSpec, context: MessageContext) -> tuple[float, float]:
        return float(spec.numel), float(spec.numel)

    def bound(self, x: torch.Tensor) -> torch.Tensor:
        info = torch.finfo(getattr(torch, self.kind))
        size = x.abs().double()
        rounding = torch.clamp(size * 2.0**-self.digits, min=info.smallest_normal * 2.0**-self.digits)
        return torch.maximum(rounding, size - info.max)

    def encode(self, x: torch.Tensor, state: Any, context: MessageContext) -> tuple[Encoded, Any]:
        return Encoded(saturate(x, self.kind)), state

    def decode(self, data: Encoded, spec: TensorSpec, state: Any, context: MessageContext) -> tuple[torch.Tensor, Any]:
        return saturate(data.main, spec.dtype), state


class Float16(_Cast):
    """Half precision: 2 bytes per element, 11 bits of precision, clamped to +-65504."""

    digits: ClassVar[int] = 11
    kind: Literal["float16"] = "float16"


class BFloat16(_Cast):
    """Brain floating point: 2 bytes per element, 8 bits of precision, the range of float32."""

    digits: ClassVar[int] = 8
    kind: Literal["bfloat16"] = "bfloat16"
