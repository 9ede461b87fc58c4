"""Symmetric quantisation to a few bits, packed, with one scale per row (per token).

Plain engineering, as in int8.py with L = 2^(bits - 1) - 1 levels on either side of zero instead of 127: row x of
``[n, D]`` crosses as ``q = round(x / s)`` in [-L, L], packed into ceil(D bits / 8) bytes, and its scale
``s = max|x| / L`` in float16, rounded up so that nothing is clipped. Error: at most half a step, ``s / 2``, per element;
with ``dither`` below a whole step. ``dither`` rounds at random, up with a probability equal to the remainder, so the
estimate is unbiased and its error independent of the other coordinates' (stochastic rounding; QSGD, Alistarh et al.,
arXiv:1610.02132); the draws are the sender's own: the client's from its secret key.

Does not capture: scales per group of coordinates, entropy coding, levels placed by the distribution.

Tested in tests/codecs/test_fewer_bytes.py and tests/codecs/test_laws.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from ..base.lazy import lazy
from ..base.streams import Streams
from ..learning.execution.work import TensorSpec
from . import bits as packing
from .base import Codec, Encoded, EncodedSpec, Keys, MessageContext
from .cast import saturate
from .int8 import row_steps

if TYPE_CHECKING:
    import torch
else:
    torch = lazy("torch")


class Quantize(Codec):
    """A few bits per element, packed, and one scale per token; optionally rounded at random."""

    kind: Literal["quantize"] = "quantize"
    bits: int = Field(4, ge=2, le=8)
    """Bits per element: 2 bits are -1, 0, 1; 4 bits are -7 to 7."""
    dither: bool = False
    """Round at random, so that the estimate is unbiased."""

    @property
    def levels(self) -> int:
        """L: the largest code."""
        return int(2 ** (self.bits - 1)) - 1

    def start(self, keys: Keys) -> int | None:
        if not self.dither:
            return None
        return keys.shared if keys.secret is None else keys.secret.client

    def encoded(self, spec: TensorSpec) -> EncodedSpec:
        lead, width = spec.shape[:-1], spec.shape[-1]
        packed = TensorSpec((*lead, packing.width(width, self.bits)), "uint8")
        return EncodedSpec(packed, (TensorSpec(lead, "float16"),))

    def flops(self, spec: TensorSpec, context: MessageContext) -> tuple[float, float]:
        # encode: magnitude, maximum, quotient, rounding (a draw and a sum more with dither), packing; decode: the same back
        return (6.0 if self.dither else 5.0) * spec.numel, 2.0 * spec.numel

    def bound(self, x: torch.Tensor) -> torch.Tensor:
        steps = row_steps(x, self.levels, "float16")[..., None].double()
        size, info, work = x.abs().double(), torch.finfo(x.dtype), torch.finfo(torch.float32)
        rounding = size * max(info.eps, work.eps) + steps * self.levels * work.eps + info.tiny * info.eps
        return torch.maximum(steps * (1.0 if self.dither else 0.5), size - self.levels * steps) + rounding

    def encode(self, x: torch.Tensor, state: int | None, context: MessageContext) -> tuple[Encoded, Any]:
        steps = row_steps(x, self.levels, "float16")
        quotient = x.float() / steps[..., None].float()
        if state is not None:
            draw = Streams(state).numpy("dither", context.kind, int(context.up), context.round, context.index)
            noise = torch.from_numpy(draw.random(tuple(x.shape), dtype="float32")).to(x.device)
            quotient = (quotient + noise).floor()
        codes = quotient.round().clamp(-self.levels, self.levels).nan_to_num(nan=0.0).long() + self.levels
        return Encoded(packing.pack_bits(codes, self.bits), (steps,)), state

    def decode(
        self, data: Encoded, spec: TensorSpec, state: int | None, context: MessageContext
    ) -> tuple[torch.Tensor, Any]:
        (steps,) = data.side
        codes = packing.unpack_bits(data.main, self.bits, spec.shape[-1]) - self.levels
        return saturate(codes.float() * steps[..., None].float(), spec.dtype), state
