"""Bandwidth traces: CSV files with a time (s) and a bandwidth (bit/s) per line."""

from __future__ import annotations

import csv
from pathlib import PurePath

from ..base.context import Context
from ..base.errors import Fault, InputFaults
from .options import LinkOptions, profile_fault

MOST_ROWS = 1_000_000
MOST_BYTES = 64 * 2**20


def traced(options: LinkOptions, context: Context, key: str, faults: list[Fault]) -> LinkOptions:
    """``options`` with the profile of their trace file, if they name one; what is wrong with it is added to ``faults``."""
    if options.trace is None:
        return options
    where = f"{key}.trace"
    try:
        profile = read_trace(context, options.trace, where)
    except InputFaults as error:
        faults += error.faults
        return options
    period = None
    if options.repeat:
        if len(profile) < 2:
            faults.append(Fault(where, f"{options.trace} has {len(profile)} row; one that repeats needs 2 or more"))
            return options
        period, profile = profile[-1][0], profile[:-1]
    fault = profile_fault(profile, period)
    if fault:
        faults.append(Fault(where, f"{options.trace}: {fault}"))
        return options
    return options.model_copy(update={"profile": profile, "period": period, "trace": None, "repeat": False})


def read_trace(context: Context, name: str, key: str) -> tuple[tuple[float, float], ...]:
    """The rows of a trace file. Empty lines, lines that begin with ``#`` and a header before the first row are skipped.

    Raises:
        InputFaults: no such file, not text, or rows that are not two numbers, not negative, in increasing order of time.
    """
    data, path = context.read(name, key, most=MOST_BYTES), PurePath(name)
    try:
        lines = data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputFaults([Fault(key, f"{path} cannot be read as UTF-8 text: {error}")]) from error
    rows: list[tuple[float, float]] = []
    said: list[str] = []
    headed = False
    for number, cells in enumerate(csv.reader(lines), 1):
        if not cells or not any(cells) or cells[0].lstrip().startswith("#"):
            continue
        if not rows and not said and not headed and not any(map(_number, cells)):
            headed = True
            continue
        try:
            time, bandwidth = map(float, cells)
        except ValueError:
            said.append(f"line {number}: expected seconds,bits per second; got {','.join(cells)[:60]!r}")
            continue
        if not (0.0 <= time < float("inf") and 0.0 <= bandwidth < float("inf")):
            said.append(
                f"line {number}: times and bandwidths are finite and not negative, got {','.join(cells)[:60]!r}"
            )
        elif rows and time <= rows[-1][0]:
            said.append(f"line {number}: times must increase, got {time:g} after {rows[-1][0]:g}")
        else:
            rows.append((time, bandwidth))
        if len(said) >= 10 or len(rows) > MOST_ROWS:
            break
    if len(rows) > MOST_ROWS:
        said.append(f"more than {MOST_ROWS} rows")
    if not rows and not said:
        said.append("there are no rows of seconds,bits per second")
    if said:
        raise InputFaults([Fault(key, f"{path.name}: {message}") for message in said])
    return tuple(rows)


def _number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
