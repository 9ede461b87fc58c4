"""Availability of phones by FedScale's trace of their users' behaviour.

Tested in tests/populations/test_fedscale.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np

from ..base.context import Context
from ..base.intervals import Interval
from ..base.units import Seconds
from ..populations import Drawable
from ..populations.fedscale import is_number, read_clients
from .downtime import Downtime


class FedScaleBehaviour(Downtime):
    """A phone of FedScale's ``client_behave_trace``, drawn for each device: present from ``active`` to ``inactive``, over and over.

    Times are in s; the trace begins again at its ``finish_time``. Pairs that end before they begin are never present, as in
    FedScale. Does not use ``duration`` and ``model``.
    """

    kind: Literal["fedscale"] = "fedscale"
    file: str
    """Path of ``client_behave_trace``, as FedScale pickles it or as JSON."""
    offset: Drawable[Seconds] = 0.0
    """How far into the trace a device is at time 0."""
    _clients: tuple[tuple[tuple[Interval, ...], float], ...] = ()

    @property
    def random(self) -> bool:
        return True

    def loaded(self, context: Context, key: str) -> FedScaleBehaviour:
        entries, _ = read_clients(context, self.file, f"{key}.file", _fault)
        copy = self.model_copy()
        copy._clients = tuple((_away(entry), float(entry["finish_time"])) for entry in entries)
        return copy

    def intervals(self, random: np.random.Generator) -> Iterator[Interval]:
        away, period = self._clients[int(random.random() * len(self._clients))]
        if not away:
            return
        if away == ((0.0, period),):
            yield 0.0, math.inf
            return
        begin = -math.fmod(self.offset, period)
        while True:
            for start, end in away:
                if begin + end > 0.0:
                    yield max(0.0, begin + start), begin + end
            begin += period


def _away(entry: Any) -> tuple[Interval, ...]:
    """When a phone is away within its period (s)."""
    period, reached = float(entry["finish_time"]), 0.0
    away: list[Interval] = []
    for start, end in sorted(zip(map(float, entry["active"]), map(float, entry["inactive"]), strict=False)):
        start, end = max(start, reached), min(end, period)
        if end <= start:
            continue
        if start > reached:
            away.append((reached, start))
        reached = end
    if reached < period:
        away.append((reached, period))
    return tuple(away)


def _fault(entry: Any) -> str | None:
    if not isinstance(entry, dict):
        return f"expected active, inactive and finish_time, got {str(entry)[:60]!r}"
    if not is_number(entry.get("finish_time")) or entry["finish_time"] <= 0:
        return f"finish_time must be a number of s above 0, got {str(entry.get('finish_time'))[:60]!r}"
    for name in ("active", "inactive"):
        times = entry.get(name)
        if not isinstance(times, list) or not all(is_number(time) and time >= 0 for time in times):
            return f"{name} must be a list of times (s), got {str(times)[:60]!r}"
    return None
