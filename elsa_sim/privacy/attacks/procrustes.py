"""Orthogonal Procrustes (Schoenemann 1966): turn a client's payloads back, then a linear discriminant.

From pairs of states H and payloads Y of a client, the rotation Q that minimises ``||H Q - Y||^2 + l ||Q - I||^2`` is
``U V^T`` of the singular value decomposition of ``H^T Y + l I``; the payload is turned back by Q^T. The second term keeps Q at
the identity where no pair says otherwise. The pairs are the first ``privacy.known_texts`` texts of each client.
Tested in tests/privacy/test_attacks.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from ...base.lazy import lazy
from ..base import Intercepted, Knowledge, PrivacyAttack
from .discriminant import discriminant

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy("torch")

#: Weight l of staying at the identity, as a share of the mean eigenvalue of H^T H.
STAY = 1e-2


class Procrustes(PrivacyAttack):
    """The discriminant on payloads that are turned back by a rotation fitted to known pairs."""

    needs_pairs: ClassVar[bool] = True
    kind: Literal["procrustes"] = "procrustes"

    def guess(self, knowledge: Knowledge, seen: Intercepted) -> Tensor | None:
        if seen.pairs is None:
            return None
        turned = (seen.payload.double() @ procrustes(*seen.pairs).t()).float()
        return discriminant(knowledge.known, turned)


def procrustes(clean: Tensor, payload: Tensor) -> Tensor:
    """The rotation Q ``[D, D]`` (float64) that best takes ``clean`` to ``payload``, both ``[m, D]``, near the identity."""
    h, y = clean.double(), payload.double()
    width = h.shape[1]
    stay = STAY * float(h.square().sum()) / width
    left, _, right = torch.linalg.svd(h.t() @ y + stay * torch.eye(width, dtype=h.dtype, device=h.device))
    turn: Tensor = left @ right
    return turn
