"""Nearest class mean in the complement of the directions that a secret turns, or of the r of public text that vary most.

A secret rotation of that subspace leaves the complement alone.
Tested in tests/privacy/test_attacks.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from ...base.lazy import lazy
from ...base.units import MOST_COUNT
from ..base import Intercepted, Knowledge, PrivacyAttack
from .nearest_mean import nearest_mean

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy("torch")


class Complement(PrivacyAttack):
    """The nearest class mean where a secret rotation of the principal directions changes nothing."""

    kind: Literal["complement"] = "complement"
    rank: int | None = Field(None, ge=1, le=MOST_COUNT)
    """Principal directions that are left out; default: as many as `ssop` in the chain turns, else ``privacy.rank``."""

    def guess(self, knowledge: Knowledge, seen: Intercepted) -> Tensor:
        if self.rank is None and knowledge.turned is not None:
            return nearest_mean(knowledge.known, seen.payload, without(knowledge.turned))
        rank = knowledge.rank if self.rank is None else self.rank
        return nearest_mean(knowledge.known, seen.payload, complement(knowledge.public.clean, rank))


def without(directions: Tensor) -> Tensor:
    """All but orthonormal ``directions`` [D, r]: ``[D, D - r]``, at least one."""
    v = directions.double()
    whole = torch.eye(len(v), dtype=v.dtype, device=v.device) - v @ v.t()
    vectors = torch.linalg.eigh(whole).eigenvectors
    kept: Tensor = vectors[:, min(v.shape[1], len(v) - 1) :]
    return kept


def complement(states: Tensor, rank: int) -> Tensor:
    """All but the ``rank`` principal directions of ``states``: ``[D, D - rank]``."""
    x = states.double()
    centred = x - x.mean(dim=0)
    vectors = torch.linalg.eigh(centred.t() @ centred).eigenvectors
    kept: Tensor = vectors[:, : max(1, vectors.shape[1] - rank)]
    return kept
