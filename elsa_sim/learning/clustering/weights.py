"""What a contribution counts in an aggregation: data, trust, coherence (ELSA, arXiv:2601.13824).

Edge k: w_n proportional to |D_n| t_n, and 0 for a client in quarantine. Cloud: w_k proportional to the data of the clients that
took part, times the coherence exp(-mean R / median R) of these clients. Our reading: the mean is over pairs of the edge
server's own clients, the median over all pairs, one client is coherent with itself, and a client in quarantine adds no data.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .divergence import typical
from .fingerprint import Array


def edge_weights(samples: Array, trust: Array, threshold: float) -> Array:
    """|D_n| t_n [N], zero for those under ``threshold``."""
    return np.asarray(samples * np.where(trust < threshold, 0.0, trust))


def coherence(divergences: Array, members: Sequence[int]) -> float:
    """exp(-mean divergence / median divergence) in (0, 1] of some clients, from R [N, N] of all."""
    if len(members) < 2:
        return 1.0
    own = divergences[np.ix_(members, members)]
    return float(np.exp(-own[np.triu_indices(len(members), 1)].mean() / typical(divergences)))
