"""Tables of columns in Markdown and in HTML; whatever a text holds, it stays text.

Tested in tests/results/test_table.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from .columns import Column


def markdown(columns: Sequence[Column]) -> str:
    """A table with a row per cell."""
    lines = [[_cell(column.head) for column in columns],
             ["---:" if column.numeric else "---" for column in columns],
             *(list(map(_cell, row)) for row in _rows(columns))]  # fmt: skip
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def html(columns: Sequence[Column], title: str = "") -> str:
    """The same with the columns as rows, each behind its head, as notebooks show few runs."""
    rows = "".join(
        f'<tr><th style="text-align:left">{escape(column.head)}</th>'
        + "".join(f'<td style="text-align:right">{escape(cell)}</td>' for cell in column.cells) + "</tr>"
        for column in columns
    )  # fmt: skip
    caption = f'<caption style="text-align:left">{escape(title)}</caption>' if title else ""
    return f"<table>{caption}<tbody>{rows}</tbody></table>"


def html_by_row(columns: Sequence[Column], title: str = "") -> str:
    """A table with a row per cell."""
    head = "".join(f"<th>{escape(column.head)}</th>" for column in columns)
    rows = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in _rows(columns))
    caption = f'<caption style="text-align:left">{escape(title)}</caption>' if title else ""
    return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _rows(columns: Sequence[Column]) -> list[tuple[str, ...]]:
    return list(zip(*(column.cells for column in columns), strict=True))


def _cell(text: str) -> str:
    return escape(" ".join(text.split()), quote=False).replace("\\", "\\\\").replace("|", "\\|")
