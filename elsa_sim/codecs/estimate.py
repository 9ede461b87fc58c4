"""The linear estimate of a vector from its sketch: what is known of such vectors fills in what the sketch leaves open.

A count sketch is a known linear map, ``t = S h`` with S ``[K, D]``. With the mean m and covariance C of hidden states at the
cut, the linear least-squares estimate is

    h' = m + A (t - S m),   A = C S^T (S C S^T + e I)^-1   [D, K]

(Gauss-Markov; the conditional mean if states are Gaussian). Its expected squared error is ``tr((I - A S) C)``. Where nothing is
known, A is the pseudo-inverse of S. Where S has full column rank, the pseudo-inverse is exact, and is used.

Tested in tests/codecs/test_estimate.py.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..base.lazy import lazy

if TYPE_CHECKING:
    import torch

    from .turn import View
else:
    torch = lazy("torch")

#: Estimates that moments keep: one for each sketch and each turn that is in use.
REMEMBERED = 64
#: e, as a share of the mean variance of a bucket.
RIDGE = 1e-9


@dataclass(frozen=True, eq=False)
class Moments:
    """Mean ``[D]`` and covariance ``[D, D]`` (float64) of hidden states, and the latest estimates that were made from them."""

    mean: torch.Tensor
    covariance: torch.Tensor
    _made: dict[tuple[Hashable, View | None], Estimate] = field(default_factory=dict, repr=False)
    _errors: dict[Hashable, float] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, states: torch.Tensor) -> Moments:
        """The moments of ``states`` ``[m, D]``."""
        x = states.double()
        mean = x.mean(dim=0)
        centred = x - mean
        return cls(mean, centred.t() @ centred / len(x))

    def behind(self, view: View | None) -> Moments:
        """The moments of states that look as ``view`` says."""
        if view is None:
            return self
        return Moments(view.mean(self.mean), view.covariance(self.mean, self.covariance))

    def expected_error(self, key: Hashable, matrix: torch.Tensor) -> float:
        """See :func:`relative_error`; remembered by ``key``, which names the sketch ``matrix``."""
        if key not in self._errors:
            self._errors[key] = relative_error(matrix.to(self.mean.device), self)
        return self._errors[key]

    def estimate(self, key: Hashable, matrix: torch.Tensor, view: View | None = None) -> Estimate:
        """The estimate from the sketch ``matrix`` S ``[K, D]``, which ``key`` names, of states that look as ``view`` says."""
        place = key, view
        found = self._made.pop(place, None)
        if found is None:
            looked_at = self.behind(view)
            a = estimator(matrix.to(self.mean.device), looked_at.covariance)
            found = Estimate(looked_at.mean.float(), a.float())
        self._made[place] = found
        while len(self._made) > REMEMBERED:
            self._made.pop(next(iter(self._made)), None)
        return found


@dataclass(frozen=True, eq=False)
class Estimate:
    """m ``[D]`` and A ``[D, K]`` of h' = m + A (t - S m), in float32."""

    mean: torch.Tensor
    matrix: torch.Tensor


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
    error = (
        (lost @ moments.covariance @ lost.t()).trace().clamp_min(0.0)
    )  # few public tokens: nothing is lost but rounding
    return float(error / (moments.covariance.trace() + moments.mean.square().sum()))
