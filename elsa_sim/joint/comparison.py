"""The optimiser beside its baselines, over values of one resource: a tidy table."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pandas as pd

from ..base.streams import Streams
from . import BASELINES, Problem, Result, baseline, optimise


def compare(
    problems: Mapping[float | str, Problem],
    streams: Streams,
    *,
    draws: int = 10,
    watch: Callable[[str], None] = lambda done: None,
) -> pd.DataFrame:
    """Delay of every system at every problem, keyed by the value of the resource that they differ in.

    Columns: value, system, draw, cut, rank, rounds, round_s, total_s, host_s, in_time, and the parts of a round in s
    (``joint.PARTS``). ``draws`` is how often what is at random is drawn, from ``streams``, the same for every value.
    ``watch`` is told of each value that is done.

    Raises:
        InputError: a problem has no solution; the client and the reason are named.
    """
    rows = []
    for value, made in problems.items():
        rows.append(_row(value, "optimised", 0, optimise(made)))
        for name in BASELINES:
            for draw in range(draws if "random" in name else 1):
                rows.append(_row(value, name, draw, _drawn(name, made, streams, draw)))
        watch(str(value))
    return pd.DataFrame(rows)


def _drawn(name: str, made: Problem, streams: Streams, draw: int) -> Result:
    return baseline(name, made, streams.numpy("baseline", name, draw))


def _row(value: float | str, system: str, draw: int, found: Result) -> dict[str, object]:
    """One line of the table."""
    parts = {part: float(seconds) for part, seconds in found.breakdown.critical.items()}
    return {"value": value, "system": system, "draw": draw, "cut": found.decision.cut, "rank": found.decision.rank,
            "rounds": found.breakdown.rounds, "round_s": found.breakdown.round_s, "total_s": found.total_s,
            "host_s": found.host_s, "in_time": found.in_time, **parts}  # fmt: skip


def mean_delays(table: pd.DataFrame) -> pd.DataFrame:
    """Mean total delay over draws (s): a row per value, a column per system."""
    order = list(dict.fromkeys(table["system"]))
    means = table.groupby(["value", "system"], sort=False)["total_s"].mean().unstack()
    return means[order].loc[list(dict.fromkeys(table["value"]))]
