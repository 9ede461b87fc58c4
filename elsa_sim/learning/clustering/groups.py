"""Groups of clients that behave alike: spectral clustering of the trust-weighted affinity t_n t_m exp(-R / median R).

ELSA (arXiv:2601.13824); Ng, Jordan and Weiss, 2001, as scikit-learn has it. Groups are read off the eigenvectors by a
pivoted QR (Damle, Minden and Ying, 2019), which draws no random numbers.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .divergence import typical
from .fingerprint import Array

#: Clients without trust, or far from everyone, stay in the graph by this much.
_LEAST = 1e-6


def affinity(divergences: Array, trust: Array) -> Array:
    """A [N, N] from R [N, N] and trust [N]: in (0, 1], symmetric."""
    weights = np.maximum(trust, _LEAST)
    return np.asarray(np.maximum(np.outer(weights, weights) * np.exp(-divergences / typical(divergences)), _LEAST**2))


def behaviour_groups(affinities: Array, count: int) -> NDArray[np.int64]:
    """The group 0..count - 1 of each client; each its own where there are no more clients than groups."""
    from sklearn.cluster import SpectralClustering

    clients = len(affinities)
    if clients <= count:
        return np.arange(clients)
    if count == 1:
        return np.zeros(clients, dtype=np.int64)
    found = SpectralClustering(count, affinity="precomputed", assign_labels="cluster_qr", random_state=0).fit_predict(
        affinities
    )
    _, first = np.unique(found, return_index=True)  # numbered in the order in which they appear
    names = {int(found[i]): number for number, i in enumerate(sorted(first))}
    return np.array([names[int(each)] for each in found], dtype=np.int64)
