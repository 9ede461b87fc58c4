"""Public states with their tokens, as an attacker has them: classes, class means, and the variance within classes.

Tested in tests/privacy/test_attacks.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from ..base.lazy import lazy

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy("torch")

#: Added to within-class variances, as a share of the mean variance.
RIDGE = 1e-2


@dataclass(frozen=True)
class Known:
    """Public states ``[m, D]`` (float64) as the attacker sees them, and their tokens: classes and class means."""

    states: Tensor
    classes: Tensor
    group: Tensor
    counts: Tensor
    means: Tensor

    @classmethod
    def of(cls, states: Tensor, tokens: Tensor) -> Known:
        """Group public ``states`` by their ``tokens`` ``[m]``."""
        x = states.double()
        classes, group, counts = torch.unique(tokens, return_inverse=True, return_counts=True)
        means = x.new_zeros(len(classes), x.shape[1]).index_add(0, group, x) / counts[:, None]
        return cls(x, classes, group, counts.double(), means)

    @cached_property
    def shape(self) -> tuple[Tensor, Tensor, Tensor]:
        """What the discriminant needs: whitening by the variance within classes ``[D, D]``, shrunk means of the classes
        in that space, and the variance of a new state about each."""
        x = self.states
        residual = x - self.means[self.group]
        width = x.shape[1]
        within = residual.t() @ residual / max(1, len(x) - len(self.classes))
        total = (x - x.mean(dim=0)).square().sum() / len(x)
        ridge = RIDGE * max(float(within.trace()), 1e-6 * float(total)) / width
        values, vectors = torch.linalg.eigh(within + ridge * torch.eye(width, dtype=x.dtype, device=x.device))
        whiten = vectors / values.clamp(min=ridge * 1e-3 + 1e-300).sqrt()
        means, middle = self.means @ whiten, (x @ whiten).mean(dim=0)
        between = (means - middle).square().sum(dim=1).mean() / width  # variance of class means, per direction
        keep = between / (between + 1.0 / self.counts)
        spread = 1.0 + between / (1.0 + self.counts * between)
        return whiten, middle + keep[:, None] * (means - middle), spread
