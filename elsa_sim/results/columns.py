"""Columns of texts and numbers as people read them: one unit per column, in its head, and digits that line up."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

#: What was not measured, or not reached.
NOTHING = "–"
#: Times from so many s on are shown in that unit.
_TIMES = ((36_000.0, 3600.0, "h"), (600.0, 60.0, "min"), (1.0, 1.0, "s"), (0.0, 1e-3, "ms"))


@dataclass(frozen=True)
class Column:
    """A column of a table: its head, with the unit, and a text per row."""

    head: str
    cells: tuple[str, ...]
    numeric: bool = False


def texts(head: str, values: Iterable[object]) -> Column:
    """A column of texts; ``None`` is nothing."""
    return Column(head, tuple(NOTHING if value is None else str(value) for value in values))


def numbers(
    words: str,
    unit: str,
    values: Sequence[float],
    spread: Sequence[float] | None = None,
    counts: Sequence[tuple[int, int]] | None = None,
) -> Column:
    """A column of numbers, given in ``unit`` (SI; "" for a ratio or a count) and shown in a multiple of it.

    ``spread`` is the standard deviation of each, ``counts`` how many values each is the mean of, and of how many runs. NaN is
    nothing.
    """
    spread = spread if spread is not None else [math.nan] * len(values)
    largest = max((abs(value) for value in values if not math.isnan(value)), default=0.0)
    factor, shown = multiple(largest, unit)
    whole = (
        factor == 1.0 and all(math.isnan(v) or float(v).is_integer() for v in values) and not any(s > 0 for s in spread)
    )
    digits = 0 if whole else 4 if not unit and largest <= 1.0 else max(1, 3 - len(f"{largest / factor:.0f}") + 1)
    cells = []
    for i, (value, std) in enumerate(zip(values, spread, strict=True)):
        text = NOTHING if math.isnan(value) else decimal(value / factor, digits)
        text += "" if whole or math.isnan(value) or math.isnan(std) else f" ± {std / factor:.{digits}f}"
        if counts is not None and counts[i][0] < counts[i][1]:
            text += f" ({counts[i][0]} of {counts[i][1]})"
        cells.append(text)
    return Column(f"{words} ({shown})" if shown else words, tuple(cells), numeric=True)


def decimal(value: float, digits: int) -> str:
    """``value`` with that many decimals; with two significant digits where these would show less of it."""
    small = value != 0.0 and abs(value) < 10.0 ** (1 - digits) and digits > 0
    return f"{value:.2g}" if small else f"{value:.{digits}f}"


def multiple(largest: float, unit: str) -> tuple[float, str]:
    """A divisor and its unit for values up to ``largest``; times in ms, s, min or h."""
    if unit != "s":
        return scaled(largest, unit) if unit else (1.0, "")
    return next(
        (factor, text) for least, factor, text in _TIMES if largest >= least or (largest == 0.0 and text == "s")
    )


def scaled(largest: float, unit: str) -> tuple[float, str]:
    """A divisor and the unit text for values up to ``largest``: ``(1e6, "MB")``."""
    for factor, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if largest >= factor:
            return factor, prefix + unit
    return 1.0, unit
