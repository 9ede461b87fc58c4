"""How far a client can be trusted: does it say about public probe texts what the others say?

The paper's (ELSA, arXiv:2601.13824): trust by prediction consistency. Our reading: t_n in [0, 1] is one minus the mean
over probes of the Jensen-Shannon divergence (base 2) of client n's predictive distribution from the trust-weighted
consensus of the others,

    t_n = 1 - mean_j JS(P_n^j, sum_{m != n} t_m P_m^j / sum_{m != n} t_m),

iterated from t = 1 to its fixed point. Clients that saw few classes predict these everywhere, however honest; so ``centred``
(beyond the paper) first takes each client's class prior out, X_n = P_n - mean_j P_n^j, so that what counts is which probes
go to which class. A divergence would not do for that: who says nothing about the probes diverges from nobody by much,
and would be trusted most. So clients are compared by direction, and trust is as good as certain while there is
nothing to know yet:

    c_n = max(0, cos(X_n, sum_{m != n} c_m X_m)),    t_n = 1 - k (1 - c_n),
    k = (TV / (1 - 1/C))^(1/2),  TV the mean over probes of the total variation of the mean of all X_m,

c to its fixed point; k in [0, 1] is how far clients together tell probes of C classes apart. Where clients have different
label spaces, their probe-by-probe similarity matrices are compared instead: centred Gram matrices of the
representations, by their cosine (linear CKA, Kornblith et al., arXiv:1905.00414). Does not model: clients that collude
to be the majority, or that answer probes honestly and cheat elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .fingerprint import Array

#: Iterations after which the fixed point is taken as it is, and how still it has to stand.
MOST, STILL = 200, 1e-12


def jensen_shannon(p: Array, q: Array) -> Array:
    """JS(p, q) in bits, in [0, 1], of distributions along the last axis."""
    middle = (p + q) / 2.0
    return np.clip((_relative(p, middle) + _relative(q, middle)) / 2.0, 0.0, 1.0)


def _relative(p: Array, q: Array) -> Array:
    """KL(p || q) in bits along the last axis, where q > 0 wherever p > 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(p > 0.0, p * np.log2(np.where(p > 0.0, p / q, 1.0)), 0.0)
    return np.asarray(terms.sum(-1))


def by_predictions(predictions: Array) -> Array:
    """Trust [N] from predictive distributions [N, Q, C]."""

    def agreement(own: Array, consensus: Array) -> float:
        return 1.0 - float(jensen_shannon(own, consensus).mean())

    return _fixed_point(predictions, agreement)


def by_deviations(predictions: Array) -> Array:
    """Trust [N] from what predictive distributions [N, Q, C] say beyond each client's mean over the probes."""
    said = predictions - predictions.mean(-2, keepdims=True)
    variation = float(np.abs(said.mean(0)).sum(-1).mean()) / 2.0
    known = min(1.0, np.sqrt(variation / (1.0 - 1.0 / predictions.shape[-1])))
    return np.asarray(1.0 - known * (1.0 - by_similarity(said)))


def by_similarity(similarities: Array) -> Array:
    """Trust [N] from the cosine of matrices [N, ...] with the consensus, such as those of :func:`similarity`."""

    def agreement(own: Array, consensus: Array) -> float:
        length = float(np.linalg.norm(own) * np.linalg.norm(consensus))
        return float(np.clip((own * consensus).sum() / length, 0.0, 1.0)) if length > 0.0 else 0.0

    return _fixed_point(similarities, agreement)


def similarity(representations: Array) -> Array:
    """The centred Gram matrix [Q, Q] of representations [Q, D], scaled to Frobenius norm 1 (0 if all are equal)."""
    centred = representations - representations.mean(0)
    gram = centred @ centred.T
    length = float(np.linalg.norm(gram))
    return np.asarray(gram / length) if length > 0.0 else gram


def _fixed_point(said: Array, agreement: Callable[[Array, Array], float]) -> Array:
    """t = F(t), from t = 1, where F compares each with the t-weighted mean of the others; one client agrees with itself."""
    count = len(said)
    trust = np.ones(count)
    if count == 1:
        return trust
    for _ in range(MOST):
        weights = np.maximum(trust, 1e-12)  # nobody's word would leave no consensus
        total = np.tensordot(weights, said, 1)
        following = np.array(
            [agreement(own, (total - w * own) / (weights.sum() - w)) for own, w in zip(said, weights, strict=True)]
        )
        moved = float(np.abs(following - trust).max())
        trust = following
        if moved < STILL:
            break
    return trust
