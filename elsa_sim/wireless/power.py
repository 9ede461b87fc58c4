"""How much power on which subchannel: power controls as components, pure functions like allocators.

Uplinks only: a station's power is split evenly. Does not capture transmitters with few power levels, or inaccurate
knowledge of gains.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np

from ..base.errors import InputError
from ..base.registry import Component
from .allocation import Demand, Owners
from .convex import Duals, case_of, least, multipliers, solve
from .rate import Floats, rate

#: Ratio of signal to noise below which 1 + ratio loses its digits, and nothing arrives in years.
_DROWNED = 1e-12


@dataclass(frozen=True, eq=False)
class Powers:
    """What a power control answers."""

    watts: Floats
    """Transmit power on each subchannel (W), 0 where it is nobody's; M."""
    delay_s: float
    """When the latest client has sent, at these powers: max_k (before_k + need_k / R_k); several by their weights (s)."""
    duals: Duals | None = None
    """Where a solver found them."""


class PowerControl(Component):
    """The transmit powers of the clients of a cell on their subchannels."""

    family: ClassVar[str] = "power_control"
    looks: ClassVar[bool] = False
    """Whether gains matter: if so, it is asked anew whenever they change."""

    def control(self, demand: Demand, owners: Owners, names: Sequence[str] = ()) -> Powers:
        """Powers for these owners (-1 for nobody; M), within each client's and the total power.

        ``names`` of the K clients are for messages.
        """
        raise NotImplementedError


class Even(PowerControl):
    """Every client splits its own power evenly over its subchannels; all scaled down alike to the total, if need be."""

    kind: Literal["even"] = "even"

    def control(self, demand: Demand, owners: Owners, names: Sequence[str] = ()) -> Powers:
        watts = even(owners, demand.power, demand.total)
        return Powers(watts, latest(demand, owners, watts, demand.waits[None], np.ones(1)))


class MinDelay(PowerControl):
    """The powers for which the latest client has sent soonest: convex, by a conic solver (SflLLM's power step).

    Power that this leaves over is spent too, in proportion: who is not the latest has then sent earlier.
    """

    kind: Literal["min_delay"] = "min_delay"
    looks: ClassVar[bool] = True

    def control(self, demand: Demand, owners: Owners, names: Sequence[str] = ()) -> Powers:
        found = minimise(demand, owners, demand.waits[None], np.ones(1), names)
        return replace(found, watts=spent(found.watts, owners, demand.power, demand.total))


def even(owners: Owners, limit: Floats, total: float | None = None) -> Floats:
    """Every client's power evenly over its subchannels (W), all scaled down to ``total`` if they have more; M."""
    clients = len(limit)
    count = np.bincount(owners[owners >= 0], minlength=clients)
    watts: Floats = np.where(owners >= 0, (limit / np.maximum(count, 1))[owners], 0.0)
    return within(watts, owners, limit, total)


def within(watts: Floats, owners: Owners, limit: Floats, total: float | None) -> Floats:
    """Scaled down where they are over a budget, to the relative 1e-14 that any order of summation needs; M."""
    used = owners >= 0
    sums = np.bincount(owners[used], watts[used], len(limit))
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = np.where(sums > limit * (1.0 - 1e-14), limit * (1.0 - 1e-14) / sums, 1.0)
    watts = np.where(used, watts * factor[owners], 0.0)
    if total is not None and watts.sum() > total * (1.0 - 1e-14):
        watts = watts * (total * (1.0 - 1e-14) / watts.sum())
    return np.asarray(watts)


def spent(watts: Floats, owners: Owners, limit: Floats, total: float | None) -> Floats:
    """Each client's powers (W) scaled up to its limit, as far as the total lets all of them; M."""
    used = owners >= 0
    sums = np.bincount(owners[used], watts[used], len(limit))
    extra = np.where(sums > 0.0, np.maximum(limit - sums, 0.0), 0.0)
    if total is not None and extra.sum() > 0.0:
        # min: nobody gets more than its limit. Without it, `within` would scale it down to that in the end all the same
        extra *= min(1.0, max(0.0, total - sums.sum()) / extra.sum())
    factor = np.where(sums > 0.0, (sums + extra) / np.where(sums > 0.0, sums, 1.0), 1.0)
    return within(np.where(used, watts * factor[owners], 0.0), owners, limit, total)


def rates(demand: Demand, owners: Owners, watts: Floats) -> Floats:
    """The rate of every client (bit/s); K."""
    used = np.flatnonzero(owners >= 0)
    gain = demand.gain[owners[used], used]
    each = rate(gain, demand.bandwidth, watts[used], demand.noise, demand.cap)
    return np.bincount(owners[used], each, len(demand.gain)).astype(np.float64)


def latest(demand: Demand, owners: Owners, watts: Floats, before: Floats, weights: Floats) -> float:
    """sum_j weights_j max_k (before_jk + need_k / R_k) (s), ``before`` being J x K; infinite if a rate is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        sending = np.where(demand.need > 0.0, demand.need / rates(demand, owners, watts), 0.0)
    return float(weights @ (before + sending).max(axis=1))


def minimise(
    demand: Demand,
    owners: Owners,
    before: Floats,
    weights: Floats,
    names: Sequence[str] = (),
    where: str = "the uplink",
) -> Powers:
    """The powers of least sum_j weights_j max_k (before_jk + need_k / R_k); see :mod:`.convex`.

    ``before`` (s) is J x K and takes the place of ``demand.before``; ``weights`` are J, above 0. A client that has
    nothing to send (``need`` 0) gets no power.

    Raises:
        InputError: a client can never send what it has, with its name and the reason.
    """
    refuse(demand, owners, names, where)
    case = case_of(demand, owners, before, weights)
    watts, duals = solve(case)
    watts = within(least(case, watts), owners, demand.power, demand.total)
    duals = multipliers(case, watts, duals)
    return Powers(watts, latest(demand, owners, watts, before, weights), duals)


def refuse(demand: Demand, owners: Owners, names: Sequence[str] = (), where: str = "the uplink") -> None:
    """Tell of the first client that can never send what it has, and why.

    Raises:
        InputError: the client (by name, else by number) and the constraint.
    """
    if demand.total is not None and not demand.total > 0.0:
        raise InputError(f"{where}: the total power is {demand.total:g} W; nobody can send")
    for k in np.flatnonzero(demand.need > 0.0).tolist():
        who = f"{where}: {repr(names[k]) if names else f'client {k}'}"
        own = np.flatnonzero(owners == k)
        if not len(own):
            raise InputError(f"{who} has no subchannel ({len(owners)} subchannels, {len(demand.need)} clients)")
        if not demand.power[k] > 0.0:
            raise InputError(f"{who} has a power limit of {demand.power[k]:g} W")
        if not (demand.gain[k, own] > 0.0).any():
            raise InputError(f"{who} has a gain of 0 on every subchannel of its own")
        heard = demand.power[k] * demand.gain[k, own].max() / (demand.noise * demand.bandwidth)
        if heard < _DROWNED:
            raise InputError(f"{who} is drowned in noise: {heard:.2g} times as strong at {demand.power[k]:g} W")
