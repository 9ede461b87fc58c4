"""A distribution that is the column of a table, one row per client: what is measured together stays together."""

from __future__ import annotations

import csv
import difflib
import math
from typing import Any, ClassVar, Generic, Literal, Self

from pydantic import Field, ValidationError, model_validator

from ..base.context import Context
from ..base.errors import Fault, InputFaults
from ..base.files import sha256
from ..base.units import UNITS, is_number, parse
from .distribution import Q, is_text
from .kinds import Clipped

MOST_BYTES = 256 * 2**20
MOST_FAULTS = 10


class Column(Clipped[Q], Generic[Q]):
    """A column of a CSV file, of which each client draws a row, with replacement (a bootstrap).

    All columns of one file that a client draws from are of one row, wherever they stand: so speeds, memories and links
    that belong together stay together. Does not interpolate between rows.
    """

    kind: Literal["column"] = "column"
    of_text: ClassVar[bool] = True
    file: str = Field(
        description="Path of the CSV file, with a header; columns are parted by commas, semicolons or tabs."
    )
    column: str = Field(description="Name of the column, as in the header.")
    unit: str | None = Field(
        default=None,
        description="Unit of the column's numbers; not needed where they have units of their own (``20 GFLOP/s``).",
    )
    together: bool = Field(
        default=True,
        description="Whether all columns of the file are of one row; without it, this one has a row of its own.",
    )
    _values: tuple[Any, ...] = ()
    _digest: str = ""

    @model_validator(mode="after")
    def _unit_of_the_quantity(self) -> Self:
        quantity = self.quantity()
        if is_text(self.values()) and (self.at_least, self.at_most) != (None, None):
            raise ValueError("text has no bounds; leave at_least and at_most out")
        if self.unit is None or self.values() is Any:
            return self
        if quantity is None:
            raise ValueError("this option has no unit; leave unit out")
        if self.unit not in UNITS[quantity]:
            raise ValueError(f"{self.unit!r} is not a unit of {quantity}; valid: {', '.join(UNITS[quantity])}")
        return self

    @property
    def shared(self) -> str | None:
        return f"row of {self._digest}" if self.together else None

    def loaded(self, context: Context, key: str) -> Self:
        data = context.read(self.file, f"{key}.file", most=MOST_BYTES)
        try:
            header, rows = _table(data)
        except (ValueError, csv.Error) as error:
            raise InputFaults([Fault(f"{key}.file", f"{self.file}: {error}")]) from None
        if self.column not in header:
            near = difflib.get_close_matches(self.column, header, 1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            fault = f"{self.file} has no column {self.column!r}; {hint}valid: {', '.join(header)[:200]}"
            raise InputFaults([Fault(f"{key}.column", fault)])
        at, said, values = header.index(self.column), [], []
        for line, row in rows:
            try:
                values.append(self._value(row[at] if at < len(row) else ""))
            except ValidationError as error:
                said.append(f"line {line}: {error.errors()[0]['msg'].removeprefix('Value error, ')}")
            except ValueError as error:
                said.append(f"line {line}: {error}")
            if len(said) >= MOST_FAULTS:
                break
        if not rows:
            said = ["there is no row below the header"]
        if said:
            raise InputFaults([Fault(f"{key}.column", f"{self.file}: {self.column}: {each}") for each in said])
        copy = self.model_copy()
        copy._values, copy._digest = tuple(values), sha256(data)
        return copy

    def _value(self, cell: str) -> Any:
        cell, quantity = cell.strip(), self.quantity()
        if not cell:
            raise ValueError("there is no value")
        if is_text(self.values()):
            return self.valid(cell)
        if quantity is None:
            number = float(cell)
            if not math.isfinite(number):
                raise ValueError(f"{cell!r} is not a finite number")
            return self.valid(self.clipped(number))
        bare = is_number(cell)
        if bare and self.unit is None:
            usual = "unit: Mbit/s" if quantity == "bandwidth" else f"unit: {next(iter(UNITS[quantity]))}"
            raise ValueError(f"{cell!r} has no unit; say which the numbers of the column have, such as {usual}")
        return self.valid(self.clipped(parse(f"{cell} {self.unit}" if bare else cell, quantity)))

    def quantile(self, u: float) -> Any:
        """The value of the row that the share ``u`` falls into, in the order of the file."""
        return self._values[int(u * len(self._values))]


def _table(data: bytes) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header, and line and cells of every row; empty lines, and those that begin with ``#``, are skipped.

    Raises:
        ValueError: it is empty, or not UTF-8 text.
        csv.Error: it cannot be parted into cells.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 text: byte {data[error.start]:#04x} at offset {error.start}") from None
    lines = [(i, line) for i, line in enumerate(text.splitlines(), 1) if line.strip() and not line.startswith("#")]
    if not lines:
        raise ValueError("there is no header")
    delimiter = next((each for each in "\t;," if each in lines[0][1]), ",")
    cells = csv.reader((line for _, line in lines), delimiter=delimiter, strict=True)
    rows = [(i, [cell.strip() for cell in row]) for (i, _), row in zip(lines, cells, strict=False)]
    header = rows[0][1]
    if twice := next((name for name in header if header.count(name) > 1), None):
        raise ValueError(f"two columns are called {twice!r}")
    return header, rows[1:]
