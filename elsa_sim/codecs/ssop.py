"""SS-OP: semantic subspace orthogonal perturbation, a secret rotation of hidden states.

ELSA, arXiv:2601.13824. V in R^{D x r} holds the top-r right singular vectors of the client's centred hidden states at
the cut, W is a secret random orthogonal r x r matrix of that client, and ``Q = I + V (W - I) V^T`` is orthogonal: it
rotates the subspace where most of the meaning lies and leaves the rest alone. The client sends h Q, and the edge
works on it as it is; what returns is multiplied by Q^T at the client. By the chain rule a gradient goes up as g Q and
comes down as g Q^T, so the codec is ``in_graph``. Q is never formed: x Q = x + ((x V)(W - I)) V^T. Norms are kept;
orthogonality holds to float32 rounding.

Our reading. W starts from a Haar sample of O(r). A reflection cannot be reached from I on a path of orthogonal
matrices, so a sample with determinant -1 gets its first column negated, which makes it Haar on the rotations SO(r).
``strength`` t moves W along the geodesic exp(t log W), from I (0) to the sample (1): every eigenvalue e^{i a} becomes
e^{i t a}. V is fitted to the first activation that goes up in round 1, 1 + refresh_every, ... (and to the very first
one between two nodes); W stays. Where n rows span fewer than r directions, r is that number: one token, or equal
ones, are not perturbed unless an older V is there. V comes from the eigenvectors of the smaller Gram matrix of the n
rows in float64 (n n or D D numbers, never more).

Only the client's state holds V and W; a server's state is empty, and its encode and decode are the identity.

Does not capture: the time of a fit on special hardware; protection of directions outside the subspace (see the
privacy measurements: a comparison in the complement of V, or a Procrustes fit from known pairs, recovers tokens).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from ..base.lazy import lazy
from ..base.streams import Streams
from ..base.units import MOST_COUNT
from ..learning.execution.work import TensorSpec
from .base import CUT_KINDS, Codec, Encoded, EncodedSpec, Keys, MessageContext
from .cast import saturate

if TYPE_CHECKING:
    import torch
    from scipy import linalg
else:
    linalg, torch = lazy("scipy.linalg"), lazy("torch")

#: Directions with less than this share of the squared norm of the rows are rounding noise of float32.
NOISE = 1e-12


@dataclass(frozen=True)
class Secret:
    """State of the client: its seed, and once fitted V ``[D, r]`` and W - I ``[r, r]``."""

    seed: int
    basis: torch.Tensor | None = None
    turn: torch.Tensor | None = None

    @property
    def fitted(self) -> bool:
        """Whether there is a subspace that a rotation can turn."""
        return self.basis is not None and self.basis.shape[1] >= 2


def rotation(seed: int, rank: int, strength: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    """W ``[r, r]`` of a seed: exp(strength log W_1), W_1 Haar on SO(r)."""
    if strength == 0:
        return np.eye(rank)
    q, r = np.linalg.qr(Streams(seed).numpy("ssop", rank).standard_normal((rank, rank)))
    haar = q * np.sign(np.diag(r))  # Haar on O(r): QR made unique
    if np.linalg.det(haar) < 0:
        haar[:, 0] *= -1
    triangle, unitary = linalg.schur(haar, output="complex")  # a normal matrix: the triangle is diagonal
    powers = np.exp(1j * strength * np.angle(np.diag(triangle)))
    return np.asarray(((unitary * powers) @ unitary.conj().T).real, dtype=np.float64)


def principal(x: torch.Tensor, rank: int) -> torch.Tensor:
    """Top right singular vectors ``[D, r]`` (float64) of the centred finite rows of ``x`` ``[n, D]``; r <= ``rank``."""
    rows = x[x.isfinite().all(dim=-1)].double()
    if rows.shape[0] < 2:
        return rows.new_zeros(x.shape[-1], 0)
    centred = rows - rows.mean(dim=0)
    tall = centred.shape[0] > centred.shape[1]
    values, vectors = torch.linalg.eigh(centred.t() @ centred if tall else centred @ centred.t())  # ascending
    count = min(rank, int((values > NOISE * rows.square().sum()).sum()))
    top = vectors[:, vectors.shape[1] - count :].flip(1)
    basis: torch.Tensor = torch.linalg.qr(top if tall else centred.t() @ top)[0]
    return basis


class SSOP(Codec):
    """Secret rotation of the principal subspace of the hidden states at the cut (ELSA)."""

    scope: ClassVar[Literal["pair", "stream"]] = "pair"
    in_graph: ClassVar[bool] = True
    secret: ClassVar[bool] = True
    kind: Literal["ssop"] = "ssop"
    rank: int = Field(8, ge=2, le=MOST_COUNT)
    """r: dimension of the rotated subspace."""
    strength: float = Field(1.0, ge=0.0, le=1.0)
    """How far the rotation goes from the identity (0) to a random one (1), along the geodesic."""
    refresh_every: int = Field(1, ge=1, le=MOST_COUNT)
    """Rounds after which the subspace is fitted anew."""

    def start(self, keys: Keys) -> Secret | None:
        return None if keys.secret is None else Secret(keys.secret)

    def encoded(self, spec: TensorSpec) -> EncodedSpec:
        return EncodedSpec(spec)

    def objection(self, before: Sequence[Codec], spec: TensorSpec, message: str) -> str | None:
        if message not in CUT_KINDS:
            return f"rotates hidden states and their gradients; {message} have none"
        if any(codec.kind != self.kind for codec in before):
            return f"rotates hidden states, not what {before[-1].kind!r} makes of them; put it first"
        return super().objection(before, spec, message)

    def refreshes(self, context: MessageContext) -> bool:
        """Whether the subspace is fitted to this message."""
        if context.kind != "activation" or not context.up:
            return False
        return context.first or (context.index == 0 and (context.round - 1) % self.refresh_every == 0)

    def flops(self, spec: TensorSpec, context: MessageContext) -> tuple[float, float]:
        width = spec.shape[-1]
        rows = spec.numel // width
        small, rank = min(rows, width), min(self.rank, rows, width)
        turn = float(rows * (4 * width * rank + 2 * rank * rank + width))
        if not context.up:
            return 0.0, turn
        if not self.refreshes(context):
            return turn, 0.0
        # centring, half a Gram matrix, its eigenvectors (tridiagonal form and back), V from them, QR
        fit = 3 * rows * width + rows * width * small + 9 * small**3 + 2 * rank * width * (rows + rank)
        return turn + fit, 0.0

    def encode(self, x: torch.Tensor, state: Secret | None, context: MessageContext) -> tuple[Encoded, Any]:
        if not context.up:
            return Encoded(x), state
        if state is None:
            raise ValueError("ssop: only an endpoint with a secret key can send up; a server has none")
        if self.refreshes(context) or (context.kind == "activation" and not state.fitted):
            state = self._fit(x, state)
        if state.basis is None:
            raise ValueError(f"ssop: {context.kind} goes up before any activation, so no subspace is fitted")
        return Encoded(self._turn(x, state, back=False)), state

    def decode(
        self, data: Encoded, spec: TensorSpec, state: Secret | None, context: MessageContext
    ) -> tuple[torch.Tensor, Any]:
        if context.up or state is None or state.basis is None:
            return data.main, state
        return self._turn(data.main, state, back=True), state

    def _fit(self, x: torch.Tensor, state: Secret) -> Secret:
        keep = torch.promote_types(x.dtype, torch.float32)
        basis = principal(x.detach().reshape(-1, x.shape[-1]), self.rank)
        rank = basis.shape[1]
        if rank < 2 and state.fitted:
            return state  # nothing to learn from this message
        turn = torch.from_numpy(rotation(state.seed, rank, self.strength) - np.eye(rank))
        return replace(state, basis=basis.to(keep), turn=turn.to(x.device, keep))

    def _turn(self, x: torch.Tensor, state: Secret, *, back: bool) -> torch.Tensor:
        assert state.basis is not None
        assert state.turn is not None
        dtype = torch.promote_types(x.dtype, state.basis.dtype)
        basis, turn = state.basis.to(dtype), state.turn.to(dtype)
        wide = x.to(dtype)
        turned = wide + (wide @ basis) @ (turn.t() if back else turn) @ basis.t()
        return saturate(turned, str(x.dtype).removeprefix("torch."))
