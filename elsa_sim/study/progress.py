"""What a study shows while it goes on: a live bar on a terminal, plain lines elsewhere (both on standard error)."""

from __future__ import annotations

import sys
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ..base.units import format_seconds
from ..results.measures import value
from .cells import Cell, summary
from .play import Watcher


def told(cell: Cell) -> str:
    """A cell and how it ended."""
    if cell.state == "failed":
        return f"{cell}  failed: {cell.reason.splitlines()[0]}"
    found = summary(cell)
    shown = [f"{name} {value(found, name):.3f}" for name in ("accuracy", "perplexity") if found.get(name) is not None]
    return "  ".join([str(cell), *shown, f"simulated {format_seconds(value(found, 'sim_time_s'))}",
                      f"in {format_seconds(value(found, 'host.wall_s'))}"])  # fmt: skip


class Lines(Watcher):
    """A line per cell."""

    def __init__(self) -> None:
        self._done, self._total = 0, 0

    def begun(self, total: int, there: int) -> None:
        """Say how much is there already."""
        self._done, self._total = there, total
        self._say(f"{total} cells, {there} of them played before")

    def ended(self, cell: Cell) -> None:
        """Say how a cell ended."""
        self._done += 1
        width = len(str(self._total))
        self._say(f"[{self._done:{width}d}/{self._total}]  {told(cell)}")

    def _say(self, text: str) -> None:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()


class Bar(Watcher):
    """A live bar over cells, with the latest one, and a line for each that fails."""

    def __init__(self, name: str) -> None:
        self._progress = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[status]}", markup=False),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._task = self._progress.add_task(name, total=None, status="")

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def begun(self, total: int, there: int) -> None:
        """Show how much is there already."""
        self._progress.update(self._task, total=total, completed=there)

    def ended(self, cell: Cell) -> None:
        """Move the bar."""
        self._progress.update(self._task, advance=1, status=told(cell))
        if cell.state == "failed":
            self._progress.console.print(told(cell), markup=False)
