"""SS-OP: semantic subspace orthogonal perturbation, a secret rotation of hidden states.

ELSA, arXiv:2601.13824. V in R^{D x r} holds the top-r right singular vectors of centred hidden states at the first cut, W is
a secret random orthogonal r x r matrix, and ``Q = I + V (W - I) V^T`` is orthogonal: it rotates the subspace where most of
the meaning lies and leaves the rest alone. The client sends h Q; what returns is multiplied by Q^T at the client. By the chain
rule a gradient goes up as g Q and comes down as g Q^T, so the codec is ``in_graph``. Norms are kept; orthogonality holds to
float32 rounding. W starts from a Haar sample of the rotations SO(r); ``strength`` t moves it along the geodesic exp(t log W)
from I (0) to the sample (1): every eigenvalue e^{i a} becomes e^{i t a}.

``hides_from`` says against whom, for reviews of the paper name two threats. ``edge`` (the paper's): only clients have the key, and
the edge server works on h Q as it is. ``wire``: the edge server has the key, too, and turns back; the computation is that without
SS-OP to rounding, what goes down is turned as well, and a listener without the key sees h Q. Whoever has the key turns what it
sends and turns back what it receives; without it, encode and decode are the identity. On the wire it may also stand behind a
sketch and turn the table: all clients then train behind one sketch, where a turn before it is another sketch for each of them.

Our reading. ``key``: each client its own, one for the clients of an edge server, or one for all; averages of adapters see one
map if Q is one. ``subspace``: the client's own V, fitted to the first activation that goes up in every ``refresh_every`` rounds; or
that of public text, the same for all. On the wire both ends need V, so it is public there, and drawn at random where
there is no public text. Where n rows span fewer than r directions, r is that number: one token, or equal ones, are not perturbed
unless an older V is there. ``refresh``: W stays, or is another one for every round or for every activation that goes up, and
for all that crosses until the next; known texts of earlier messages then tell an attacker nothing of later ones.
``unread``: Part 2 does not read V: what its layers take from the residual stream is projected off it, so that the
rotation disturbs it little; see :mod:`..learning.backbone.unread`.

Does not capture: how keys are agreed upon, and what that costs; the time of a fit on special hardware; protection of directions
outside the subspace (see the privacy measurements: a comparison in the complement of V recovers tokens).
Tested in tests/codecs/test_ssop.py and tests/codecs/test_against_whom.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, PrivateAttr, model_validator

from ..base.lazy import lazy
from ..base.units import MOST_COUNT
from ..learning.execution.work import TensorSpec
from .base import CUT_KINDS, Codec, Encoded, EncodedSpec, Keys, MessageContext
from .cast import saturate
from .public import Basis, BasisKind, Public
from .turn import Turn, View, drawn, principal, rotation, unknown

if TYPE_CHECKING:
    import torch
else:
    torch = lazy("torch")

#: Which W is in force: none but the first, or that of a round, or of an activation.
Number = tuple[int, ...]


@dataclass(frozen=True)
class Secret:
    """State of an endpoint with the key: its seed, and once there is a subspace the turn, and which one it is."""

    seed: int
    turn: Turn | None = None
    number: Number = ()

    @property
    def rank(self) -> int:
        """Directions that are turned."""
        return 0 if self.turn is None else len(self.turn.change)


class SSOP(Codec):
    """Secret rotation of the principal subspace of the hidden states at the cut (ELSA)."""

    scope: ClassVar[Literal["pair", "stream"]] = "pair"
    in_graph: ClassVar[bool] = True
    kind: Literal["ssop"] = "ssop"
    rank: Annotated[int, Field(ge=2, le=MOST_COUNT)] | Literal["full"] = 8
    """r: dimension of the rotated subspace; full: all D directions."""
    strength: float = Field(1.0, ge=0.0, le=1.0)
    """How far the rotation goes from the identity (0) to a random one (1), along the geodesic."""
    hides_from: Literal["edge", "wire"] = "edge"
    """Whom it hides states from: the edge server, which works on what is turned; or who listens on the wire, while the edge
    server has the key and turns back."""
    key: Literal["client", "server", "all"] = "client"
    """Who has one rotation in common: each client its own, the clients of an edge server, all clients."""
    subspace: Literal["client", "public"] | None = None
    """Whose principal directions: the client's own (default at the edge), or those of public text (default on the wire)."""
    basis: Literal["variance", "tokens"] = "variance"
    """Which directions of public text: those in which it varies most, or those that tell the tokens of a text apart (all but the
    first of `subspace` with ``basis: semantic``)."""
    refresh: Literal["never", "round", "message"] | None = None
    """How often the rotation is another one; message: with every activation that goes up. Default: message on the wire, never
    at the edge."""
    refresh_every: int | None = Field(None, ge=1, le=MOST_COUNT)
    """Rounds after which the subspace is fitted anew; default: 1 for the client's own, never for public text."""
    unread: bool = False
    """Part 2 does not read the subspace; needs one public subspace and the same cuts for all clients."""

    _public: Any = PrivateAttr(default=None)  # a tensor; pydantic would look the type up, and load the library

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.rank == "full" and (self.subspace is not None or self.refresh_every is not None):
            raise ValueError("rank: full turns all directions; subspace and refresh_every have no effect")
        if self.basis != "variance" and self.subspace != "public":
            raise ValueError(f"basis: {self.basis} is about public text; it needs subspace: public")
        if self.hides_from == "wire" and self.subspace is None and self.refresh_every is not None:
            raise ValueError("refresh_every on the wire is about public text; it needs subspace: public")
        if self.hides_from == "wire" and self.subspace == "client":
            raise ValueError("hides_from: wire needs subspace: public; the edge server does not know the client's")
        if self.unread and (self.hides_from == "wire" or self.subspace != "public" or self.refresh_every is not None):
            raise ValueError("unread needs hides_from: edge and subspace: public, without refresh_every")
        return self

    @property
    def known_directions(self) -> torch.Tensor | None:
        """V, where everybody knows it and it was fitted."""
        found: torch.Tensor | None = None if self.own_subspace else self._public
        return found

    @property
    def hidden_from(self) -> Literal["edge", "wire"]:
        return self.hides_from

    @property
    def needs_public(self) -> bool:
        return self.subspace == "public"

    @property
    def uses_public(self) -> bool:
        return self.needs_public or (self.hides_from == "wire" and self.rank != "full")

    @property
    def fitted_anew(self) -> int | None:
        return self.refresh_every if self.needs_public else None

    @property
    def own_subspace(self) -> bool:
        """Whether V is the client's."""
        return self.hides_from == "edge" and self.subspace != "public" and self.rank != "full"

    def at(self, context: MessageContext, public: Public | None) -> Codec | None:
        if public is None or self.rank == "full" or context.cut is None:
            return self
        every, made = self.fitted_anew, self.model_copy()
        round = 0 if every is None else (max(context.round, 1) - 1) // every * every
        made._public = public.remembered(
            ("ssop", context.cuts[0], round, self.rank, self.basis),
            lambda: self.chosen(lambda by: public.basis(context.cuts[0], round, by)),
        )
        return made

    def chosen(self, fitted: Callable[[BasisKind], Basis]) -> torch.Tensor:
        """V ``[D, r]`` of what is fitted to public text."""
        assert self.rank != "full"
        if self.basis == "variance":
            return fitted("variance").directions[:, : self.rank]
        return fitted("semantic").directions[:, -self.rank :]

    def simulated(self) -> Codec:
        return self.model_copy(update={"key": "client", "refresh": "message"})

    def start(self, keys: Keys) -> Secret | None:
        held = keys.secret if self.hides_from == "edge" else keys.link
        return None if held is None else Secret(getattr(held, self.key))

    def encoded(self, spec: TensorSpec) -> EncodedSpec:
        return EncodedSpec(spec)

    def objection(self, before: Sequence[Codec], spec: TensorSpec, message: str) -> str | None:
        if message not in CUT_KINDS:
            return f"rotates hidden states and their gradients; {message} have none"
        if self.behind_others:
            return super().objection(before, spec, message)
        if any(codec.kind != self.kind for codec in before):
            return f"rotates hidden states, not what {before[-1].kind!r} makes of them; put it first"
        return super().objection(before, spec, message)

    def beyond(self, width: int) -> str | None:
        if self.rank == "full" or "rank" not in self.stated:
            return None
        if self.unread and self.rank >= width:
            return f"leaves Part 2 nothing to read of rows of {width} numbers; needs rank < {width}, got {self.rank}"
        return None if self.rank <= width else f"turns rows of {width} numbers; needs rank <= {width}, got {self.rank}"

    @property
    def behind_others(self) -> bool:
        """Whether it may turn what other codecs have made of states: who turns back need not know what it is."""
        return self.hides_from == "wire" and self.subspace is None

    def refreshes(self, context: MessageContext) -> bool:
        """Whether the client's subspace is fitted to this message."""
        if context.kind != "activation" or not context.up or not self.own_subspace:
            return False
        return context.first or (context.index == 0 and (context.round - 1) % (self.refresh_every or 1) == 0)

    def flops(self, spec: TensorSpec, context: MessageContext) -> tuple[float, float]:
        width = spec.shape[-1]
        rows = spec.numel // width
        rank = width if self.rank == "full" else min(self.rank, width, rows if self.own_subspace else width)
        if self.rank == "full":
            turn = float(rows * (2 * width * width + width))
        else:
            turn = float(rows * (4 * width * rank + 2 * rank * rank + width))
        ends = turn + (self._draw_flops(rank) if self._draws(context) else 0.0)
        if self.hides_from == "wire":
            return ends, ends
        if not context.up:
            return 0.0, turn
        if not self.refreshes(context):
            return ends, 0.0
        # centring, half a Gram matrix, its eigenvectors (tridiagonal form and back), V from them, QR
        small = min(rows, width)
        fit = 3 * rows * width + rows * width * small + 9 * small**3 + 2 * rank * width * (rows + rank)
        return ends + fit, 0.0

    def _draws(self, context: MessageContext) -> bool:
        """Whether another W is drawn for this message, for all that crosses until the next."""
        number = self._number(context)
        return (
            context.kind == "activation" and context.up and (len(number) == 2 or (number != () and context.index == 0))
        )

    def _draw_flops(self, rank: int) -> float:
        """Operations of a new W: a QR decomposition, and below full strength a Schur form and a product."""
        return 8.0 / 3.0 * rank**3 + (0.0 if self.strength in (0.0, 1.0) else 33.0 * rank**3)

    def view(self, state: Secret | None, context: MessageContext, width: int) -> View | None:
        if state is not None:
            return self._following(state, context, width).turn
        if self.rank != "full" and self._public is None:
            return None
        return unknown(None if self.rank == "full" else self._public, width, self.strength)

    def encode(self, x: torch.Tensor, state: Secret | None, context: MessageContext) -> tuple[Encoded, Any]:
        if state is None:
            if context.up:
                raise ValueError("ssop: only an endpoint with a secret key can send up")
            return Encoded(x), state
        state = self._following(state, context, x.shape[-1], x)
        if state.turn is None:
            if not context.up:
                return Encoded(x), state
            raise ValueError(f"ssop: {context.kind} goes up before any activation, so no subspace is fitted")
        return Encoded(self._turned(x, state, back=False)), state

    def decode(
        self, data: Encoded, spec: TensorSpec, state: Secret | None, context: MessageContext
    ) -> tuple[torch.Tensor, Any]:
        if state is None:
            return data.main, state
        state = self._following(state, context, spec.shape[-1])
        return (data.main if state.turn is None else self._turned(data.main, state, back=True)), state

    def _number(self, context: MessageContext) -> Number:
        how = self.refresh or ("message" if self.hides_from == "wire" else "never")
        return {"never": (), "round": (context.round,), "message": (context.round, context.index)}[how]

    def _following(self, state: Secret, context: MessageContext, width: int, x: torch.Tensor | None = None) -> Secret:
        """The state once an activation has gone up (``x``: the client's own, at its end); nothing else changes it."""
        if context.kind != "activation" or not context.up:
            return state
        basis, number = self._basis(state, context, width, x), self._number(context)
        if basis is None and self.rank != "full":
            return state
        before = state.turn
        if before is not None and state.number == number and (basis is before.basis):
            return state
        keep = torch.float32 if x is None else torch.promote_types(x.dtype, torch.float32)
        rank = width if basis is None else basis.shape[1]
        return replace(state, turn=_turn(basis, rank, state.seed, self.strength, number, keep), number=number)

    def _basis(self, state: Secret, context: MessageContext, width: int, x: torch.Tensor | None) -> torch.Tensor | None:
        """V in force with an activation that goes up; ``None``: all directions, or none is known."""
        if self.rank == "full":
            return None
        if self._public is not None and not self.own_subspace and len(self._public) == width:
            public: torch.Tensor = self._public
            return public
        if not self.own_subspace:
            return drawn(state.seed, width, min(self.rank, width))
        old = None if state.turn is None else state.turn.basis
        if x is None or not (self.refreshes(context) or state.rank < 2):
            return old
        found = principal(x.detach().reshape(-1, width), self.rank).to(torch.promote_types(x.dtype, torch.float32))
        return old if found.shape[1] < 2 <= state.rank else found

    def _turned(self, x: torch.Tensor, state: Secret, *, back: bool) -> torch.Tensor:
        assert state.turn is not None
        return saturate(state.turn(x, back=back), str(x.dtype).removeprefix("torch."))


@lru_cache(maxsize=64)
def _turn(
    basis: torch.Tensor | None, rank: int, seed: int, strength: float, number: Number, dtype: torch.dtype
) -> Turn:
    """One object for both ends and for all who ask, because estimates are remembered by it."""
    change = torch.from_numpy(rotation(seed, rank, strength, number) - np.eye(rank))
    return Turn(basis, change.to(dtype))
