"""Nearest class mean (Euclidean), as in the project's definition of token identification.

The attacker has public states with their tokens and takes for each private one the token of the nearest class mean. Does
not capture: language models as a prior over the text, attacks that use gradients.
Tested in tests/privacy/test_attacks.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from ...base.lazy import lazy
from ..base import Intercepted, Knowledge, PrivacyAttack
from ..known import Known

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy("torch")


class NearestMean(PrivacyAttack):
    """The token of the nearest class mean of public text."""

    kind: Literal["nearest_mean"] = "nearest_mean"

    def guess(self, knowledge: Knowledge, seen: Intercepted) -> Tensor:
        return nearest_mean(knowledge.known, seen.payload)


def nearest_mean(known: Known, states: Tensor, basis: Tensor | None = None) -> Tensor:
    """Tokens ``[n]`` of ``states`` ``[n, D]``: those of the nearest class means, compared along ``basis`` ``[D, k]``."""
    x, means = states.double(), known.means
    if basis is not None:
        x, means = x @ basis.double(), means @ basis.double()
    return known.classes[torch.cdist(x, means).argmin(dim=1)]
