"""The linear estimate of a vector from its sketch: what is known of such vectors fills in what the sketch leaves open.

A count sketch is a known linear map, ``t = S h`` with S ``[K, D]``. With the mean m and covariance C of hidden states at the
cut, the linear least-squares estimate is

    h' = m + A (t - S m),   A = C S^T (S C S^T + e I)^-1   [D, K]

(Gauss-Markov; the conditional mean if states are Gaussian). Its expected squared error is ``tr((I - A S) C)``. Where nothing is
known, A is the pseudo-inverse of S. Where S has full column rank, the pseudo-inverse is exact, and is used.

Tested in tests/codecs/test_estimate.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..base.lazy import lazy

if TYPE_CHECKING:
    import torch
else:
    torch = lazy("torch")

#: e, as a share of the mean variance of a bucket.
RIDGE = 1e-9


@dataclass(frozen=True, eq=False)
class Moments:
    """Mean ``[D]`` and covariance ``[D, D]`` (float64) of hidden states, and the estimators that were made from them."""

    mean: torch.Tensor
    covariance: torch.Tensor
    _made: dict[tuple[int, int, int], torch.Tensor] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, states: torch.Tensor) -> Moments:
        """The moments of ``states`` ``[m, D]``."""
        x = states.double()
        mean = x.mean(dim=0)
        centred = x - mean
        return cls(mean, centred.t() @ centred / len(x))

    def estimator(self, key: tuple[int, int, int], matrix: torch.Tensor) -> torch.Tensor:
        """A ``[D, K]`` (float64) for the sketch ``matrix`` S ``[K, D]``, which ``key`` names; made once."""
        if key not in self._made:
            self._made[key] = estimator(matrix, self.covariance)
        return self._made[key]


def estimator(matrix: torch.Tensor, covariance: torch.Tensor | None) -> torch.Tensor:
    """A ``[D, K]`` (float64) for the sketch ``matrix`` S ``[K, D]`` of vectors with a ``covariance``, if it is known."""
    s = matrix.double()
    exact = s.shape[0] >= s.shape[1] and int(torch.linalg.matrix_rank(s)) == s.shape[1]
    if covariance is None or exact:
        blind: torch.Tensor = torch.linalg.pinv(s)
        return blind
    across = covariance @ s.t()
    within = s @ across
    ridge = RIDGE * within.diagonal().mean().clamp_min(torch.finfo(torch.float64).tiny)
    eye = torch.eye(len(within), dtype=within.dtype, device=within.device)
    made: torch.Tensor = torch.linalg.solve(within + ridge * eye, across.t()).t()
    return made


def relative_error(matrix: torch.Tensor, moments: Moments) -> float:
    """Expected squared error of the estimate over the expected squared norm of a state."""
    kept = estimator(matrix, moments.covariance) @ matrix.double()
    lost = torch.eye(len(kept), dtype=kept.dtype, device=kept.device) - kept
    error = (lost @ moments.covariance @ lost.t()).trace()
    return float(error / (moments.covariance.trace() + moments.mean.square().sum()))
