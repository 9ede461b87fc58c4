"""``elsa-sim compare``: one table of several runs."""

from __future__ import annotations

from enum import StrEnum
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import layout

if TYPE_CHECKING:
    from rich.console import Console

    from ..results.table import Comparison

#: Characters of a line of a table that goes into a file.
PAGE = 120


class Format(StrEnum):
    """How the table is written."""

    table = "table"
    markdown = "markdown"
    csv = "csv"


#: Formats of files by their endings.
ENDINGS = {".csv": Format.csv, ".md": Format.markdown}


def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run directories, or folders of studies.")],
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write it there instead of the screen.")] = None,
    format: Annotated[
        Format | None,
        typer.Option("--format", help="Default: table; by the ending of FILE. csv: SI units, full precision."),
    ] = None,
    target: Annotated[
        float | None,
        typer.Option(metavar="ACCURACY", help="For the time to a target, in place of each scenario's own."),
    ] = None,
) -> None:
    """One table of several runs: accuracy, time, bytes, energy; and what differs between their scenarios."""
    from ..base.writing import write_text
    from ..results import table

    found = table.compare(runs, target)
    how = format or (Format.table if out is None else ENDINGS.get(out.suffix.lower(), Format.table))
    if how is Format.table and out is None:
        show(found, layout.console(layout.width()))
        return
    if how is Format.table:
        show(found, layout.console(PAGE, page := StringIO()))
        text = page.getvalue()
    else:
        text = found.to_csv() if how is Format.csv else found.to_markdown()
    if out is None:
        typer.echo(text, nl=False)
    else:
        write_text(out, text)
        typer.echo(out)
        for note in found.notes if how is Format.csv else ():
            typer.echo(f"note: {note}", err=True)


def show(found: Comparison, console: Console) -> None:
    """Print a comparison: its tables, what differs, and its notes."""
    for i, part in enumerate(layout.tables(found.columns(), found.differing(), console.width)):
        if i:
            console.print()
        console.print(part)
    for note in found.notes:
        console.print(f"note: {note}")
