"""Which edge server serves which client: a min-cost flow under capacities and a latency bound (ELSA, arXiv:2601.13824).

Client n sends one unit over an edge server k that it may use to the sink; k lets through ``capacity`` units. The objective is

    lambda * divergence cost + (1 - lambda) * latency / mean latency,

each per client. The paper's: the trade-off under both constraints. Our reading of the divergence cost: for ``similar``
the mean divergence of a client to the behaviour group that its edge server stands for, over the mean divergence of all;
for ``diverse`` the clients of a group that an edge server has beyond its even share, or lacks of it (a convex flow cost).
The constraint matrix of such a flow is totally unimodular, so the linear programme's vertices are integral; HiGHS
solves it exactly. Does not model: the load of an edge server but by its capacity.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ...base.registry import Component
from ...base.units import MOST_COUNT, Seconds
from .fingerprint import Array

Labels = NDArray[np.int64]
#: Latencies that are no further over a bound than this (s) keep to it; what tells equal ones apart is less.
_CLOSE = 1e-12
#: Part of the objective by which ties are broken, towards less latency and then towards the first edge server.
_TIE = 1e-6


@dataclass(frozen=True, eq=False)
class Behaviour:
    """What is known of the clients' behaviour: divergences R [N, N] and behaviour groups [N]."""

    divergences: Array
    groups: Labels

    @classmethod
    def unknown(cls, clients: int) -> Behaviour:
        """Nobody differs from anybody."""
        return cls(np.zeros((clients, clients)), np.zeros(clients, dtype=np.int64))


class Assigner(Component):
    """A way to assign clients to edge servers."""

    family: ClassVar[str] = "assigner"
    #: Whether it looks at behaviour, which only exists where arithmetic is done.
    looks: ClassVar[bool] = False
    kind: str
    capacity: int | None = Field(default=None, ge=1, le=MOST_COUNT)
    """Clients that an edge server serves at most; by default any number."""
    latency_bound: Seconds | None = Field(default=None, gt=0)
    """Latency from a client to its edge server at most."""
    groups: int | None = Field(default=None, ge=1, le=MOST_COUNT)
    """Behaviour groups; by default as many as there are edge servers."""
    dimensions: int = Field(default=8, ge=1, le=MOST_COUNT)
    """Directions k of the space of fingerprints; at most the hidden size, and one less than probe texts."""
    coherence: bool = True
    """Whether an edge server weighs less at the cloud the more its clients differ."""

    def assign(self, latency: Array, behaviour: Behaviour, rng: np.random.Generator) -> Labels:
        """The edge server 0..K - 1 of each client, from latencies [N, K] (s).

        Raises:
            ValueError: no assignment keeps to the capacity and the latency bound.
        """
        raise NotImplementedError

    def feasible(self, latency: Array) -> Labels:
        """An assignment that keeps to the constraints: of those, the one of least latency."""
        return solve(_relative(latency), self.allowed(latency), self.limit(len(latency)))

    def allowed(self, latency: Array) -> NDArray[np.bool_]:
        """[N, K]: where a client is within the latency bound."""
        return latency <= (np.inf if self.latency_bound is None else self.latency_bound + _CLOSE)

    def limit(self, clients: int) -> int:
        """Clients of an edge server at most."""
        return clients if self.capacity is None else self.capacity

    def faults(self, latency: Array) -> Iterator[str]:
        """Why there is no assignment at all, if so."""
        clients, edges = latency.shape
        if self.limit(clients) * edges < clients:
            least = -(-clients // edges)
            yield f"capacity {self.capacity} on {edges} edge servers does not hold {clients} clients; at least {least}"
            return
        alone = int((~self.allowed(latency).any(1)).sum())
        if alone:
            need = float(latency.min(1).max())
            yield (f"latency_bound {self.latency_bound:g} s leaves {alone} of {clients} clients without an edge server; "
                   f"at least {need:g} s")  # fmt: skip
            return
        try:
            self.feasible(latency)
        except ValueError:
            yield "no assignment keeps to both capacity and latency_bound; raise one of them"


class Nearest(Assigner):
    """The edge server of least latency; looks at no behaviour."""

    kind: Literal["nearest"] = "nearest"

    def assign(self, latency: Array, behaviour: Behaviour, rng: np.random.Generator) -> Labels:
        return self.feasible(latency)


class Random(Assigner):
    """Any edge server, drawn anew at each re-clustering; looks at no behaviour."""

    kind: Literal["random"] = "random"

    def assign(self, latency: Array, behaviour: Behaviour, rng: np.random.Generator) -> Labels:
        return solve(rng.random(latency.shape), self.allowed(latency), self.limit(len(latency)))


class _Weighed(Assigner):
    """Trades divergence against latency."""

    looks: ClassVar[bool] = True
    weight: float = Field(default=0.9, ge=0.0, le=1.0)
    """lambda: 1 looks at divergence only, 0 at latency only."""


class Similar(_Weighed):
    """An edge server serves one behaviour group; where there are more groups than edge servers, several whole ones."""

    kind: Literal["similar"] = "similar"

    def assign(self, latency: Array, behaviour: Behaviour, rng: np.random.Generator) -> Labels:
        stands = stands_for(latency, behaviour.groups)
        own = behaviour.groups[None, :] == np.arange(behaviour.groups.max() + 1)[:, None]  # [G, N]
        to_group = (behaviour.divergences @ own.T) / own.sum(1)  # [N, G]; the client itself is at distance 0
        to_edge = np.stack([to_group[:, groups].min(1) for groups in stands], 1)
        cost = self.weight * _relative(to_edge) + (1.0 - self.weight) * _relative(latency)
        return solve(cost + _TIE * _relative(latency), self.allowed(latency), self.limit(len(latency)))


class Diverse(_Weighed):
    """Every edge server sees all behaviour groups, each by its even share."""

    kind: Literal["diverse"] = "diverse"

    def assign(self, latency: Array, behaviour: Behaviour, rng: np.random.Generator) -> Labels:
        cost = (1.0 - self.weight + _TIE) * _relative(latency)
        return solve(cost, self.allowed(latency), self.limit(len(latency)), groups=behaviour.groups, uneven=self.weight)


def stands_for(latency: Array, groups: Labels) -> list[list[int]]:
    """The behaviour groups that each edge server stands for, at least latency of their clients.

    With as many edge servers as groups, one each. A group among fewer gets edge servers in proportion to its clients;
    an edge server among fewer gets several groups.
    """
    from scipy.optimize import linear_sum_assignment

    sizes = np.bincount(groups)
    count, edges = len(sizes), latency.shape[1]
    distance = np.stack([latency[groups == g].sum(0) for g in range(count)])  # [G, K]
    copies = np.ones(count, dtype=np.int64)
    while copies.sum() < edges:
        copies[np.argmax(sizes / copies)] += 1
    rows = np.repeat(np.arange(count), copies)
    columns = np.tile(np.arange(edges), -(-len(rows) // edges))
    chosen = linear_sum_assignment((distance / copies[:, None])[rows][:, columns])
    held: list[list[int]] = [[] for _ in range(edges)]
    for row, column in zip(*chosen, strict=True):
        held[int(columns[column])].append(int(rows[row]))
    spare = [k for k in range(edges) if not held[k]]  # more groups than edge servers may leave one out
    for k in spare:
        most = max(range(edges), key=lambda each: len(held[each]))
        held[k].append(held[most].pop())
    return held


def _relative(cost: Array) -> Array:
    """Over its mean; as it is if that is zero."""
    mean = float(cost.mean())
    return cost / mean if mean > 0.0 else cost


def solve(
    cost: Array, allowed: NDArray[np.bool_], capacity: int, *, groups: Labels | None = None, uneven: float = 0.0
) -> Labels:
    """The column of each row: x [N, K] in {0, 1} of least total ``cost``, one column per row, ``capacity`` rows per column.

    With ``groups`` [N], each row of a group beyond ceil(|g| / K) in one column, or short of floor(|g| / K), costs ``uneven``.

    Raises:
        ValueError: there is none.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import csr_array, eye_array, hstack, kron, vstack

    rows, columns = cost.shape
    if groups is None and capacity >= rows and allowed.any(1).all():
        return np.asarray(np.where(allowed, cost, np.inf).argmin(1), dtype=np.int64)
    each_row = kron(eye_array(rows), np.ones((1, columns)))
    each_column = kron(np.ones((1, rows)), eye_array(columns))
    weights, extra = cost.ravel(), 0
    bounds = np.where(allowed.ravel(), 1.0, 0.0)
    constraints = []
    if groups is not None:
        member = (groups[None, :] == np.arange(groups.max() + 1)[:, None]).astype(float)  # [G, N]
        shares = np.repeat(member.sum(1) / columns, columns)
        inside = kron(csr_array(member), eye_array(columns))  # [G K, N K]
        extra = 2 * len(shares)
        slack, none = eye_array(len(shares)), csr_array((len(shares),) * 2)
        constraints += [
            LinearConstraint(csr_array(hstack([inside, -slack, none])), -np.inf, np.ceil(shares)),
            LinearConstraint(csr_array(hstack([inside, none, slack])), np.floor(shares), np.inf),
        ]
        weights = np.concatenate([weights, np.full(extra, uneven)])
        bounds = np.concatenate([bounds, np.full(extra, np.inf)])
    served = csr_array(hstack([vstack([each_row, each_column]), csr_array((rows + columns, extra))]))
    least = np.concatenate([np.ones(rows), np.zeros(columns)])
    most = np.concatenate([np.ones(rows), np.full(columns, float(capacity))])
    constraints.append(LinearConstraint(served, least, most))
    integral = np.concatenate([np.ones(rows * columns), np.zeros(extra)])
    found = milp(weights, constraints=constraints, bounds=Bounds(0.0, bounds), integrality=integral)
    if found.x is None:
        raise ValueError("no assignment keeps to the capacity and to what is allowed")
    return np.asarray(found.x[: rows * columns].reshape(cost.shape).argmax(1), dtype=np.int64)
