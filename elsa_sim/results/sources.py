"""Runs from wherever they are: run directories, folders of studies, results in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import pandas as pd

from ..base.errors import InputError
from ..base.listing import listed
from ..base.writing import shown
from .run_directory import Results, load

#: A run, its directory, or the folder of a study, which stands for all its finished cells.
Source: TypeAlias = Results | str | Path
CELLS, RUNS = "cells", "runs.csv"


def read(sources: Source | Iterable[Source], notes: list[str] | None = None) -> Iterator[Results]:
    """The runs of ``sources``, one at a time; what is left out of them is told in ``notes``.

    Raises:
        InputError: a source is neither a run directory nor a study's folder, or a file of it cannot be read.
    """
    several = [sources] if isinstance(sources, Results | str | Path) else sources
    for source in several:
        if isinstance(source, Results):
            yield source
        elif is_study(Path(source)):
            yield from _cells(Path(source), [] if notes is None else notes)
        else:
            yield load(source)


def is_study(folder: Path) -> bool:
    """Whether a study was played into ``folder``."""
    return (folder / RUNS).is_file() or (folder / CELLS).is_dir()


def _cells(folder: Path, notes: list[str]) -> Iterator[Results]:
    path = folder / RUNS
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise InputError(
            f"{shown(folder)} holds a study that has not ended: it has no {RUNS}; the same 'elsa-sim study' goes on with it, "
            f"or name run directories in {shown(folder / CELLS)}"
        ) from None
    except (OSError, ValueError) as error:
        said = (error.strerror if isinstance(error, OSError) else None) or " ".join(str(error).split())[:200]
        raise InputError(f"{shown(path)} cannot be read: {said}") from None
    lacking = [name for name in ("seed", "run", "state") if name not in table]
    if lacking:
        raise InputError(f"{shown(path)} is no table of a study's runs: there is no column {', '.join(lacking)}")
    axes = list(table.columns[: list(table.columns).index("seed")])
    done = table[table["state"] == "done"]
    if done.empty:
        raise InputError(f"{shown(folder)}: no cell of the study has finished")
    if len(done) < len(table):
        left = [f"{', '.join(row[axes])}, seed {row['seed']}" for _, row in table[table["state"] != "done"].iterrows()]
        notes.append(f"{shown(folder)}: {len(left)} of {len(table)} cells did not finish: {listed(left)}")
    for _, row in done.iterrows():
        name = row["run"]
        if not name or Path(name).name != name:
            raise InputError(f"{shown(path)}: {name[:60]!r} in column run names no cell")
        yield replace(load(folder / CELLS / name), labels={axis: row[axis] for axis in axes})
