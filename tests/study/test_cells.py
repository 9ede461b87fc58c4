"""Cells are named after what they play, appear when they have ended, and repeat."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import pytest
from small_runs import TEXT
from studies import STUDY, known

from elsa_sim.results import metrics
from elsa_sim.run import simulation
from elsa_sim.scenario import model
from elsa_sim.study import cells
from elsa_sim.study.cells import play


def keys(folder: Path, text: str = STUDY, base: str = TEXT) -> set[str]:
    folder.mkdir(exist_ok=True)
    return {cell.key for cell in cells(known(folder, text, base), folder)}


def test_the_key_is_the_content(tmp_path: Path) -> None:
    first = keys(tmp_path / "a")
    assert keys(tmp_path / "b") == first
    assert keys(tmp_path / "c", STUDY.replace("elsa: {}", "ours: {}").replace("[accuracy, ", "[")) == first
    assert keys(tmp_path / "d", STUDY.replace("[3, 4]", "[3, 4, 5]")) > first
    assert keys(tmp_path / "e", STUDY.replace("[1, 2]", "[1, 2, 3]")) > first
    assert not keys(tmp_path / "f", base=TEXT.replace("10 ms", "11 ms")) & first
    with patch("elsa_sim.study.cells.__version__", "9.9.9"):
        assert not keys(tmp_path / "g") & first


def test_a_cell_is_a_run_directory_that_its_scenario_repeats(tmp_path: Path) -> None:
    cell = cells(known(tmp_path), tmp_path / "cells")[0]
    assert cell.state == "open"
    play(cell.text, cell.folder)
    assert cell.state == "done"
    first = metrics.load(cell.folder)
    again = simulation.run(model.load(cell.folder / "scenario.yaml"))
    assert first.summary["trace_sha256"] == again.summary["trace_sha256"]
    assert first.summary["seed"] == 1
    assert not list(cell.folder.parent.glob("*.partial"))


def test_nothing_is_there_until_a_run_has_ended(tmp_path: Path) -> None:
    cell = cells(known(tmp_path), tmp_path / "cells")[0]
    with patch("elsa_sim.run.simulation.run", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        play(cell.text, cell.folder)
    assert cell.state == "open"
    (cell.folder.with_name(f"{cell.key}.partial") / "stale").touch()
    play(cell.text, cell.folder)
    assert cell.state == "done"
    assert not (cell.folder / "stale").exists()


def test_why_a_run_failed_is_kept(tmp_path: Path) -> None:
    text = STUDY.replace("elsa: {}", "elsa: {protocol.lr: 1.0e+30}")
    cell = cells(known(tmp_path, text), tmp_path / "cells")[0]
    play(cell.text, cell.folder)
    assert cell.state == "failed"
    assert "training diverged" in cell.reason
    cell.forget()
    with patch("elsa_sim.run.simulation.run", side_effect=ZeroDivisionError("a slip")):
        play(cell.text, cell.folder)
    assert cell.reason == "ZeroDivisionError: a slip"
