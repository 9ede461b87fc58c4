"""Play a study: what is not there yet, in parallel, then the table and the figures of everything that is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ..base.errors import ElsaError, InputError
from ..base.locks import Held, Lock
from ..base.writing import refused, shown
from . import figures, tables
from .cells import Cell, cells
from .execution import Runner
from .options import Study


class Watcher:
    """Is told how a study goes on; the default does nothing."""

    def begun(self, total: int, there: int) -> None:
        """``there`` of ``total`` cells are there already."""

    def ended(self, cell: Cell) -> None:
        """A cell was played."""


@dataclass(frozen=True)
class Outcome:
    """A study that was played: its cells, the table with mean and spread, the figures."""

    cells: Sequence[Cell]
    table: pd.DataFrame
    figures: Sequence[Path]

    @property
    def failed(self) -> list[Cell]:
        """The cells that failed."""
        return [cell for cell in self.cells if cell.state == "failed"]


def play(
    study: Study,
    folder: Path,
    runner: Runner,
    *,
    watcher: Watcher | None = None,
    only: Mapping[str, frozenset[str]] | None = None,
    retry: bool = False,
) -> Outcome:
    """Play the cells of ``study`` that are not in ``folder`` yet; with ``retry`` also those that failed.

    Writes ``cells/KEY/`` (a run directory each), ``runs.csv``, ``table.csv``, ``table.parquet`` and ``figures/``. What is
    interrupted or killed is resumed by the next call.

    Raises:
        ScenarioError: a configuration has faults; nothing was played.
        InputError: the folder cannot be used, or another study is played into it.
    """
    watcher = watcher or Watcher()
    found = cells(study, folder / "cells", only)
    try:
        (folder / "cells").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unusable(folder, error) from None
    for cell in found:
        if cell.folder.exists() and not cell.folder.is_dir():
            raise InputError(f"{cell.folder}: is a file, where the run of a cell belongs; rename or delete it")
    with _alone(folder):
        if retry:
            for cell in found:
                if cell.state == "failed":
                    cell.forget()
        todo = list({cell.key: cell for cell in found if cell.state == "open"}.values())
        watcher.begun(len(found), len(found) - len(todo))
        if todo:
            for cell in runner(todo):
                watcher.ended(cell)
        runs = tables.runs(study, found)
        table = tables.tidy(study, runs)
        tables.write(table, runs, folder)
        return Outcome(found, table, figures.save(study, found, table, folder / "figures"))


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep others out of the folder; the lock ends with the process, however that ends."""
    try:
        lock = Lock(folder / ".lock")
    except Held:
        raise InputError(f"--out {shown(folder)}: another study is being played there") from None
    except OSError as error:
        raise _unusable(folder, error) from None
    try:
        yield
    finally:
        lock.release()


def _unusable(folder: Path, error: OSError) -> ElsaError:
    return refused(error, f"--out {shown(folder)}: no study can be written there")
