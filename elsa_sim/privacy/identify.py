"""Token identification: which token a hidden state belongs to, by comparison with public text.

The attacker has public states with their tokens and classifies private ones. Three classifiers, and an alignment:

- nearest class mean (Euclidean), as in the project's definition of token identification; in the full space, or in the
  complement of the r directions of public text that vary most, which a rotation of that subspace leaves alone;
- a linear discriminant: differences are weighed by the variance within classes, class means are shrunk by how often a
  token was seen, and frequent tokens are more likely. With few dimensions or much noise it recovers far more;
- orthogonal Procrustes (Schoenemann 1966): from pairs of clean states H and payloads Y of a client, the rotation Q that
  minimises ``||H Q - Y||^2 + l ||Q - I||^2`` is ``U V^T`` of the singular value decomposition of ``H^T Y + l I``; the
  payload is turned back by Q^T. The second term keeps Q at the identity where no pair says otherwise.

Does not capture: language models as a prior over the text, attacks that use gradients.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

#: Added to within-class variances, as a share of the mean variance.
RIDGE = 1e-2
#: Weight l of staying at the identity, as a share of the mean eigenvalue of H^T H.
STAY = 1e-2


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


def nearest_mean(known: Known, states: Tensor, basis: Tensor | None = None) -> Tensor:
    """Tokens ``[n]`` of ``states`` ``[n, D]``: those of the nearest class means, compared along ``basis`` ``[D, k]``."""
    x, means = states.double(), known.means
    if basis is not None:
        x, means = x @ basis.double(), means @ basis.double()
    return known.classes[torch.cdist(x, means).argmin(dim=1)]


def complement(states: Tensor, rank: int) -> Tensor:
    """All but the ``rank`` principal directions of ``states``: ``[D, D - rank]``."""
    x = states.double()
    centred = x - x.mean(dim=0)
    vectors = torch.linalg.eigh(centred.t() @ centred).eigenvectors
    kept: Tensor = vectors[:, : max(1, vectors.shape[1] - rank)]
    return kept


def discriminant(known: Known, states: Tensor) -> Tensor:
    """Tokens ``[n]`` by a linear discriminant with shrunk means and frequencies as a prior."""
    whiten, shrunk, spread = known.shape
    width = whiten.shape[0]
    distance = torch.cdist(states.double() @ whiten, shrunk).square()
    score = -0.5 * distance / spread - 0.5 * width * spread.log() + known.counts.log()
    return known.classes[score.argmax(dim=1)]


def procrustes(clean: Tensor, payload: Tensor) -> Tensor:
    """The rotation Q ``[D, D]`` (float64) that best takes ``clean`` to ``payload``, both ``[m, D]``, near the identity."""
    h, y = clean.double(), payload.double()
    width = h.shape[1]
    stay = STAY * float(h.square().sum()) / width
    left, _, right = torch.linalg.svd(h.t() @ y + stay * torch.eye(width, dtype=h.dtype, device=h.device))
    turn: Tensor = left @ right
    return turn
