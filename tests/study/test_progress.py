"""What a study shows while it goes on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from studies import known

from elsa_sim.study import Cell
from elsa_sim.study.cells import cells as listed
from elsa_sim.study.progress import Bar, Lines, told

SUMMARY = {"accuracy": 0.5, "perplexity": None, "sim_time_s": 90.0, "host": {"wall_s": 2.0}}


@pytest.fixture
def cells(tmp_path: Path) -> list[Cell]:
    """One that is done, and one that failed."""
    done, failed, *_ = listed(known(tmp_path), tmp_path / "cells")
    done.folder.mkdir(parents=True)
    (done.folder / "summary.json").write_text(json.dumps(SUMMARY), encoding="utf-8")
    failed.folder.mkdir(parents=True)
    (failed.folder / "failed.txt").write_text("no [luck]\nand more", encoding="utf-8")
    return [done, failed]


def test_a_cell_and_how_it_ended(cells: list[Cell]) -> None:
    done, failed = map(told, cells)
    assert done == f"{cells[0]}  accuracy 0.500  simulated 1 min 30.0 s  in 2 s"
    assert failed == f"{cells[1]}  failed: no [luck]"


def test_lines_count_what_was_there(cells: list[Cell], capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines()
    lines.begun(12, 3)
    for cell in cells:
        lines.ended(cell)
    assert capsys.readouterr().err.splitlines() == [
        "12 cells, 3 of them played before", f"[ 4/12]  {told(cells[0])}", f"[ 5/12]  {told(cells[1])}"]  # fmt: skip


def test_a_bar_moves_and_keeps_what_failed(cells: list[Cell], capsys: pytest.CaptureFixture[str]) -> None:
    with Bar("grid") as bar:
        bar.begun(3, 1)
        for cell in cells:
            bar.ended(cell)
    (task,) = bar._progress.tasks
    assert (task.total, task.completed) == (3, 3)
    assert told(cells[1])[:40] in capsys.readouterr().err
