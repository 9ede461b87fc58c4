"""Files of a quantity over time: columns with a header or units from the scenario, and Mahimahi's.

Tested in tests/topology/test_traces.py.
"""

from __future__ import annotations

import csv
import math
import re
from collections import Counter
from collections.abc import Iterator

from ..base.context import Context
from ..base.errors import Fault, InputFaults
from ..base.units import is_number
from .limits import DEAD, is_dead
from .reading import as_text, read_bytes
from .spellings import UNIT_OF, unit_in

MOST_ROWS = 1_000_000
MOST_FAULTS = 10
#: Bandwidths (bit/s) of which a file without any unit has at least one.
LEAST_PLAIN = 1e5
#: Bits that may go at each line of a Mahimahi file: its packets have 1500 bytes.
OPPORTUNITY = 1500 * 8
Rows = tuple[tuple[float, float], ...]
#: What a number with a comma can be: a decimal one, unless it may be thousands.
_DECIMAL_COMMA = re.compile(r"[+-]?(?:\d+,(?:\d{1,2}|\d{4,})|0+,\d+|\d{4,},\d+)")


def read_columns(context: Context, name: str, key: str, units: dict[str, str | None], value: str = "bandwidth") -> Rows:
    """The rows of a file of a time and a ``value`` each, in s and in bit/s (or as they are, if it is no bandwidth).

    Columns are parted by semicolons, tabs, commas or spaces; with the first two, a comma may be the decimal point. Empty
    lines and lines that begin with ``#`` are skipped. Units are those of the header before the first row, or ``units``; only
    times of a ``value`` that is no quantity are in s where neither says. A comment may be the header.
    A file of numbers and commas alone is the plain format, seconds,bits per second; where all bandwidths are below
    ``LEAST_PLAIN`` they are probably of another unit, and it is refused.

    Raises:
        InputFaults: no such file, not text, no unit, or rows that are not two numbers, not negative, in increasing order
            of time.
    """
    text = as_text(read_bytes(context, name, key), name, key)
    said: list[str] = []
    try:
        lines = _cells(text)
        first = next(lines, None)
        if first is not None and len(first[1]) == 1 and first[1][0].isdecimal() and value == "bandwidth":
            raise InputFaults([Fault(key, f"{name}: line {first[0]}: expected a time and a bandwidth, got {first[1][0][:60]!r}; if "
                                     f"it is a Mahimahi file, say trace: {{file: {name}, format: mahimahi}}")])  # fmt: skip
        header = first[1] if first is not None and not any(map(is_number, first[1])) else None
        commented = _commented(text, value) if header is None else None
        plain = value == "bandwidth" and not any(units.values()) and commented is None and _is_plain(text)
        heading = commented if header is None else header
        factors, swapped = ((1.0, 1.0), False) if plain else _units(heading, units, value, name, said)
        rows = [] if first is None or header is not None else [first]
        found = _rows(rows, lines, swapped, value, said)
        if plain and not said and max(bandwidth for _, bandwidth in found) < LEAST_PLAIN:
            _units(header, units, value, name, said)
    except csv.Error as error:
        raise InputFaults([Fault(key, f"{name}: {error}")]) from error
    if len(found) > MOST_ROWS:
        said.append(f"more than {MOST_ROWS} rows")
    if not found and len(said) < 2:
        said.append(f"there are no rows of a time and a {value}")
    if value == "bandwidth" and is_dead(tuple(found)):
        said.append(DEAD)
    if said:
        raise InputFaults([Fault(key, f"{name}: {message}") for message in said])
    return tuple((time * factors[0], number * factors[1]) for time, number in found)


def _commented(text: str, value: str) -> list[str] | None:
    """The last comment before the first row, if it reads like a header: two columns, and a unit in one of them."""
    cells: list[str] | None = None
    for line in filter(None, map(str.strip, text.splitlines())):
        if not line.startswith("#"):
            break
        found = re.split(r"[;,\t]", line.lstrip("# "))
        quantities = [quantity for quantity in ("time", value) if quantity in UNIT_OF]
        if len(found) == 2 and any(unit_in(cell, each) is not None for cell in found for each in quantities):
            cells = [cell.strip() for cell in found]
    return cells


def _is_plain(text: str) -> bool:
    """Whether a file begins with two numbers and a comma between them."""
    lines = (line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))
    cells = next(lines, "").split(",")
    return len(cells) == 2 and all(map(is_number, cells))


def _cells(text: str) -> Iterator[tuple[int, list[str]]]:
    """The number and the cells of each line that has some."""
    delimiter: str | None = None
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if delimiter is None:
            delimiter = next((each for each in ";\t," if each in line), " ")
        if "\0" in line:
            raise csv.Error(f"line {number} has a NUL byte")
        if '"' in line and delimiter != " ":
            cells = next(csv.reader([line], delimiter=delimiter, strict=True))
        else:
            cells = line.split(None if delimiter == " " else delimiter)
        cells = [cell.strip() for cell in cells]
        if delimiter in ";\t":
            cells = [cell.replace(",", ".") if _DECIMAL_COMMA.fullmatch(cell) else cell for cell in cells]
        if any(cells):
            yield number, cells


def _units(
    header: list[str] | None, units: dict[str, str | None], value: str, name: str, said: list[str]
) -> tuple[tuple[float, float], bool]:
    """The factors to SI units of both columns, and whether the time is the second; what is not clear is ``said``."""
    if header is not None and len(header) != 2:
        said.append(f"the header {_shown(header)} has {len(header)} columns; expected two, a time and a {value}")
        return (1.0, 1.0), False
    swapped = header is not None and value in UNIT_OF and unit_in(header[0], value) is not None
    order = (value, "time") if swapped else ("time", value)
    factors = dict.fromkeys(order, 1.0)
    missing: list[str] = []
    for i, quantity in enumerate(order):
        if quantity not in UNIT_OF:
            continue
        asked = units.get(quantity)
        factor = None if asked is None else UNIT_OF[quantity](asked)
        own = None if header is None else _stated(header[i], quantity, value)
        if own is not None and factor is not None and not math.isclose(own, factor):
            shown = _shown(header or [])
            said.append(f"the header {shown} and the scenario ({quantity}: {asked}) name different units")
        found = factor if own is None else own
        if found is None and value not in UNIT_OF:
            found = 1.0
        if found is None:
            missing.append(quantity)
        else:
            factors[quantity] = found
    if missing:
        has = "there is no header that says" if header is None else f"the header {_shown(header)} does not say"
        write = ", ".join({"time": "time: s", "bandwidth": "bandwidth: Mbit/s"}[each] for each in missing)
        said.append(
            f"{has} the unit of the {' and the '.join(missing)}; write a header such as time_s,bandwidth_mbps, or say in "
            f"the scenario trace: {{file: {name}, {write}}} (or what they are, or format: mahimahi or pensieve)"
        )
    return (factors["time"], factors[value]), swapped


def _stated(heading: str, quantity: str, value: str) -> float | None:
    """The unit in the heading of a column; that of "bits per second" is none of time."""
    if quantity == "time" and value in UNIT_OF and unit_in(heading, value) is not None:
        return None
    return unit_in(heading, quantity)


def _shown(header: list[str]) -> str:
    return repr(",".join(header)[:80])


def _rows(first: list[tuple[int, list[str]]], lines: Iterator[tuple[int, list[str]]], swapped: bool, value: str,
          said: list[str]) -> list[tuple[float, float]]:  # fmt: skip
    rows: list[tuple[float, float]] = []
    wrong = 0
    for source in (first, lines):
        for line, cells in source:
            fault = None
            try:
                time, number = map(float, reversed(cells) if swapped else cells)
            except ValueError:
                fault = f"expected a time and a {value}; got {','.join(cells)[:60]!r}"
            else:
                if not (0.0 <= time < math.inf and 0.0 <= number < math.inf):
                    fault = f"times and bandwidths are finite and not negative, got {','.join(cells)[:60]!r}"
                elif rows and time <= rows[-1][0]:
                    fault = f"times must increase, got {time:g} after {rows[-1][0]:g}"
                else:
                    rows.append((time, number))
            if fault:
                said.append(f"line {line}: {fault}")
                wrong += 1
            if wrong >= MOST_FAULTS or len(rows) > MOST_ROWS:
                return rows
    return rows


def read_mahimahi(context: Context, name: str, key: str, interval: float) -> tuple[Rows, float]:
    """The bandwidth (bit/s) of every ``interval`` (s), and the period in which they begin again (s), of a Mahimahi file.

    Each line is a whole ms, in order, at which 1500 bytes may go; the file begins again at its last. What may go up to and
    with the ms at which an interval ends belongs to that interval; a last one that the period cuts short is as long as it is.

    Raises:
        InputFaults: no such file, or lines that are not whole ms that do not decrease, or none after 0.
    """
    times: list[int] = []
    said: list[str] = []
    for number, line in enumerate(as_text(read_bytes(context, name, key), name, key).splitlines(), 1):
        cell = line.strip()
        if not cell or cell.startswith("#"):
            continue
        if not (cell.isascii() and cell.isdecimal() and len(cell) < 12):
            said.append(f"line {number}: expected a whole number of ms, got {cell[:60]!r}")
        elif times and int(cell) < times[-1]:
            said.append(f"line {number}: times must not decrease, got {cell} after {times[-1]}")
        else:
            times.append(int(cell))
        if len(said) >= MOST_FAULTS:
            break
    if not said and not (times and times[-1]):
        said.append("there is no time after 0 ms, at which it would begin again")
    step = round(interval * 1e3)
    if not said and times[-1] // step > MOST_ROWS:
        said.append(f"{times[-1]} ms are more than {MOST_ROWS} intervals of {interval:g} s")
    if said:
        raise InputFaults([Fault(key, f"{name}: {message}") for message in said])
    period = times[-1]
    chances = Counter(max(0, time - 1) // step for time in times)
    rows = []
    for i, begin in enumerate(range(0, period, step)):
        rows.append((begin / 1e3, chances[i] * OPPORTUNITY / ((min(begin + step, period) - begin) / 1e3)))
    return tuple(rows), period / 1e3
