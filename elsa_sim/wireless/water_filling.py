"""Least power and least delay by water-filling: exact, in closed form but for one Newton iteration, no solver.

For fixed subchannels, what a client sends within a given time it sends with least power by filling the subchannels to a
common level (Gallager 1968; with a cap on the efficiency, up to a ceiling as well). That power falls and is convex in
the time, so the least time within budgets is found from below by Newton's method. It is what the search over many
allocations asks, and the oracle of the convex solver in :mod:`.power`. Sizes are in *nats per Hz*: bits * ln 2 / bandwidth.

Shapes: a leading axis of any length N for independent cases, M subchannels; those that are not one's own have an
infinite floor.
"""

from __future__ import annotations

import numpy as np

from .rate import Floats

NATS = float(np.log(2.0))


def level(floor: Floats, height: Floats | float, target: Floats) -> Floats:
    """The level w for which sum_i clip(w - floor_i, 0, height_i) is ``target`` (>= 0); infinite if it cannot be; N.

    ``floor`` is N x M, ``height`` scalar or N x M: the room over each floor, infinite where there is no ceiling.
    """
    cases, count = floor.shape
    if np.isinf(height).all():
        low = np.sort(floor, axis=1)
        with np.errstate(invalid="ignore"):
            each = (target[:, None] + np.cumsum(low, axis=1)) / np.arange(1, count + 1)
            used = np.maximum((each > low).sum(axis=1), 1)
        return np.asarray(each[np.arange(cases), used - 1])
    top = floor + height
    edges = np.concatenate([floor, top], axis=1)
    order = np.argsort(edges, axis=1)
    edges = np.take_along_axis(edges, order, axis=1)
    slope = np.cumsum(np.where(order < count, 1.0, -1.0), axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        rise = np.where(np.isfinite(edges[:, 1:]), slope[:, :-1] * np.diff(edges, axis=1), np.inf)
        rise[slope[:, :-1] == 0.0] = 0.0
        filled = np.concatenate([np.zeros((cases, 1)), np.cumsum(rise, axis=1)], axis=1)
        last = np.maximum(np.isfinite(edges).sum(axis=1) - 1, 0)
        at = np.clip((filled < target[:, None]).sum(axis=1) - 1, 0, last)
        row = np.arange(cases)
        rest = np.where(slope[row, at] > 0.0, (target - filled[row, at]) / slope[row, at], 0.0)
        found = edges[row, at] + rest
    full = (
        np.where(np.isfinite(top), height, 0.0).sum(axis=1) if np.ndim(height) else np.isfinite(floor).sum(1) * height
    )
    return np.asarray(np.where(target > full * (1.0 + 1e-12), np.inf, np.where(target <= 0.0, edges[:, 0], found)))


def poured(floor: Floats, height: Floats | float, surface: Floats) -> Floats:
    """What stands over each floor at this level, N x M."""
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(np.isfinite(floor), np.clip(surface[:, None] - floor, 0.0, height), 0.0))


def least_power(floor: Floats, ceiling: float, size: Floats) -> tuple[Floats, Floats]:
    """The least power (W) that sends ``size`` nats per Hz and second, and its derivative (W per nat/Hz/s); N each.

    ``floor`` is ln(N0 B / g) (g the gain; ln W), N x M; ``ceiling`` the cap in nats per Hz and second, or infinite.
    """
    surface = level(floor, ceiling, size)
    with np.errstate(over="ignore", invalid="ignore"):
        power = np.where(np.isfinite(floor), np.exp(floor) * np.expm1(poured(floor, ceiling, surface)), 0.0).sum(axis=1)
        none = size <= 0.0
        return np.where(none, 0.0, np.where(np.isfinite(surface), power, np.inf)), np.exp(surface)


def most(floor: Floats, ceiling: float, power: Floats) -> Floats:
    """The most that ``power`` (W) sends, nats per Hz and second; N. ``floor`` and ``ceiling`` as above."""
    noise = np.exp(floor)
    with np.errstate(over="ignore"):
        height = noise * np.expm1(ceiling) if np.isfinite(ceiling) else np.inf
    room = np.inf if not np.isfinite(ceiling) else np.where(np.isfinite(noise), height, 0.0)
    if np.ndim(room):
        whole = np.asarray(room).sum(axis=1)
        surface = level(noise, room, np.minimum(power, whole))
    else:
        surface = level(noise, np.inf, power)
    over = poured(noise, room, surface)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(np.isfinite(noise), np.log1p(over / noise), 0.0).sum(axis=1))


def least_delay(floor: Floats, ceiling: float, size: Floats, before: Floats, limit: Floats, total: float) -> float:
    """The least max_k (before_k + size_k / rate_k) (s) of K clients; ``floor`` is K x M, infinite if it cannot be.

    ``size`` in nats per Hz, ``limit`` and ``total`` in W (infinite: no such bound).
    """
    sends = size > 0.0
    if not sends.any():
        return float(before.max())
    floor, size, start = floor[sends], size[sends], before[sends]
    able = most(floor, ceiling, limit[sends])
    with np.errstate(divide="ignore"):
        time = float(max((start + size / able).max(), before.max()))
    if not np.isfinite(time) or not np.isfinite(total):
        return time
    for _ in range(100):  # power is convex in time, so Newton's steps never overshoot; 5 to 8 are usual
        left = time - start
        power, slope = least_power(floor, ceiling, np.minimum(size / left, able))
        step = (float(power.sum()) - total) / float((slope * size / left**2).sum())
        if not step > abs(time) * 1e-15:
            break
        time += step
    return time
