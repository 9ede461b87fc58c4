"""Which client holds which training samples.

A partition is a list of index arrays, one per client: disjoint, each sorted, together all samples. Sorted indices
make a one-client partition the identity, so a one-client run meets the batches of centralised training.

Quantity skew is a kind of its own (`quantity`), not an option of the others. Does not model: samples that several
clients hold, clients that gain or lose samples during a run, and a partition of the test set (evaluation is global).
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ...base.listing import listed
from ...base.registry import Component
from .base import Split, fault
from .tables import did_you_mean

Indices = NDArray[np.int64]
_DRAWS = 1000


class Partition(Component):
    """How the training samples are dealt to the clients."""

    family: ClassVar[str] = "partition"
    remedy: ClassVar[str] = "use fewer clients or more training samples"

    kind: str
    min_samples: int = Field(default=1, ge=1)
    """Fewest samples a client may hold; random partitions are drawn anew until they meet it."""

    def split(self, split: Split, clients: int, rng: np.random.Generator) -> list[Indices]:
        """Sorted sample indices per client, disjoint, together ``0 .. len(split) - 1``.

        Raises:
            InputFaults: a client would hold fewer than ``min_samples`` samples (it is named), or the samples lack what
                the partition needs (labels, a column). Paths are relative to the partition's section.
            ValueError: ``clients`` is less than 1.
        """
        if clients < 1:
            raise ValueError(f"clients must be at least 1, got {clients}")
        if len(split) < clients * self.min_samples:
            raise fault(
                "",
                f"{len(split)} training samples cannot give {clients} clients "
                f"{self.min_samples} each; use fewer clients or more training samples",
            )
        if clients == 1:
            return [np.arange(len(split), dtype=np.int64)]
        parts = self.deal(split, clients, rng)
        short = [client for client, part in enumerate(parts) if len(part) < self.min_samples]
        if short:
            raise fault(
                "",
                f"{len(short)} of {clients} clients hold fewer than {self.min_samples} samples: "
                f"{listed(short, 12)} (counted from 0); {self.remedy}",
            )
        return [np.sort(part).astype(np.int64, copy=False) for part in parts]

    @abstractmethod
    def deal(self, split: Split, clients: int, rng: np.random.Generator) -> list[Indices]:
        """The parts, each in any order; a member of the family implements this."""


class Iid(Partition):
    """Every client a random sample of equal size (to within one)."""

    kind: Literal["iid"] = "iid"

    def deal(self, split: Split, clients: int, rng: np.random.Generator) -> list[Indices]:
        return np.array_split(rng.permutation(len(split)), clients)


class Quantity(Partition):
    """Quantity skew: client sizes from Dirichlet(alpha), samples at random (Li et al. 2022)."""

    kind: Literal["quantity"] = "quantity"
    remedy: ClassVar[str] = f"so it was in each of {_DRAWS} draws; raise alpha, lower min_samples, or use fewer clients"

    alpha: float = Field(default=1.0, gt=0.0)
    """Concentration: small is unequal, large is equal sizes."""

    def deal(self, split: Split, clients: int, rng: np.random.Generator) -> list[Indices]:
        [sizes] = _counts(np.array([len(split)]), self.alpha, clients, self.min_samples, rng)
        return np.split(rng.permutation(len(split)), np.cumsum(sizes)[:-1])


class _ByGroup(Partition):
    """Partitions that look at the class of a sample, or at another column."""

    column: str | None = None
    """Skew this column of the data instead of the class label; needed for causal_lm."""

    def groups(self, split: Split) -> NDArray[np.int64]:
        """A group number per sample, in the order of labels or of column values."""
        if self.column is not None:
            return np.unique(_column(split, self.column), return_inverse=True)[1].astype(np.int64)
        if split.labels is None:
            columns = f" (column: {listed(split.columns, 8)})" if split.columns else ""
            raise fault(
                "kind",
                "the task has no class labels to skew; name a column to skew instead"
                f"{columns}, or use iid, quantity or by_column",
            )
        return split.labels


class Dirichlet(_ByGroup):
    """Label skew: each class is shared out to the clients by its own Dirichlet(alpha) draw.

    p_k ~ Dir_N(alpha), client j gets the share p_k,j of class k (Li et al. 2022, "Federated learning on non-IID data
    silos", section 4.1, arXiv 2102.02079; the skew of Hsu et al. 2019, arXiv 1909.06335, who draw class shares per
    client instead). Sizes differ, too. Shares are rounded down cumulatively, so a count is within one of p n. A draw
    that leaves a client under ``min_samples`` is drawn anew, at most 1000 times.
    """

    kind: Literal["dirichlet"] = "dirichlet"
    remedy: ClassVar[str] = f"so it was in each of {_DRAWS} draws; raise alpha, lower min_samples, or use fewer clients"

    alpha: float = Field(gt=0.0)
    """Concentration: 0.1 gives most clients one or two classes, 100 is close to iid."""

    def deal(self, split: Split, clients: int, rng: np.random.Generator) -> list[Indices]:
        groups = self.groups(split)
        present, sizes = np.unique(groups, return_counts=True)
        owner = np.empty(len(split), dtype=np.int64)
        counts = _counts(sizes, self.alpha, clients, self.min_samples, rng)
        for group, held in zip(present, counts, strict=True):
            owner[rng.permutation(np.flatnonzero(groups == group))] = np.repeat(np.arange(clients), held)
        return _by_owner(owner, clients)


class Shards(_ByGroup):
    """Label skew: samples sorted by class are cut into equal shards, a few to each client (McMahan et al. 2017)."""

    kind: Literal["shards"] = "shards"
    remedy: ClassVar[str] = "use fewer shards or fewer clients"

    shards: int = Field(default=2, ge=1)
    """Shards per client: at most about this many classes on each."""

    def deal(self, split: Split, clients: int, rng: np.random.Generator) -> list[Indices]:
        count = clients * self.shards
        if count > len(split):
            raise fault(
                "shards",
                f"{clients} clients with {self.shards} shards each need {count} samples, "
                f"there are {len(split)}; at most {len(split) // clients} shards",
            )
        order = rng.permutation(len(split))
        order = order[np.argsort(self.groups(split)[order], kind="stable")]
        pieces = np.array_split(order, count)
        dealt = rng.permutation(count).reshape(clients, self.shards)
        return [np.concatenate([pieces[shard] for shard in row]) for row in dealt]


class ByColumn(Partition):
    """Natural partition: samples with the same value of a column stay together on one client."""

    kind: Literal["by_column"] = "by_column"
    remedy: ClassVar[str] = "use fewer clients than the column has values, or another column"

    column: str
    """Column of the data whose values (writers, regions, topics, ...) are dealt to the clients in random order."""

    def deal(self, split: Split, clients: int, rng: np.random.Generator) -> list[Indices]:
        values, group = np.unique(_column(split, self.column), return_inverse=True)
        if len(values) < clients:
            raise fault(
                "column",
                f"{self.column!r} has {len(values)} values for {clients} clients, so clients "
                f"{len(values)} to {clients - 1} (counted from 0) hold nothing; "
                f"use at most {len(values)} clients, or another column",
            )
        owner_of_value = rng.permutation(np.arange(len(values)) % clients)
        return _by_owner(owner_of_value[group], clients)


def _column(split: Split, name: str) -> NDArray[np.str_]:
    if name not in split.columns:
        valid = f"valid: {listed(split.columns, 8, quoted=True)}" if split.columns else "it has none"
        raise fault("column", f"the data have no column {name!r}; {valid}{did_you_mean(name, split.columns)}")
    return split.columns[name].astype(np.str_)


def _counts(
    sizes: NDArray[np.int64], alpha: float, clients: int, least: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """How many samples of each group each client gets, [groups, clients]: Dirichlet(alpha) shares of every group.

    Drawn anew until every client has ``least`` samples in all, at most 1000 times; the last draw is returned anyway.
    ``alpha`` beyond double precision is replaced by its limit: one client takes the group, or equal shares.
    """
    for _ in range(_DRAWS):
        if alpha < 1e-6:
            shares = np.zeros((len(sizes), clients))
            shares[np.arange(len(sizes)), rng.integers(clients, size=len(sizes))] = 1.0
        else:
            shares = rng.dirichlet(np.full(clients, min(alpha, 1e12)), size=len(sizes))
        cuts = np.floor(np.cumsum(shares, axis=1) * sizes[:, None] + 1e-9).astype(np.int64)
        cuts = np.minimum(cuts, sizes[:, None])
        cuts[:, -1] = sizes
        counts = np.diff(cuts, axis=1, prepend=0)
        if counts.sum(axis=0).min() >= least:
            break
    return counts


def _by_owner(owner: NDArray[np.int64], clients: int) -> list[Indices]:
    order = np.argsort(owner, kind="stable")
    return np.split(order, np.searchsorted(owner[order], np.arange(1, clients)))
