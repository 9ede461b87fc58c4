"""How differently two clients behave: the symmetric Kullback-Leibler divergence of their fingerprints, in nats.

R(n, m) = (KL(N_n || N_m) + KL(N_m || N_n)) / 2, with the closed form of Gaussians (ELSA, arXiv:2601.13824). The log
determinants of the two directions cancel:

    R = (tr(S_m^-1 S_n) + tr(S_n^-1 S_m) - 2 k + (mu_n - mu_m)^T (S_n^-1 + S_m^-1) (mu_n - mu_m)) / 4
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .fingerprint import Array, Gaussian


def divergences(gaussians: Sequence[Gaussian]) -> Array:
    """R [N, N] of every pair: symmetric, zero on the diagonal, in float64."""
    means = np.stack([g.mean for g in gaussians]).astype(np.float64)
    covariances = np.stack([g.covariance for g in gaussians]).astype(np.float64)
    precisions = np.linalg.inv(covariances)
    count, size = means.shape
    traces = precisions.reshape(count, -1) @ covariances.reshape(count, -1).T
    found = np.asarray(traces + traces.T - 2.0 * size) / 4.0
    for n in range(count):
        apart = means - means[n]
        found[n] += np.einsum("mi,mij,mj->m", apart, precisions + precisions[n], apart) / 4.0
    found = np.maximum((found + found.T) / 2.0, 0.0)
    np.fill_diagonal(found, 0.0)
    return found


def typical(found: Array) -> float:
    """The median of R over all pairs of clients; 1 where there is none, or no client differs from another."""
    pairs = found[np.triu_indices(len(found), 1)]
    median = float(np.median(pairs)) if len(pairs) else 0.0
    return median if median > 0.0 else 1.0
