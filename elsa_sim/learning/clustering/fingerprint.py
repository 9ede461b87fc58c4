"""A client's behaviour as a Gaussian: where public probe texts lie in its representation space (ELSA, arXiv:2601.13824).

The paper's: client n's fingerprint is N(mu_n, Sigma_n) of its representations T_n^j of Q probe texts. Our reading: with Q of
the order of the hidden size D, the sample covariance in R^D is singular, so the Gaussian lives in k << D principal
directions of the *pretrained* model's representations of the same texts, which every client shares, and its covariance
is shrunk (Ledoit and Wolf, 2004). Directions are scaled to unit variance of the pretrained model, as the shrinkage is
towards a multiple of the identity. Does not model: differences between clients outside those directions.
Tested in tests/learning/clustering/test_divergence.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Projection:
    """From representations to k shared coordinates: ``(x - mean) @ basis``; mean [D], basis [D, k]."""

    mean: Array
    basis: Array

    @classmethod
    def fit(cls, representations: Array, dimensions: int) -> Projection:
        """The first ``dimensions`` principal directions of representations [Q, D], each scaled to unit variance.

        Raises:
            ValueError: there are not that many: ``dimensions`` is over min(Q - 1, D).
        """
        count, hidden = representations.shape
        if not 1 <= dimensions <= min(count - 1, hidden):
            raise ValueError(f"{count} representations in R^{hidden} span at most {min(count - 1, hidden)} directions")
        mean = representations.mean(0)
        _, values, directions = np.linalg.svd(representations - mean, full_matrices=False)
        deviation = np.maximum(values[:dimensions], 1e-12 * max(values[0], 1e-300)) / np.sqrt(count - 1)
        first = directions[:dimensions]
        signs = np.sign(first[np.arange(dimensions), np.abs(first).argmax(1)])  # the sign of a direction is arbitrary
        return cls(mean, (first * (signs / deviation)[:, None]).T)

    def __call__(self, representations: Array) -> Array:
        """Coordinates [Q, k] of representations [Q, D]."""
        return (representations - self.mean) @ self.basis


@dataclass(frozen=True, eq=False)
class Gaussian:
    """N(mean, covariance): mean [k], covariance [k, k], symmetric and positive definite."""

    mean: Array
    covariance: Array


def fingerprint(points: Array) -> Gaussian:
    """The Gaussian of points [Q, k], its covariance by Ledoit and Wolf's shrinkage."""
    from sklearn.covariance import ledoit_wolf

    covariance, _ = ledoit_wolf(points)
    floor = 1e-9 * max(float(np.trace(covariance)), 1e-9)  # identical points have no extent
    return Gaussian(points.mean(0), covariance + floor * np.eye(points.shape[1]))
