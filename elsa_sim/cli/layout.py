"""Columns on a screen of some width: nothing is cut off, and no word is broken.

Tested in tests/cli/test_compare.py.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from typing import IO

from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table

from ..results.columns import Column

#: Where nobody says how wide the screen is: what other programs read is not cut into lines.
WIDE = 1000
#: More rows than that are not turned into columns, however wide the screen is.
TURNED = 6
#: Characters between two columns.
GAP = 2


def width() -> int:
    """How many characters fit in a line: ``COLUMNS`` of the environment, else what the terminal says."""
    stated = os.environ.get("COLUMNS", "")
    if stated.isdecimal() and int(stated) > 0:
        return int(stated)
    return os.get_terminal_size(sys.stdout.fileno()).columns if sys.stdout.isatty() else WIDE


def console(columns: int, file: IO[str] | None = None) -> Console:
    """Where tables of that width go: the screen, or a file."""
    return Console(width=columns, file=file, highlight=False, markup=False, emoji=False)


def tables(columns: Sequence[Column], differing: Sequence[Column], wide: int) -> Iterator[Table]:
    """The tables of a comparison: its ``columns``, of which the first names the rows, and what differs between these.

    Few rows are turned into columns, if they fit; else there are as many tables as it takes. Long names are told once, and
    stand as numbers in the tables.
    """
    first, *others = columns
    turned = [Column(first.head, tuple(each.head for each in others))]
    turned += [Column(name, tuple(each.cells[i] for each in others), True) for i, name in enumerate(first.cells)]
    if len(first.cells) <= TURNED and _fit(turned, wide):
        yield _table(turned, wide)
    else:
        if max(map(cell_len, first.cells)) > wide // 3:
            numbers = tuple(str(i) for i in range(1, len(first.cells) + 1))
            yield _table([Column("", numbers, True), first], wide)
            first = Column(first.head, numbers, True)
            if differing:
                runs = zip(numbers, differing[1:], strict=True)
                differing = [differing[0], *(Column(i, each.cells) for i, each in runs)]
        yield from parts(first, others, wide)
    if differing and differing[0].cells:
        yield _differences(differing, wide)


def parts(first: Column, others: Sequence[Column], wide: int) -> Iterator[Table]:
    """Tables that have all ``others``, as many in each as fit beside the ``first``."""
    part = [first]
    for each in others:
        if len(part) > 1 and not _fit([*part, each], wide):
            yield _table(part, wide)
            part = [first]
        part.append(each)
    yield _table(part, wide)


def _differences(columns: Sequence[Column], wide: int) -> Table:
    """A table of keys and their values per run; where that does not fit, each key with its values and who has them."""
    key, *runs = columns
    if _fit(columns, wide, wrapped=True):
        return _table(columns, wide, wrapped=True)
    table = _plain()
    table.add_column(key.head, overflow="fold")
    for i, path in enumerate(key.cells):
        table.add_row(path)
        for value in dict.fromkeys(run.cells[i] for run in runs):
            who = "; ".join(run.head for run in runs if run.cells[i] == value)
            table.add_row(Padding(f"{value}: {who}", (0, 0, 0, GAP)))
    return table


def _table(columns: Sequence[Column], wide: int, wrapped: bool = False) -> Table:
    """A table in which heads, and cells if ``wrapped``, go over several lines where that is needed."""
    widths = [max(map(cell_len, (each.head, *each.cells)), default=1) for each in columns]
    least = [_least(each, wrapped) for each in columns]
    while sum(widths) + GAP * len(widths) > wide and widths != least:
        widest = max(range(len(widths)), key=lambda i: (widths[i] > least[i], widths[i]))
        widths[widest] -= 1
    table = _plain()
    for i, (each, width) in enumerate(zip(columns, widths, strict=True)):
        table.add_column(each.head, justify="right" if each.numeric else "left", width=min(width, wide),
                         style="dim" if i == 0 else None, overflow="fold")  # fmt: skip
    for row in zip(*(each.cells for each in columns), strict=True):
        table.add_row(*row)
    return table


def _plain() -> Table:
    return Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")


def _fit(columns: Sequence[Column], wide: int, wrapped: bool = False) -> bool:
    return sum(_least(each, wrapped) + GAP for each in columns) <= wide


def _least(column: Column, wrapped: bool) -> int:
    """The characters that a column needs for no word of its head to be broken, and no cell, or no word of one."""
    cells = " ".join(column.cells).split() if wrapped else column.cells
    return max(map(cell_len, (*column.head.split(), *cells)), default=1)
