"""What a run shows while it goes on: a live bar on a terminal, plain lines elsewhere (both on standard error).

Tested in tests/cli/test_commands.py.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ..base.units import format_seconds
from ..world.progress import Observer


def _measured(metrics: Mapping[str, float]) -> str:
    shown = [name for name in ("accuracy", "loss", "perplexity") if name in metrics]
    return "  ".join(f"{name} {metrics[name]:.3f}" for name in shown)


class Lines(Observer):
    """A line per evaluation."""

    def evaluated(self, now: float, round: int, metrics: Mapping[str, float]) -> None:
        """Print where the run stands."""
        sys.stderr.write(f"round {round:3d}  simulated {format_seconds(now)}  {_measured(metrics)}".rstrip() + "\n")
        sys.stderr.flush()


class Bar(Observer):
    """A live progress bar over local steps, with simulated time and the latest evaluation."""

    def __init__(self, name: str) -> None:
        self._progress = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[status]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._task = self._progress.add_task(name, total=None, status="loading")
        self._latest = ""

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def progressed(self, now: float, done: int, total: int) -> None:
        """Move the bar."""
        status = f"simulated {format_seconds(now)}  {self._latest}"
        self._progress.update(self._task, completed=done, total=total, status=status)

    def evaluated(self, now: float, round: int, metrics: Mapping[str, float]) -> None:
        """Keep the latest metrics beside the bar."""
        self._latest = f"round {round}  {_measured(metrics)}"
