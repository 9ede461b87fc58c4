"""Symmetric 8-bit quantisation with one scale per row (per token).

Plain engineering, no paper. Row x of ``[n, D]`` crosses as ``q = round(x / s)`` in [-127, 127] (int8) and its scale
``s = max|x| / 127``; the estimate is ``s q``. Error: at most half a step, ``s / 2``, per element. Scales in float16 are
rounded up, so that nothing is clipped, and are at least 2^-24; a row with ``max|x|`` over 127 * 65504 is clipped there.
A row of zeros comes back as zeros. A row with a NaN or an infinity comes back as NaN: it has no scale.

Does not capture: integer arithmetic at the receiver, outlier channels, finer groups, entropy coding of ``q``.

Tested in tests/codecs/test_laws.py and tests/codecs/test_fewer_bytes.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from ..base.lazy import lazy
from ..learning.execution.work import TensorSpec
from .base import Codec, Encoded, EncodedSpec, MessageContext
from .cast import saturate

if TYPE_CHECKING:
    import torch
else:
    torch = lazy("torch")

LEVELS = 127


def row_steps(x: torch.Tensor, levels: int, scale: str) -> torch.Tensor:
    """max|x| / ``levels`` of every row in the format ``scale``, shape ``[n]``; positive also for rows of zeros.

    Rounded up, so that nothing is clipped; NaN for a row that is not finite.
    """
    steps = x.abs().amax(dim=-1).float() / levels
    if scale == "float32":
        return steps.clamp(min=torch.finfo(torch.float32).smallest_normal)
    short = steps.to(torch.float16)
    # The bit patterns of positive float16 numbers are ordered like the numbers: one more is the next one up.
    short = torch.where(short.float() < steps, (short.view(torch.int16) + 1).view(torch.float16), short)
    short = short.clamp(2.0**-24, 65504.0)
    return torch.where(steps.isfinite(), short, torch.full_like(short, torch.nan))


class Int8(Codec):
    """Eight bits per element and one scale per token; error at most half a step."""

    kind: Literal["int8"] = "int8"
    scale: Literal["float32", "float16"] = "float32"
    """Format of the scale that crosses beside each row."""

    def encoded(self, spec: TensorSpec) -> EncodedSpec:
        return EncodedSpec(TensorSpec(spec.shape, "int8"), (TensorSpec(spec.shape[:-1], self.scale),))

    def flops(self, spec: TensorSpec, context: MessageContext) -> tuple[float, float]:
        # encode: magnitude, maximum, quotient, rounding; decode: product
        return 4.0 * spec.numel, float(spec.numel)

    def bound(self, x: torch.Tensor) -> torch.Tensor:
        steps = row_steps(x, LEVELS, self.scale)[..., None].double()
        size = x.abs().double()
        info, work = torch.finfo(x.dtype), torch.finfo(torch.float32)
        rounding = size * max(info.eps, work.eps) + steps * LEVELS * work.eps + info.tiny * info.eps
        return torch.maximum(steps / 2, size - LEVELS * steps) + rounding

    def encode(self, x: torch.Tensor, state: Any, context: MessageContext) -> tuple[Encoded, Any]:
        steps = row_steps(x, LEVELS, self.scale)
        quotient = (x.float() / steps[..., None].float()).round().clamp(-LEVELS, LEVELS)
        return Encoded(quotient.nan_to_num(nan=0.0).to(torch.int8), (steps,)), state

    def decode(self, data: Encoded, spec: TensorSpec, state: Any, context: MessageContext) -> tuple[torch.Tensor, Any]:
        (steps,) = data.side
        return saturate(data.main.float() * steps[..., None].float(), spec.dtype), state
