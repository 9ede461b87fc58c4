"""Brute force: every assignment of subchannels, every power on a grid, every cut and rank. For tiny problems, as an oracle.

Given cut and rank the two uplinks are independent, so that each is enumerated for itself; that is exact. Powers are
multiples of the client's limit over ``levels``, on each subchannel, so the answer is the optimum up to the grid.
"""

from __future__ import annotations

from itertools import product

import numpy as np

from ..base.errors import InputError
from ..wireless.rate import Floats, rate
from ..wireless.uplink import Allocation, UplinkSubproblem
from .problem import Decision, Problem, Uplink
from .uplinks import subproblems

#: So many combinations of powers and of owners of one uplink are enumerated at most.
MOST = 2_000_000


def exhaustive(problem: Problem, levels: int = 8) -> tuple[Decision, float]:
    """The best decision on the grid, and its delay T (s).

    Raises:
        InputError: too many combinations, or none in which everybody can send.
    """
    tables = [_Table(link, levels) for link in (problem.main, problem.fed_server)]
    best: tuple[float, Decision] | None = None
    for pair in sorted(problem.loads):
        *both, rest = subproblems(problem, problem.loads[pair])
        (first, main), (second, fed_server) = (
            table.best(subproblem) for table, subproblem in zip(tables, both, strict=True)
        )
        total = problem.rounds[pair[1]] * (first + second + rest)
        if np.isfinite(total) and (best is None or total < best[0]):
            best = total, Decision(*pair, main, fed_server)
    if best is None:
        raise InputError("there is no assignment in which every client can send")
    return best[1], best[0]


class _Table:
    """The rates of all clients under all owners and powers of one uplink."""

    def __init__(self, link: Uplink, levels: int) -> None:
        clients, count = link.gain.shape
        grid = np.array(list(product(np.arange(levels + 1) / levels, repeat=count))) if (
            (levels + 1) ** count <= MOST) else None  # fmt: skip
        if grid is None or clients**count > MOST:
            raise InputError(
                f"{clients} clients, {count} subchannels and {levels} levels of power are too many to enumerate"
            )
        self.kept: list[tuple[Floats, Floats, Floats]] = []
        every = np.arange(count)
        for choice in product(range(clients), repeat=count):
            owners = np.array(choice)
            if len(set(choice)) < min(clients, count):
                continue
            mine = np.eye(clients)[:, owners]
            share = grid @ mine.T
            power = grid * link.limit[owners]
            fits = (share <= 1.0 + 1e-12).all(axis=1)
            if link.total is not None:
                fits &= power.sum(axis=1) <= link.total * (1.0 + 1e-12)
            power = power[fits]
            each = rate(link.gain[owners, every], link.bandwidth, power, link.noise, link.cap)
            self.kept.append((owners.astype(np.float64), power, each @ mine.T))

    def best(self, subproblem: UplinkSubproblem) -> tuple[float, Allocation]:
        """The least of a subproblem (s) and how."""
        found = (
            np.inf,
            Allocation(np.full(subproblem.demand.gain.shape[1], -1), np.zeros(subproblem.demand.gain.shape[1])),
        )
        need = subproblem.demand.need
        for owners, power, rates in self.kept:
            with np.errstate(divide="ignore", invalid="ignore"):
                sending = np.where(need > 0.0, need / rates, 0.0)
            value = subproblem.weights @ (subproblem.before[:, None, :] + sending).max(axis=2)
            at = int(np.argmin(value))
            if value[at] < found[0]:
                found = float(value[at]), Allocation(owners.astype(np.int64), power[at])
        return found
