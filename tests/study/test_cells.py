"""Cells are named after what they play, appear when they have ended, and repeat."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from unittest.mock import patch

import pytest
from small_runs import TEXT
from studies import STUDY, TIMING, known

from elsa_sim.base.errors import RunFailed
from elsa_sim.results import metrics
from elsa_sim.run import simulation
from elsa_sim.run.folder import Draft
from elsa_sim.scenario import model
from elsa_sim.study import Cell, cells
from elsa_sim.study.cells import give_up, play
from elsa_sim.world.progress import Progress


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


def first(tmp_path: Path, text: str = STUDY) -> Cell:
    return cells(known(tmp_path, text, TEXT + TIMING), tmp_path / "cells")[0]


def partial(cell: Cell) -> Path:
    return cell.folder.with_name(f"{cell.key}.partial")


def test_nothing_is_there_until_a_run_has_ended(tmp_path: Path) -> None:
    cell = first(tmp_path)
    with patch.object(Progress, "advance", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        play(cell.text, cell.folder)
    assert cell.state == "open"
    assert metrics.load(partial(cell)).summary["outcome"] == "interrupted"
    play(cell.text, cell.folder)
    assert cell.state == "done"
    assert [path.name for path in cell.folder.parent.iterdir()] == [cell.key]


def test_a_run_that_ended_and_was_killed_before_it_had_its_name_is_not_played_again(tmp_path: Path) -> None:
    cell = first(tmp_path)
    play(cell.text, cell.folder)
    cell.folder.rename(partial(cell))
    with patch.object(Progress, "advance", side_effect=ZeroDivisionError):
        play(cell.text, cell.folder)
    assert cell.state == "done"
    assert not partial(cell).exists()


@pytest.mark.parametrize(("name", "text"), [("summary.json", None), ("summary.json", "{"), ("summary.json", "[]"),
                                            ("summary.json", '{"complete": false}'), ("rounds.csv", None),
                                            ("rounds.csv", ""), ("rounds.csv", "sim_time_s,accuracy\na,b\n")])  # fmt: skip
def test_a_cell_that_cannot_be_read_is_played_again(tmp_path: Path, name: str, text: str | None) -> None:
    cell = first(tmp_path)
    play(cell.text, cell.folder)
    (cell.folder / name).unlink()
    (cell.folder / "notes.txt").write_text("mine")
    if text is not None:
        (cell.folder / name).write_text(text)
    assert cell.state == "open"
    play(cell.text, cell.folder)
    assert cell.state == "done"
    assert metrics.load(cell.folder).summary["outcome"] == "done"
    assert (cell.folder / "notes.txt").read_text() == "mine"
    assert [path.name for path in cell.folder.parent.iterdir()] == [cell.key]


def test_a_cell_that_another_process_plays_is_waited_for(tmp_path: Path) -> None:
    cell = first(tmp_path)
    play(cell.text, cell.folder)
    cell.folder.rename(partial(cell))
    other = Draft(cell.folder, "continue")
    with patch("elsa_sim.study.cells.time.sleep", side_effect=lambda seconds: other.settle()) as slept:
        play(cell.text, cell.folder)
    assert slept.call_count == 1
    assert cell.state == "done"
    assert [path.name for path in cell.folder.parent.iterdir()] == [cell.key]


def test_a_full_disk_fails_no_cell(tmp_path: Path) -> None:
    """It ends the study, which goes on when there is room."""
    cell, full = first(tmp_path), OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with patch("elsa_sim.run.simulation.Recorder", side_effect=full), pytest.raises(RunFailed, match="No space left"):
        play(cell.text, cell.folder)
    assert cell.state == "open"
    assert not list(cell.folder.parent.iterdir())


def test_a_cell_is_given_up_once(tmp_path: Path) -> None:
    cell = first(tmp_path)
    give_up(cell.folder, "it died")
    assert (cell.state, cell.reason) == ("failed", "it died")
    (cell.folder / "failed.txt").write_text("")
    assert cell.reason == "for a reason unknown"
    cell.forget()
    assert cell.state == "open"
    play(cell.text, cell.folder)
    give_up(cell.folder, "it died")
    assert cell.state == "done"


def test_why_a_run_failed_is_kept(tmp_path: Path) -> None:
    text = STUDY.replace("elsa: {}", "elsa: {protocol.lr: 1.0e+30}")
    cell = cells(known(tmp_path, text), tmp_path / "cells")[0]
    play(cell.text, cell.folder)
    assert cell.state == "failed"
    assert "training diverged" in cell.reason
    cell.forget()
    with patch("elsa_sim.run.simulation.play", side_effect=ZeroDivisionError("a slip")):
        play(cell.text, cell.folder)
    assert cell.reason == "ZeroDivisionError: a slip"
