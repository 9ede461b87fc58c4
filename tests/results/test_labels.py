"""What runs are called beside each other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from saved_runs import made

from elsa_sim.results.labels import run_labels, run_names


def test_figures_name_protocols_and_tables_name_runs() -> None:
    runs = [made("a"), made("b", protocol="fedavg")]
    assert run_labels(runs) == ["elsa", "fedavg"]
    assert run_names(runs) == ["a", "b"]


def test_runs_of_one_name_are_told_apart(tmp_path: Path) -> None:
    a, b = (replace(made("same"), folder=tmp_path / name) for name in ("x", "y"))
    assert run_names([a, b]) == run_labels([a, b]) == ["x", "y"]
    deep = [replace(made("same"), folder=tmp_path / name / "out") for name in ("x", "y")]
    assert run_names(deep) == ["x/out", "y/out"]
    assert run_names([a, a]) == ["x (1)", "x (2)"]


def test_cells_go_by_the_labels_of_their_axes(tmp_path: Path) -> None:
    cells = [replace(made(seed=seed), labels={"system": system, "partition.alpha": "0.1"})
             for system in ("elsa", "plain") for seed in (1, 2)]  # fmt: skip
    assert run_names(cells[::2]) == run_labels(cells[::2]) == ["elsa, alpha 0.1", "plain, alpha 0.1"]
    assert run_labels(cells[:2]) == ["elsa, alpha 0.1, seed 1", "elsa, alpha 0.1, seed 2"]
    placed = replace(cells[0], folder=tmp_path / "first" / "cells" / "k")
    assert run_names([placed, made("elsa, alpha 0.1")], means=True) == ["elsa, alpha 0.1, first", "elsa, alpha 0.1"]
    assert run_names([cells[0], made("mine")]) == ["elsa, alpha 0.1", "mine"]
