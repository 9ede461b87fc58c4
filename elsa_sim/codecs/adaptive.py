"""Transform coding in a public subspace: as many bits per direction as it deserves, within a budget or an error bound.

Huang and Schultheiss, Block quantization of correlated Gaussian random variables, IEEE Trans. Comm. Systems 1963; uniform
quantisers of a Gaussian after Max, Quantizing for minimum distortion, IRE Trans. Inform. Theory 1960. The public basis of
subspace.py gives directions and, at each cut, the variance s_j^2 of hidden states along each. Which of the two is asked
for decides what adapts:

- ``bytes_per_token``, a budget: direction j gets b_j bits, one after the other to where the quantisation error
  ``s_j^2 d(b_j)`` is largest, until the budget is used up, so weak directions get none. A row crosses as its packed codes
  and a gain (its root mean square in units of s_j, float16). The sizes are those of the budget whatever the data. With
  ``last_bytes_per_token`` the budget goes linearly from one to the other over ``over_rounds`` rounds. A gradient has no
  public variances: its first coordinates get 4 bits each, as many as fit, relative to the largest.
- ``error``, a bound: at each cut, and after each refresh, as few directions as leave at most this share of the variance
  of public text outside. Their coordinates cross as they are, for a quantiser to follow. The bound holds on public text;
  sizes depend on it, so a run without arithmetic cannot know them.

Our reading throughout; neither is in a paper on split learning.

Does not capture: an allocation across the two cuts, entropy coding, budgets in bytes per round (texts vary in length).

Tested in tests/codecs/test_fewer_bytes.py and tests/codecs/test_laws.py.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, model_validator

from ..base.lazy import lazy
from ..base.units import MOST_COUNT
from ..learning.execution.work import TensorSpec
from .base import Codec, Encoded, EncodedSpec, MessageContext
from .cast import saturate
from .public import Basis, Public
from .subspace import Subspace

if TYPE_CHECKING:
    import torch
else:
    torch = lazy("torch")

#: Steps, in standard deviations, and mean squared errors d(b) of the best uniform quantiser of a Gaussian with 2^b levels.
STEPS = (0.0, 1.5956, 0.9957, 0.5860, 0.3352, 0.1881, 0.1041, 0.0569, 0.0308)
ERRORS = (1.0, 0.3634, 0.1188, 0.03744, 0.01154, 0.003495, 0.001041, 0.0003035, 0.0000872)
GRADIENT_BITS = 4
GAIN_BYTES = 2


@lru_cache(maxsize=64)
def allocation(basis: Basis, rank: int, total: int) -> tuple[int, ...]:
    """Bits of the first ``rank`` directions, ``total`` in all (8 each at most)."""
    variances = basis.variances[:rank].double().cpu()  # a loop over numbers, wherever the states are
    bits = torch.zeros(len(variances), dtype=torch.int64)
    errors = torch.tensor(ERRORS, dtype=torch.float64)
    for _ in range(min(total, 8 * len(bits))):
        distortion = torch.where(bits < 8, variances * errors[bits], -1.0)
        bits[int(distortion.argmax())] += 1
    return tuple(bits.tolist())


@lru_cache(maxsize=64)
def _places(bits: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """For every bit of a packed row: which coordinate it belongs to, and its value as a shift."""
    numbers = torch.tensor(bits)
    return torch.arange(len(bits)).repeat_interleave(numbers), torch.cat([torch.arange(b - 1, -1, -1) for b in bits])


class Adaptive(Subspace):
    """Coordinates along public directions with bits as each deserves, within a byte budget or an error bound."""

    kind: Literal["adaptive"] = "adaptive"  # type: ignore[assignment]
    rank: int = Field(2**15, ge=1, le=MOST_COUNT)
    """Directions used at most; at most the hidden size."""
    bytes_per_token: int | None = Field(None, ge=3, le=MOST_COUNT)
    """Budget of a row in bytes, gain included."""
    last_bytes_per_token: int | None = Field(None, ge=3, le=MOST_COUNT)
    """Budget at the end of ``over_rounds`` rounds; without, the budget stays."""
    over_rounds: int | None = Field(None, ge=2, le=MOST_COUNT)
    """Rounds over which the budget changes."""
    error: float | None = Field(None, gt=0.0, lt=1.0)
    """Share of the variance of public text that may stay outside, at each cut; instead of a budget."""

    @model_validator(mode="after")
    def _one_goal(self) -> Self:
        if (self.bytes_per_token is None) == (self.error is None):
            raise ValueError("write either bytes_per_token (a budget) or error (a bound)")
        if (self.last_bytes_per_token is None) != (self.over_rounds is None):
            raise ValueError("last_bytes_per_token and over_rounds go together")
        if self.error is not None and self.last_bytes_per_token is not None:
            raise ValueError("last_bytes_per_token changes a budget, and error is a bound; write one of them")
        return self

    @property
    def data_dependent(self) -> str | None:
        if self.error is None:
            return None
        return (
            "'adaptive' with an error bound has sizes that depend on public text, which a timing run does not compute"
        )

    def budget(self, round: int) -> int:
        """Bytes of a row in ``round``."""
        assert self.bytes_per_token is not None
        if self.last_bytes_per_token is None or self.over_rounds is None:
            return self.bytes_per_token
        done = min(1.0, (max(round, 1) - 1) / (self.over_rounds - 1))
        return round_half(self.bytes_per_token + done * (self.last_bytes_per_token - self.bytes_per_token))

    def at(self, context: MessageContext, public: Public | None) -> Codec | None:
        if super().at(context, public) is None:
            return None
        if self.error is None:
            fixed = {"bytes_per_token": self.budget(context.round), "last_bytes_per_token": None, "over_rounds": None}
            made = self.model_copy(update=fixed)
            return made if public is None else made.fitted(context, public)
        options = {name: getattr(self, name) for name in ("basis", "cut", "gain", "refresh_every")}
        if public is None:
            return Subspace(rank=self.rank, **options)
        basis = public.basis(context.layer, self.fitted_after(context.round), self.basis)
        return Subspace(rank=min(self.rank, basis.rank(self.error)), **options).fitted(context, public)

    def announced(self, width: int, round: int) -> int:
        codec = Subspace(rank=self.rank, cut=self.cut, refresh_every=self.refresh_every)
        return codec.announced(width, round)

    def encoded(self, spec: TensorSpec) -> EncodedSpec:
        lead, size = spec.shape[:-1], self._size(spec.shape[-1])
        return EncodedSpec(TensorSpec((*lead, size), "uint8"), (TensorSpec(lead, "float16"),))

    def flops(self, spec: TensorSpec, context: MessageContext) -> tuple[float, float]:
        width = spec.shape[-1]
        coordinates = min(self.rank, width, 8 * self._size(width))
        cost = float(spec.numel * (2 * coordinates + 1) + 6 * coordinates * spec.numel / max(1, width))
        return cost, cost

    def _size(self, width: int) -> int:
        """Bytes of the codes of a row."""
        assert self.bytes_per_token is not None
        return min(self.bytes_per_token - GAIN_BYTES, min(self.rank, width))

    def _plan(self, basis: Basis, context: MessageContext, width: int) -> tuple[tuple[int, ...], torch.Tensor]:
        """Bits and steps of the coordinates, steps in units of the gain."""
        total = 8 * self._size(width)
        if context.kind == "gradient":
            count = min(self.rank, width, total // GRADIENT_BITS)
            bits = (GRADIENT_BITS,) * count
            return bits, torch.full((count,), 2.0 / 2**GRADIENT_BITS)
        bits = allocation(basis, min(self.rank, width), total)
        steps = torch.tensor(STEPS)[torch.tensor(bits)] * basis.variances[: len(bits)].sqrt().cpu()
        return bits, steps

    def encode(self, x: torch.Tensor, state: Any, context: MessageContext) -> tuple[Encoded, Any]:
        basis = self.directions()
        bits, steps = self._plan(basis, context, x.shape[-1])
        steps = steps.to(x.device)
        wide = x.float()
        if context.kind == "activation":
            wide = wide - basis.mean
        c = wide @ basis.directions[:, : len(bits)]
        if context.kind == "gradient":
            gain = c.abs().amax(dim=-1)
        else:
            deviations = basis.variances[: len(bits)].sqrt()
            used = (torch.tensor(bits, device=x.device) > 0) & (deviations > 0)
            gain = (c / deviations)[..., used].square().mean(dim=-1).sqrt()
        gain = torch.where(gain.isfinite(), gain.clamp(2.0**-24, 65504.0), torch.nan).half()
        half = 2 ** torch.tensor(bits, device=x.device) // 2
        units = torch.where(steps > 0, c / (steps * gain[..., None].float()), 0.0).nan_to_num(nan=0.0)
        codes = units.floor().clamp(min=-half, max=half - 1).long() + half
        column, shift = (place.to(x.device) for place in _places(bits))
        flat = (codes[..., column] >> shift) & 1
        lacking = 8 * self._size(x.shape[-1]) - flat.shape[-1]
        eights = torch.nn.functional.pad(flat, (0, lacking)).reshape(*x.shape[:-1], self._size(x.shape[-1]), 8)
        packed = (eights << torch.arange(7, -1, -1, device=x.device)).sum(-1).to(torch.uint8)
        return Encoded(packed, (gain,)), state

    def decode(self, data: Encoded, spec: TensorSpec, state: Any, context: MessageContext) -> tuple[torch.Tensor, Any]:
        basis = self.directions()
        bits, steps = self._plan(basis, context, spec.shape[-1])
        device = data.main.device
        column, shift = (place.to(device) for place in _places(bits))
        flat = ((data.main.long()[..., None] >> torch.arange(7, -1, -1, device=device)) & 1).flatten(-2)
        codes = flat.new_zeros((*flat.shape[:-1], len(bits)))
        codes = codes.index_add(-1, column, flat[..., : len(column)] << shift)
        numbers = torch.tensor(bits, device=device)
        centred = torch.where(numbers > 0, codes - 2**numbers // 2 + 0.5, 0.0)
        (gain,) = data.side
        c = centred * steps.to(device) * gain[..., None].float()
        x = c @ basis.directions[:, : len(bits)].t()
        if self.gain:
            x = x * basis.gain(self.rank)
        if context.kind == "activation":
            x = x + basis.mean
        return saturate(x, spec.dtype), state


def round_half(value: float) -> int:
    """The nearest integer, halves up."""
    return int(value + 0.5)
