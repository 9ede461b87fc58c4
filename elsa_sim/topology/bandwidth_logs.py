"""Logs of downloads on the move: Ghent's 4G/LTE and Simula's HSDPA bandwidth logs, which have one layout.

Each line has a time since the epoch (in ms and in s: not looked at), the ms since the start, latitude, longitude, the bytes
received since the line before, and the ms since then. The bandwidth between two lines is bytes over ms.
https://users.ugent.be/~jvdrhoof/dataset-4g/ (van der Hooft et al. 2016), https://datasets.simula.no/hsdpa-tcp-logs/
(Riiser et al. 2013). Does not look at positions.

Tested in tests/topology/test_bandwidth_logs.py.
"""

from __future__ import annotations

import math

from ..base.context import Context
from ..base.errors import Fault, InputFaults
from .limits import DEAD, is_dead
from .reading import as_text, read_bytes
from .trace_files import MOST_FAULTS, MOST_ROWS, Rows

_COLUMNS = 6


def read_bandwidth_log(context: Context, name: str, key: str) -> tuple[Rows, float]:
    """The bandwidth (bit/s) from each time on (s, the first is 0), and when the log ends (s).

    Raises:
        InputFaults: no such file, or lines that are not six numbers, with times that increase.
    """
    said: list[str] = []
    rows: list[tuple[float, float]] = []
    begin = last = None
    for number, line in enumerate(as_text(read_bytes(context, name, key), name, key).splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            cells = [float(cell) for cell in line.split()]
        except ValueError:
            cells = []
        if len(cells) != _COLUMNS or not all(map(math.isfinite, cells)):
            said.append(
                f"line {number}: expected six numbers (epoch, ms, latitude, longitude, bytes, ms), got {line[:60]!r}"
            )
        elif cells[4] < 0 or cells[5] <= 0:
            said.append(f"line {number}: bytes must not be negative, and ms must be above 0, got {line[:60]!r}")
        elif last is not None and cells[1] <= last:
            said.append(f"line {number}: times must increase, got {cells[1]:g} ms after {last:g}")
        else:
            begin = cells[1] - cells[5] if begin is None else begin
            since = begin if last is None else last
            rows.append(((since - begin) / 1e3, cells[4] * 8.0 / (cells[5] / 1e3)))
            last = cells[1]
        if len(said) >= MOST_FAULTS:
            break
    if not said and (begin is None or last is None):
        said.append("there is no line of a download")
    if len(rows) > MOST_ROWS:
        said.append(f"more than {MOST_ROWS} rows")
    if not said and is_dead(tuple(rows)):
        said.append(DEAD)
    if said or begin is None or last is None:
        raise InputFaults([Fault(key, f"{name}: {message}") for message in said])
    return tuple(rows), (last - begin) / 1e3
