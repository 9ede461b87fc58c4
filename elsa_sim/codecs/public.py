"""Public text as codecs see it: hidden states at a cut, and the directions in which they vary.

Both ends of the wire, and any attacker, know public text and the frozen backbone, so what is fitted to them is no
secret and need not be sent: it comes with the weights. What is fitted to *trained* adapters is fitted by the server,
which aggregates them, and sent to the clients.

Tested in tests/codecs/test_fewer_bytes.py.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

from ..base.lazy import lazy
from .estimate import Moments

if TYPE_CHECKING:
    import torch
    from scipy import linalg
else:
    linalg, torch = lazy("scipy.linalg"), lazy("torch")

T = TypeVar("T")
BasisKind: TypeAlias = Literal["variance", "semantic"]
#: Added to within-text variances, as a share of the mean variance: directions of no variance have no ratio.
RIDGE = 1e-2


@dataclass(frozen=True)
class Sample:
    """Hidden states ``[m, D]`` of public tokens, and the number of the text that each belongs to ``[m]``."""

    states: torch.Tensor
    texts: torch.Tensor


@dataclass(frozen=True, eq=False)
class Basis:
    """Orthonormal ``directions`` ``[D, k]``, best first; the ``mean`` ``[D]``; variance along all D of them ``[D]``."""

    mean: torch.Tensor
    directions: torch.Tensor
    variances: torch.Tensor

    def gain(self, rank: int) -> float:
        """The factor that gives the first ``rank`` coordinates the variance of all of them."""
        kept = float(self.variances[:rank].sum())
        return float(self.variances.sum() / kept) ** 0.5 if kept > 0 else 1.0

    def rank(self, error: float) -> int:
        """How many directions leave at most ``error`` of the total variance."""
        variances = self.variances.double()
        left = 1.0 - variances.cumsum(0) / variances.sum()
        return min(len(left), int((left > error + 1e-9).sum()) + 1)


class Public(ABC):
    """Hidden states of public text at any cut, as of any round."""

    def __init__(self) -> None:
        self._fitted: dict[tuple[int, int, BasisKind], Basis] = {}
        self._made: dict[tuple[object, ...], Any] = {}
        self._moments: dict[tuple[int, int], Moments] = {}

    @abstractmethod
    def sample(self, layer: int, round: int) -> Sample:
        """States after ``layer`` layers, with the adapters as they were after ``round`` (0: those of the start)."""

    def basis(self, layer: int, round: int, by: BasisKind) -> Basis:
        """The directions of that sample; a pure function of it, remembered."""
        key = layer, round, by
        if key not in self._fitted:
            self._fitted[key] = fit(self.sample(layer, round), by)
        return self._fitted[key]

    def moments(self, layer: int, round: int) -> Moments:
        """Mean and covariance of that sample; remembered."""
        if (layer, round) not in self._moments:
            self._moments[layer, round] = Moments.of(self.sample(layer, round).states)
        return self._moments[layer, round]

    def first(self, layer: int, round: int, by: BasisKind, rank: int) -> Basis:
        """The same with its first ``rank`` directions only."""
        basis = self.basis(layer, round, by)
        return self.remembered(
            (layer, round, by, rank),
            lambda: Basis(basis.mean, basis.directions[:, :rank].contiguous(), basis.variances),
        )

    def remembered(self, key: tuple[object, ...], make: Callable[[], T]) -> T:
        """What ``make`` made under ``key``, one object each time: others remember by it what they make of it."""
        if key not in self._made:
            self._made[key] = make()
        found: T = self._made[key]
        return found


def fit(sample: Sample, by: BasisKind) -> Basis:
    """Directions of a sample, in float64, kept in float32.

    ``variance``: principal directions of all tokens. ``semantic``: directions in which the variance between texts is
    largest against that within texts (Fisher's discriminant with texts as classes), made orthonormal in that order:
    what the tokens of a text have in common comes first, what tells a token from its neighbours last.
    """
    x = sample.states.double()
    mean = x.mean(dim=0)
    centred = x - mean
    total = centred.t() @ centred / len(x)
    if by == "variance":
        directions = torch.linalg.eigh(total).eigenvectors.flip(1)
    else:
        group = torch.unique(sample.texts, return_inverse=True)[1]
        sums = x.new_zeros(int(group.max()) + 1, x.shape[1]).index_add(0, group, centred)
        within = centred - (sums / group.bincount()[:, None])[group]
        inside = within.t() @ within / len(x)
        ridge = RIDGE * total.trace() / len(total)
        inside = inside + ridge * torch.eye(len(total), dtype=x.dtype, device=x.device)
        _, found = linalg.eigh((total - inside).cpu().numpy(), inside.cpu().numpy())
        directions = torch.linalg.qr(torch.from_numpy(found[:, ::-1].copy()).to(x.device)).Q
    signs = directions.gather(0, directions.abs().argmax(0, keepdim=True)).sign()
    directions = directions * signs
    variances = (centred @ directions).square().mean(dim=0)
    return Basis(mean.float(), directions.float(), variances.float())
