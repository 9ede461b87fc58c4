"""What runs are called beside each other: the shortest labels that tell them apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from .run_directory import Results

Naming: TypeAlias = Callable[[Results], str]


def run_labels(runs: Sequence[Results]) -> list[str]:
    """For figures: protocol, else name, else with the seed, else the folder; cells of a study by the labels of its axes."""
    return _distinct(runs, lambda r: r.protocol or r.name, _name, lambda r: f"{r.name}, {r.protocol}", _seeded)


def run_names(runs: Sequence[Results], means: bool = False) -> list[str]:
    """For tables, which have columns for protocol and seed: name, else the folder; cells of a study as in figures.

    With ``means``, cells stand for those of all seeds.
    """
    return _distinct(runs, _name, means=means)


def _distinct(runs: Sequence[Results], *choices: Naming, means: bool = False) -> list[str]:
    of_cells = (cell_label, _cell_of_study) if means else (cell_label, _cell_and_seed, _cell_of_study)
    for choose in (*choices, _folder, _place):
        for of_cell in of_cells:
            labels = [of_cell(run) if run.labels else choose(run) for run in runs]
            if len(set(labels)) == len(labels):
                return labels
    return [f"{cell_label(run) if run.labels else _folder(run)} ({i})" for i, run in enumerate(runs, 1)]


def _name(run: Results) -> str:
    return run.name


def _folder(run: Results) -> str:
    return run.folder.resolve().name if run.folder else run.name


def _place(run: Results) -> str:
    """The folder's name, and that of the folder that it is in."""
    return "/".join(run.folder.resolve().parts[-2:]) if run.folder else run.name


def _seeded(run: Results) -> str:
    return f"{run.name}, {run.protocol}, seed {run.summary.get('seed')}"


def cell_label(run: Results) -> str:
    """The labels of a cell's axes: of an axis that is a key path with the last key, ``elsa, alpha 0.1``."""
    return labelled(run.labels)


def labelled(labels: Mapping[str, str]) -> str:
    """Labels of axes in one text; see :func:`cell_label`."""
    return ", ".join(f"{axis.rpartition('.')[2]} {label}" if "." in axis else label for axis, label in labels.items())


def _cell_and_seed(run: Results) -> str:
    return f"{cell_label(run)}, seed {run.summary.get('seed')}"


def _cell_of_study(run: Results) -> str:
    return cell_label(run) if run.folder is None else f"{cell_label(run)}, {run.folder.resolve().parent.parent.name}"
