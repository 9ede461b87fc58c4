"""The convex programme of power control, and its solution by a conic solver (CVXPY with Clarabel).

For K clients with subchannels i of their own (gain g_i, bandwidth B, noise density N0):

    minimise    sum_j w_j max_k (before_jk + need_k / R_k),   R_k = sum_i B log2(1 + P_i g_i / (N0 B))
    subject to  sum over k's own P_i <= limit_k,   sum over all P_i <= total,   0 <= P_i,   log2(...) <= cap

SflLLM (arXiv:2504.14667) takes the *rates* theta_i (bit/s) of the subchannels as variables: the power
P_i = (2^(theta_i / B) - 1) N0 B / g_i is convex in theta_i, and need_k / sum_i theta_i is convex where the sum is positive,
so that the whole is a disciplined convex programme (exponential and second-order cones). Ours are ``before``, the cap,
a total beside the limit of each, several maxima with weights (one is the paper's), and the scaling: a variable is the
change of theta_i ln 2 / B from a guess by water-filling (:mod:`.water_filling`, the optimum itself if J is 1), power is relative
to its budget, and time to what the guess takes to send.

A client that is not the latest has time left, and the problem leaves open what to do with it: :func:`least` gives it the
least power with which it is in time, so power may be left unused.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from .allocation import Demand, Owners
from .rate import Floats
from .water_filling import NATS, least_delay, level, poured


@dataclass(frozen=True, eq=False)
class Duals:
    """Multipliers of the convex problem, 0 or above: what the optimum would gain from a little more of each bound.

    At the optimum, for every subchannel i of client k, (sum_j delay[j, k]) need_k / R_k^2 dR_k/dP_i is
    limit[k] + total + cap[i] where P_i > 0, and no more where P_i = 0.
    """

    delay: Floats
    """Of being no later than the latest, per maximum and client, 1; each row sums to its weight. J x K."""
    limit: Floats
    """Of each client's power (s/W); K."""
    total: float
    """Of the power of all (s/W)."""
    cap: Floats
    """Of the efficiency cap (s/W); M."""


@dataclass(frozen=True, eq=False)
class Case:
    """The numbers of one problem. Subchannels that no optimum uses have infinite noise: nobody's, or too weak."""

    noise: Floats
    """N0 B / g of each subchannel to its owner (W); M."""
    mine: npt.NDArray[np.bool_]
    """Which are whose; K x M."""
    size: Floats
    """What each client sends, in nats per Hz (need ln 2 / B); K."""
    before: Floats
    """When each client begins, for each maximum (s); J x K."""
    weights: Floats
    """Of the maxima; J."""
    limit: Floats
    """Of each client (W); K."""
    total: float
    """Of all (W), infinite without such a bound."""
    ceiling: float
    """The cap in nats per Hz and second, infinite without one."""

    @property
    def floor(self) -> Floats:
        """ln N0 B / g, infinite where a subchannel is not the client's; K x M."""
        return np.where(self.mine, np.log(self.noise), np.inf)

    def taken(self, nats: Floats) -> Floats:
        """When each client has sent, in each maximum, with these rates (nats/Hz/s, M); s, J x K."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(self.before + np.where(self.size > 0.0, self.size / (self.mine @ nats), 0.0))

    def deadlines(self, nats: Floats) -> Floats:
        """How long each client may send, if no maximum is to be later than with these rates (nats/Hz/s, M); s, K."""
        taken = self.taken(nats)
        return np.asarray((taken.max(axis=1, keepdims=True) - self.before).min(axis=0))

    def in_time(self, deadlines: Floats) -> Floats:
        """Rates of least power (nats/Hz/s) with which each client sends within its deadline (s); M."""
        floor = self.floor
        with np.errstate(divide="ignore", invalid="ignore"):
            pace = np.where(self.size > 0.0, self.size / deadlines, 0.0)
        return np.asarray(poured(floor, self.ceiling, level(floor, self.ceiling, pace)).sum(axis=0))

    def watts(self, nats: Floats) -> Floats:
        """The power that these rates (nats/Hz/s) take (W); M."""
        return np.where(np.isfinite(self.noise), self.noise, 0.0) * np.expm1(nats)

    def nats(self, watts: Floats) -> Floats:
        """The rates of these powers (nats/Hz/s); M."""
        return np.minimum(np.log1p(watts / self.noise), self.ceiling)


def case_of(demand: Demand, owners: Owners, before: Floats, weights: Floats) -> Case:
    """The problem of these owners (-1: nobody; M); ``before`` (J x K, s) takes the place of ``demand.before``."""
    total = np.inf if demand.total is None else demand.total
    ceiling = np.inf if demand.cap is None else demand.cap * NATS
    clients, count = demand.gain.shape
    gain = np.where(owners >= 0, demand.gain[owners, np.arange(count)], 0.0)
    with np.errstate(divide="ignore", over="ignore"):
        noise = demand.noise * demand.bandwidth / gain
        mine = (owners == np.arange(clients)[:, None]) & np.isfinite(noise) & (demand.need > 0.0)[:, None]
        floor = np.where(mine, noise, np.inf)
        room = np.where(mine, noise * np.expm1(ceiling), 0.0)
    # a level to which a client's whole power cannot raise the water: what lies above is dry at every optimum
    most = np.minimum(demand.power, total)
    highest = level(floor, room if np.isfinite(ceiling) else np.inf, most)
    mine &= noise < highest[:, None]
    return Case(np.where(mine.any(axis=0), noise, np.inf), mine, demand.need * NATS / demand.bandwidth, before, weights,
                demand.power, total, ceiling)  # fmt: skip


def least(case: Case, watts: Floats) -> Floats:
    """The least powers with which no maximum is later than with ``watts`` (W); M."""
    return case.watts(case.in_time(case.deadlines(case.nats(watts))))


def multipliers(case: Case, watts: Floats, known: Duals | None) -> Duals | None:
    """The multipliers of these powers: the solver's, or those by least squares over the bounds that are reached, if better.

    A solver's multipliers are exact to its tolerance times whatever the problem is conditioned by. At least powers, all
    subchannels of a client have the same pull q_k, so what is left to solve is small: sum_j delay[j, k] q_k =
    limit[k] + total for every client, and rows of ``delay`` that sum to their weights.
    """
    from scipy.optimize import nnls  # a tenth of a second: only for who solves

    sends = np.flatnonzero(case.size > 0.0)
    if not len(sends):
        return known
    pull = _pull(case, watts)
    free = np.where(case.nats(watts) < case.ceiling * (1.0 - 1e-9), pull, 0.0)
    steep = np.where(case.mine, np.where(watts > 0.0, free, 0.0), 0.0).max(axis=1)[sends]
    scale = float(steep.max()) or 1.0
    late = case.taken(case.nats(watts))
    maxima, clients = late.shape
    tight = late[:, sends] > late.max(axis=1, keepdims=True) * (1.0 - _REACHED)
    sums = np.where(case.mine, watts, 0.0).sum(axis=1)
    full = sums[sends] > case.limit[sends] * (1.0 - _REACHED)
    whole = float(watts.sum()) > case.total * (1.0 - _REACHED)
    count = len(sends)
    # columns: delay by maximum and client, limit by client, total; rows: clients, maxima
    columns = np.zeros((count + maxima, maxima * count + count + 1))
    for j in range(maxima):
        columns[np.arange(count), j * count + np.arange(count)] = tight[j] * steep / scale
        columns[count + j, j * count : (j + 1) * count] = tight[j] / case.weights[j]
    columns[np.arange(count), maxima * count + np.arange(count)] = -1.0 * full
    columns[:count, -1] = -1.0 * whole
    found, _ = nnls(columns, np.concatenate([np.zeros(count), np.ones(maxima)]))
    delay, limit = np.zeros((maxima, clients)), np.zeros(clients)
    delay[:, sends] = found[: maxima * count].reshape(maxima, count)
    limit[sends] = found[maxima * count : -1] * scale
    price = case.mine.T @ limit + float(found[-1]) * scale
    capped = np.where(
        case.nats(watts) >= case.ceiling * (1.0 - 1e-9), delay.sum(axis=0) @ (case.mine * pull) - price, 0.0
    )
    fitted = Duals(delay, limit, float(found[-1]) * scale, np.maximum(capped, 0.0))
    return fitted if known is None or _misfit(case, watts, fitted) < _misfit(case, watts, known) else known


def _pull(case: Case, watts: Floats) -> Floats:
    """What a little more power on each subchannel is worth to its client (s/W), whatever that is worth to all; M."""
    with np.errstate(divide="ignore", invalid="ignore"):
        paced = np.where(case.size > 0.0, case.size / (case.mine @ case.nats(watts)) ** 2, 0.0)
    return np.asarray((case.mine.T @ np.where(np.isfinite(paced), paced, 0.0)) / (case.noise + watts))


def _misfit(case: Case, watts: Floats, duals: Duals) -> float:
    """How far these are from stationarity, of the largest price, and from the sums of the maxima."""
    gained = (case.mine.T @ duals.delay.sum(axis=0)) * _pull(case, watts)
    price = case.mine.T @ duals.limit + duals.total * case.mine.any(axis=0) + duals.cap
    off = np.where(watts > 0.0, np.abs(gained - price), np.maximum(gained - price, 0.0))
    summed = np.abs(duals.delay.sum(axis=1) / case.weights - 1.0)
    return float(max(off.max() / max(float(gained.max()), float(price.max()), 1e-300), summed.max()))


def solve(case: Case) -> tuple[Floats, Duals | None]:
    """Powers (W; M) and multipliers. Where the solver gives up, the guess, which for J = 1 is exact, without them."""
    sends = case.size > 0.0
    if not sends.any():
        return np.zeros(len(case.noise)), None
    mean = case.weights @ case.before / case.weights.sum()
    soon = least_delay(case.floor, case.ceiling, case.size, mean, case.limit, case.total)
    guess = case.in_time(soon - mean)
    clients, count = case.mine.shape
    form = _form(clients, count, len(case.weights), bool(np.isfinite(case.total)))
    watts, duals = form.solve(case, guess)
    if duals is None:  # rare: about 1 in 1,000 hard cases; seen from elsewhere, it is scaled differently
        away, duals = form.solve(case, case.nats(case.watts(guess) * 0.5))
        watts = watts if duals is None else away
    return watts, duals


class _Form:
    """The convex programme of one shape, its numbers left open: compiled once, solved many times."""

    def __init__(self, clients: int, count: int, maxima: int, total: bool) -> None:
        import cvxpy as cp  # a second: only for who solves

        def numbers(*shape: int) -> Any:
            return cp.Parameter(shape, nonneg=True)

        self.slope, self.alone, self.weights = numbers(clients, count), numbers(clients), numbers(maxima)
        self.ahead, self.share, self.whole = numbers(maxima, clients), numbers(clients, count), numbers(count)
        self.down, self.up = numbers(count), numbers(count)
        self.change = cp.Variable(count)
        """Of theta_i ln 2 / B (nats per Hz and second) from the guess; M."""
        times, slower = cp.Variable(maxima), cp.Variable(clients)
        grown = cp.exp(self.change)
        sending = cp.multiply(self.alone, slower)
        self.late = [sending - self.ahead[j] <= times[j] for j in range(maxima)]
        self.limit = self.share @ grown <= 1.0
        self.total = self.whole @ grown <= 1.0
        self.cap = self.change <= self.up
        rules = [*self.late, cp.inv_pos(1.0 + self.slope @ self.change) <= slower, self.limit, self.cap,
                 self.change >= -self.down, *([self.total] if total else [])]  # fmt: skip
        self.problem = cp.Problem(cp.Minimize(self.weights @ times), rules)

    def solve(self, case: Case, guess: Floats) -> tuple[Floats, Duals | None]:
        """Powers and multipliers, from a guess (nats/Hz/s, M)."""
        import cvxpy as cp

        used = np.isfinite(case.noise)
        unit = np.where(used, case.noise, 0.0)
        reach = case.mine @ guess
        with np.errstate(divide="ignore", invalid="ignore"):
            alone = np.where(case.size > 0.0, case.size / reach, 0.0)
            self.slope.value = np.where(case.mine, 1.0 / reach[:, None], 0.0)
        span, weight = float(alone.max()), float(case.weights.sum())
        self.alone.value = alone / span
        self.ahead.value = (case.before.max(axis=1, keepdims=True) - case.before) / span
        self.weights.value = case.weights / weight
        raised = unit * np.exp(guess)
        full = case.limit + case.mine @ unit
        self.share.value = case.mine * raised / full[:, None]
        whole = case.total + float(unit.sum())
        self.whole.value = raised / whole
        self.down.value = guess
        # without a cap, a bound that is never reached: twice the power limit; what is not used has room and no effect
        highest = np.log1p(2.0 * (case.mine.T @ case.limit) / case.noise) if np.isinf(case.ceiling) else case.ceiling
        self.up.value = np.where(used, np.maximum(highest - guess, 0.0), 1.0)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # that a solution may be inaccurate
                self.problem.solve(solver=cp.CLARABEL, warm_start=False, tol_gap_abs=_TOLERANCE, tol_gap_rel=_TOLERANCE,
                                   tol_feas=_TOLERANCE)  # fmt: skip
        except cp.SolverError:
            return case.watts(guess), None
        if self.change.value is None:
            return case.watts(guess), None
        nats = np.where(used, np.clip(guess + self.change.value, 0.0, case.ceiling), 0.0)
        second = span * weight  # what a unit of the objective is, in s
        capped = np.zeros(len(unit))
        if np.isfinite(case.ceiling):
            capped[used] = _above(self.cap)[used] * second / (unit * np.exp(nats))[used]
        total = float(_above(self.total)) * second / whole if np.isfinite(case.total) else 0.0
        delay = np.array([_above(late) for late in self.late]) * weight
        return case.watts(nats), Duals(delay, _above(self.limit) * second / full, total, capped)


_TOLERANCE = 1e-10
"""Of Clarabel; multipliers are then right to about 1e-5 of the largest."""
_REACHED = 1e-5
"""A bound counts as reached from so near (relative)."""


def _above(constraint: Any) -> Any:
    return np.maximum(constraint.dual_value, 0.0)


@lru_cache(maxsize=64)
def _form(clients: int, count: int, maxima: int, total: bool) -> _Form:
    """A programme per shape. Every solve sets all of its numbers and starts cold: no answer depends on the one before."""
    return _Form(clients, count, maxima, total)
