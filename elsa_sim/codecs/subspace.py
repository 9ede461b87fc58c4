"""Public subspace: hidden states are sent as their coordinates along a few directions fitted to public text.

Beyond ELSA's sketch: hidden states of a language model are not dense random vectors, and few of their directions carry
most of what they say. With the mean m and orthonormal directions V ``[D, k]`` of public text at the cut, a row h of
``[n, D]`` crosses as ``c = (h - m) V`` and is read as ``m + c V^T``; further codecs of the chain shorten c. Relative
squared error on public text: the share of variance outside V. The projection is part of the forward computation, so
the chain rule sends gradients through the same V without a mean, ``g V V^T``, with no further loss: the codec is
``in_graph``. ``gain`` reads a row as ``m + a c V^T`` with ``a^2`` the whole variance over that along V, and a gradient as
``a g V V^T``. Behind a turn that both ends know (`ssop` that hides from the wire), V and m are turned, too.

``basis`` chooses the directions: ``variance`` keeps the most of the hidden states (principal directions). ``semantic``
keeps what the tokens of a text share against what tells them apart (public.py); it loses more of the hidden state, but
what it loses is mostly which token stood where, so an attacker recovers fewer of them.

The pretrained backbone and public text give the first basis: it comes with the weights, and no bytes are counted for it.
With ``refresh_every`` e, the server fits it anew before rounds 1 + e, 1 + 2e, ... to the adapters as aggregated then, and
sends V and m of both cuts to each client, in float16, ahead of the adapters; those bytes are counted. `ssop` before it
rotates within the subspace as far as the client's own principal directions lie in it.

Does not capture: FLOPs of the fit at the server, a fit to the clients' own states.

Tested in tests/codecs/test_fewer_bytes.py and tests/codecs/test_laws.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, PrivateAttr

from ..base.lazy import lazy
from ..base.units import MOST_COUNT
from ..learning.execution.work import TensorSpec
from .base import CUT_KINDS, Codec, Encoded, EncodedSpec, Keys, MessageContext
from .cast import saturate
from .public import Basis, BasisKind, Public
from .turn import Turn, View

if TYPE_CHECKING:
    import torch
else:
    torch = lazy("torch")


class Subspace(Codec):
    """Coordinates along directions fitted to public text at the cut, instead of the hidden state."""

    in_graph: ClassVar[bool] = True
    kind: Literal["subspace"] = "subspace"
    rank: int = Field(96, ge=1, le=MOST_COUNT)
    """k: directions kept; at most the hidden size."""
    basis: BasisKind = "variance"
    """Which directions: variance keeps most of the states, semantic what the tokens of a text have in common."""
    cut: Literal["both", "first", "second"] = "both"
    """Where it works: what crosses between Parts 1 and 2 (first), between Parts 2 and 3 (second), or both."""
    gain: bool = False
    """Scale what arrives so that it varies as much as whole hidden states do, as the frozen layers after it expect."""
    refresh_every: int | None = Field(None, ge=1, le=MOST_COUNT)
    """Rounds after which the directions are fitted anew; without, they are those of the pretrained model."""

    _fitted: Basis | None = PrivateAttr(default=None)

    @property
    def needs_public(self) -> bool:
        return True

    @property
    def fitted_anew(self) -> int | None:
        return self.refresh_every

    def at(self, context: MessageContext, public: Public | None) -> Codec | None:
        if context.cut is not None and self.cut not in ("both", context.cut):
            return None
        return self if public is None else self.fitted(context, public)

    def fitted(self, context: MessageContext, public: Public) -> Self:
        """This codec with the directions of a message's cut and round."""
        made = self.model_copy()
        made._fitted = public.first(context.layer, self.fitted_after(context.round), self.basis, self.rank)
        return made

    def behind(self, view: View, *, both: bool) -> Codec:
        if self._fitted is None or not both or not isinstance(view, Turn):
            return self
        made, basis = self.model_copy(), self._fitted
        made._fitted = Basis(view.mean(basis.mean), view(basis.directions.t()).t(), basis.variances)
        return made

    def fit_error(self, width: int, keys: Keys) -> float | None:
        if self._fitted is None:
            return None
        basis = self._fitted
        variances = basis.variances.double()
        return float(variances[self.rank :].sum() / (variances.sum() + basis.mean.double().square().sum()))

    def fitted_after(self, round: int) -> int:
        """The round after which the basis used in ``round`` was fitted; 0: the pretrained model."""
        every = self.refresh_every
        return 0 if every is None else (max(round, 1) - 1) // every * every

    def announced(self, width: int, round: int) -> int:
        fresh = self.fitted_after(round)
        if fresh == 0 or fresh != round - 1:
            return 0
        return 2 * width * (min(self.rank, width) + 1) * (2 if self.cut == "both" else 1)

    def encoded(self, spec: TensorSpec) -> EncodedSpec:
        dtype = "float64" if spec.dtype == "float64" else "float32"
        return EncodedSpec(TensorSpec((*spec.shape[:-1], min(self.rank, spec.shape[-1])), dtype))

    def flops(self, spec: TensorSpec, context: MessageContext) -> tuple[float, float]:
        cost = float(2 * spec.numel * min(self.rank, spec.shape[-1]) + spec.numel)
        return cost, cost

    def objection(self, before: Sequence[Codec], spec: TensorSpec, message: str) -> str | None:
        if message not in CUT_KINDS:
            return f"projects hidden states and their gradients; {message} have none"
        if any(not codec.in_graph or isinstance(codec, Subspace) for codec in before):
            return f"projects hidden states, not what {before[-1].kind!r} makes of them; put it first, or after ssop"
        return super().objection(before, spec, message)

    def beyond(self, width: int) -> str | None:
        if self.rank <= width or "rank" not in self.stated:
            return None
        return f"projects rows of {width} numbers; needs rank <= {width}, got {self.rank}"

    def directions(self) -> Basis:
        """What was fitted."""
        if self._fitted is None:
            raise ValueError(f"{self.kind}: no public text to fit directions to")
        return self._fitted

    def encode(self, x: torch.Tensor, state: Any, context: MessageContext) -> tuple[Encoded, Any]:
        basis = self.directions()
        dtype = _work(x)
        wide = x.to(dtype)
        if context.kind == "activation":
            wide = wide - basis.mean.to(x.device, dtype)
        return Encoded(wide @ basis.directions.to(x.device, dtype)), state

    def decode(self, data: Encoded, spec: TensorSpec, state: Any, context: MessageContext) -> tuple[torch.Tensor, Any]:
        basis = self.directions()
        dtype = _work(data.main)
        x = data.main.to(dtype) @ basis.directions.to(data.main.device, dtype).t()
        if self.gain:
            x = x * basis.gain(self.rank)
        if context.kind == "activation":
            x = x + basis.mean.to(x.device, dtype)
        return saturate(x, spec.dtype), state


def _work(x: torch.Tensor) -> torch.dtype:
    """float32, or float64 where ``x`` is."""
    return torch.promote_types(x.dtype, torch.float32)
