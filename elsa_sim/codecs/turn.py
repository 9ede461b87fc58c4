"""A secret turn of hidden states, and how turned states look to those who know it and to those who do not.

A row h of ``[n, D]`` becomes h Q, ``Q = I + V (W - I) V^T`` with orthonormal V ``[D, r]`` and W orthogonal ``[r, r]``; it is never
formed. What public text tells of states, their mean m and covariance C, it tells of turned ones, too: who knows Q has m Q and
Q^T C Q. Who knows V only expects what W does on average over keys. That average commutes with all rotations of V, so it
scales: E[W] = c I and, for symmetric M without a trace, E[W^T M W] = b M. At full strength W is Haar, and b = c = 0; below,
they are means over a few rotations.

Tested in tests/codecs/test_turn.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..base.lazy import lazy
from ..base.streams import Streams

if TYPE_CHECKING:
    import torch
    from scipy import linalg
else:
    linalg, torch = lazy("scipy.linalg"), lazy("torch")


class View(Protocol):
    """How states look: their moments, from those of states as they are."""

    def mean(self, mean: torch.Tensor) -> torch.Tensor:
        """The mean [D] (float64)."""

    def covariance(self, mean: torch.Tensor, covariance: torch.Tensor) -> torch.Tensor:
        """The covariance [D, D] (float64)."""


@dataclass(frozen=True, eq=False)
class Turn:
    """A turn that is known: V ``[D, r]`` (``None``: all D directions as they are) and W - I ``[r, r]``."""

    basis: torch.Tensor | None
    change: torch.Tensor

    def __call__(self, x: torch.Tensor, *, back: bool = False) -> torch.Tensor:
        """x Q of rows ``x`` [n, D], or x Q^T, in at least the basis' precision."""
        dtype = torch.promote_types(x.dtype, self.change.dtype)
        wide = x.to(dtype)
        change = self.change.to(x.device, dtype)
        change = change.t() if back else change
        if self.basis is None:
            return wide + wide @ change
        basis = self.basis.to(x.device, dtype)
        return wide + (wide @ basis) @ change @ basis.t()

    def mean(self, mean: torch.Tensor) -> torch.Tensor:
        return self(mean[None])[0]

    def covariance(self, mean: torch.Tensor, covariance: torch.Tensor) -> torch.Tensor:
        return self(self(covariance).t())


@dataclass(frozen=True, eq=False)
class UnknownTurn:
    """A turn of which the directions V ``[D, r]`` are known (``None``: all), and of W what it does on average."""

    basis: torch.Tensor | None
    c: float = 0.0
    b: float = 0.0

    def mean(self, mean: torch.Tensor) -> torch.Tensor:
        basis = self._basis(mean)
        return mean + (self.c - 1.0) * (mean @ basis) @ basis.t()

    def covariance(self, mean: torch.Tensor, covariance: torch.Tensor) -> torch.Tensor:
        basis = self._basis(mean)
        along = basis.t() @ covariance  # [r, D]
        inner, part = along @ basis, mean @ basis
        second = inner + torch.outer(part, part)  # second moments along V
        even = second.trace() / len(second) * torch.eye(len(second), dtype=second.dtype, device=second.device)
        turned = even + self.b * (second - even) - self.c**2 * torch.outer(part, part)
        across = basis @ (along - inner @ basis.t())  # V V^T C (I - V V^T)
        rest = covariance - across - across.t() - basis @ inner @ basis.t()
        return rest + self.c * (across + across.t()) + basis @ turned @ basis.t()

    def _basis(self, like: torch.Tensor) -> torch.Tensor:
        if self.basis is None:
            return torch.eye(len(like), dtype=like.dtype, device=like.device)
        return self.basis.to(like.device, like.dtype)


@lru_cache(maxsize=64)
def rotation(
    seed: int, rank: int, strength: float, number: tuple[int, ...] = ()
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """W ``[r, r]`` of a seed: exp(strength log W_1), W_1 Haar on SO(r); another one for every ``number``."""
    if strength == 0:
        return np.eye(rank)
    q, r = np.linalg.qr(Streams(seed).numpy("ssop", rank, *number).standard_normal((rank, rank)))
    haar = q * np.sign(np.diag(r))  # Haar on O(r): QR made unique
    if np.linalg.det(haar) < 0:
        haar[:, 0] *= -1
    if strength == 1:
        return np.asarray(haar)
    triangle, unitary = linalg.schur(haar, output="complex")  # a normal matrix: the triangle is diagonal
    powers = np.exp(1j * strength * np.angle(np.diag(triangle)))
    return np.asarray(((unitary * powers) @ unitary.conj().T).real, dtype=np.float64)


@lru_cache(maxsize=16)
def averages(rank: int, strength: float) -> tuple[float, float]:
    """c and b of rotations of a ``strength``; see the module."""
    if strength in (0, 1):
        return 1.0 - strength, 1.0 - strength
    draws = range(32 if rank <= 16 else 4)
    turns = [rotation(seed, rank, strength) for seed in draws]
    c = float(np.mean([np.trace(turn) / rank for turn in turns]))
    probe = np.diag(np.where(np.arange(rank) % 2, -1.0, 1.0))
    probe -= np.trace(probe) / rank * np.eye(rank)
    b = float(np.mean([np.trace(probe @ turn.T @ probe @ turn) for turn in turns]) / (probe**2).sum())
    return c, b


@lru_cache(maxsize=32)
def unknown(directions: torch.Tensor | None, width: int, strength: float) -> UnknownTurn:
    """One object for directions V (``None``: all ``width``), because estimates are remembered by it."""
    return UnknownTurn(directions, *averages(width if directions is None else directions.shape[1], strength))


@lru_cache(maxsize=16)
def drawn(seed: int, width: int, rank: int) -> torch.Tensor:
    """V ``[D, r]`` (float32) at random, of a seed; one object each time."""
    sample = Streams(seed).numpy("ssop directions", width, rank).standard_normal((width, rank))
    return torch.from_numpy(np.linalg.qr(sample)[0]).float()


def principal(x: torch.Tensor, rank: int) -> torch.Tensor:
    """Top right singular vectors ``[D, r]`` (float64) of the centred finite rows of ``x`` ``[n, D]``; r <= ``rank``."""
    rows = x[x.isfinite().all(dim=-1)].double()
    if rows.shape[0] < 2:
        return rows.new_zeros(x.shape[-1], 0)
    centred = rows - rows.mean(dim=0)
    tall = centred.shape[0] > centred.shape[1]
    values, vectors = torch.linalg.eigh(centred.t() @ centred if tall else centred @ centred.t())  # ascending
    count = min(rank, int((values > NOISE * rows.square().sum()).sum()))
    top = vectors[:, vectors.shape[1] - count :].flip(1)
    basis: torch.Tensor = torch.linalg.qr(top if tall else centred.t() @ top)[0]
    return basis


#: Directions with less than this share of the squared norm of the rows are rounding noise of float32.
NOISE = 1e-12
