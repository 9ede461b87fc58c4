"""What the cloud concludes from the reports of all clients.

Tested in tests/protocols/test_elsa.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .divergence import divergences
from .fingerprint import Array, Gaussian
from .groups import affinity, behaviour_groups
from .trust import by_deviations, by_predictions, by_similarity


@dataclass(frozen=True, eq=False)
class ClientScores:
    """What is found out about N clients: divergences R [N, N], behaviour groups [N], trust [N]."""

    divergences: Array
    groups: NDArray[np.int64]
    trust: Array


def compare(reports: Sequence[Mapping[str, Array]], groups: int, *, centred: bool = False) -> ClientScores:
    """Compare reports: ``mean`` and ``covariance`` (its lower triangle), ``predictions`` or ``similarity`` (likewise).

    ``centred`` takes the class priors out of predictions. What the reports lack is left open: full trust, no
    divergence, one group.
    """
    trust, apart = np.ones(len(reports)), np.zeros((len(reports),) * 2)
    if "predictions" in reports[0]:
        said = np.stack([each["predictions"] for each in reports])
        trust = by_deviations(said) if centred else by_predictions(said)
    elif "similarity" in reports[0]:
        trust = by_similarity(np.stack([whole(each["similarity"]) for each in reports]))
    if "mean" not in reports[0]:
        return ClientScores(apart, np.zeros(len(reports), dtype=np.int64), trust)
    apart = divergences([Gaussian(each["mean"], whole(each["covariance"])) for each in reports])
    return ClientScores(apart, behaviour_groups(affinity(apart, trust), groups), trust)


def lower(symmetric: Array) -> Array:
    """The lower triangle [n (n + 1) / 2] of a symmetric matrix [n, n]."""
    return symmetric[np.tril_indices(len(symmetric))]


def whole(triangle: Array) -> Array:
    """The symmetric matrix of a lower triangle."""
    size = int((np.sqrt(8 * len(triangle) + 1) - 1) / 2)
    found = np.zeros((size, size))
    found[np.tril_indices(size)] = triangle
    return found + found.T - np.diag(np.diag(found))
