"""What a run shows while it goes on: a live bar on a terminal, a display in a notebook, plain lines elsewhere.

Bars and lines go to standard error.
"""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from html import escape
from types import TracebackType
from typing import Any

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


class Display(Observer):
    """The same in the output of a notebook's cell, which it rewrites; needs no widgets."""

    #: Host time (s) from one change of the output to the next, at least.
    EVERY = 0.25

    def __init__(self, name: str) -> None:
        self._name, self._status, self._latest = name, "loading", ""
        self._share: float | None = None
        self._begin = self._changed = time.monotonic()

    def __enter__(self) -> Display:
        show = importlib.import_module("IPython.display").display
        self._handle: Any = show(self._content(), raw=True, display_id=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._status += "  (did not finish)"
        self._handle.update(self._content(), raw=True)  # no times of this machine stay in a notebook

    def progressed(self, now: float, done: int, total: int) -> None:
        """Move the bar, if it was not moved just before."""
        self._share = done / total if total else None
        self._status = f"simulated {format_seconds(now)}"
        moment = time.monotonic()
        if moment - self._changed >= self.EVERY:
            self._changed = moment
            left = (moment - self._begin) * (1.0 / self._share - 1.0) if self._share else None
            told = "" if left is None else f"  {format_seconds(round(left))} left"
            self._handle.update(self._content(told), raw=True)

    def evaluated(self, now: float, round: int, metrics: Mapping[str, float]) -> None:
        """Keep the latest metrics beside the bar."""
        self._latest = f"  round {round}  {_measured(metrics)}".rstrip()

    def _content(self, more: str = "") -> dict[str, str]:
        share = "" if self._share is None else f"{100.0 * self._share:.0f} %  "
        text = f"{share}{self._status}{self._latest}{more}"
        bar = "" if self._share is None else f' <progress value="{self._share:.4f}"></progress>'
        html = f"<div><b>{escape(self._name)}</b>{bar} {escape(text).replace('  ', ' &ensp;')}</div>"
        return {"text/plain": f"{self._name}  {text}", "text/html": html}


class _Both(Observer):
    """Tells two observers."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def progressed(self, now: float, done: int, total: int) -> None:
        for each in self._observers:
            each.progressed(now, done, total)

    def evaluated(self, now: float, round: int, metrics: Mapping[str, float]) -> None:
        for each in self._observers:
            each.evaluated(now, round, metrics)


def in_notebook() -> bool:
    """Whether this is a kernel of Jupyter, whose outputs can be displays; IPython in a terminal is none."""
    module: Any = sys.modules.get("IPython")  # where there is a kernel, it is imported
    shell = module.get_ipython() if module is not None else None
    return getattr(shell, "kernel", None) is not None


@contextmanager
def shown(name: str, observer: Observer | None, progress: bool | None) -> Iterator[Observer]:
    """Whom a run tells how it goes on: ``observer``, and what shows it if ``progress`` (``None``: in notebooks, in place of
    an observer)."""
    if progress is None:
        progress = observer is None and in_notebook()
    if not progress:
        yield observer or Observer()
    elif not in_notebook() and not sys.stderr.isatty():
        yield Lines() if observer is None else _Both(observer, Lines())
    else:
        with Display(name) if in_notebook() else Bar(name) as view:
            yield view if observer is None else _Both(observer, view)
