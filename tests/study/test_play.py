"""Studies that are played: in parallel, once, on after a kill, and past cells that fail."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from small_runs import TEXT
from studies import STUDY, TIMING, known, pretend, written

from elsa_sim.base.errors import InputError
from elsa_sim.cli.commands import main
from elsa_sim.study import Cell, cells, play, read, runner
from elsa_sim.study.execution import DIED
from elsa_sim.study.progress import Lines

MAIN = [sys.executable, "-c", "from elsa_sim.cli.commands import main; main()"]
DEADLY = '''
import os, signal
from typing import Literal
from elsa_sim.protocols.base import Protocol


class Deadly(Protocol):
    """Ends the process it runs in, as a lack of memory does."""

    kind: Literal["deadly"] = "deadly"

    def run(self, world):
        os.kill(os.getpid(), signal.SIGKILL)
        yield
'''


@pytest.fixture(autouse=True)
def _undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures have tests of their own."""
    monkeypatch.setattr("elsa_sim.study.figures.save", lambda *args: [])


def nothing(cell: Cell) -> dict[str, object]:
    return {"accuracy": 0.5, "sim_time_s": 1.0, "bytes": {"total": 1}}


def test_what_was_played_is_not_played_again(tmp_path: Path) -> None:
    study, seen = known(tmp_path), list[Cell]()
    play(study, tmp_path / "out", pretend(nothing, seen))
    assert len(seen) == 8
    play(study, tmp_path / "out", pretend(nothing, seen))
    assert len(seen) == 8
    wider = known(tmp_path, STUDY.replace("[1, 2]", "[1, 2, 3]"))
    outcome = play(wider, tmp_path / "out", pretend(nothing, seen))
    assert [cell.seed for cell in seen[8:]] == [3] * 4
    assert set(outcome.table["n"]) == {3}


def test_cells_that_failed_are_listed_and_left_unless_asked(tmp_path: Path) -> None:
    study, seen = known(tmp_path), list[Cell]()

    def failing(cells: list[Cell]) -> Iterator[Cell]:
        bad, *good = cells
        bad.folder.mkdir(parents=True)
        (bad.folder / "failed.txt").write_text("no luck")
        yield bad
        yield from pretend(nothing, seen)(good)

    outcome = play(study, tmp_path / "out", failing)  # type: ignore[arg-type]
    (bad,) = outcome.failed
    runs = pd.read_csv(tmp_path / "out" / "runs.csv").set_index("run")
    assert runs.loc[bad.key, ["state", "reason"]].tolist() == ["failed", "no luck"]
    assert sorted(outcome.table["n"].unique()) == [1, 2]
    assert play(study, tmp_path / "out", pretend(nothing, seen)).failed
    assert len(seen) == 7
    assert not play(study, tmp_path / "out", pretend(nothing, seen), retry=True).failed
    assert len(seen) == 8


def test_it_ends_with_its_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def measured(cell: Cell) -> dict[str, object]:
        return nothing(cell) | {
            "accuracy": 0.5 + 0.1 * cell.seed,
            "bytes": {"total": 2_000_000},
            "host": {"wall_s": 1.0},
        }

    monkeypatch.setattr("elsa_sim.study.runner", lambda *args: pretend(measured))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "argv", ["elsa-sim", "study", str(written(tmp_path)), "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code in (0, None)
    out = capsys.readouterr().out
    assert "elsa, topics 3" in " ".join(out.split())
    assert "0.6500 ± 0.0707" in out
    assert "bytes (MB)" in out
    assert "mean ± standard deviation over the seeds, of which there are 2" in out
    assert out.splitlines()[-1].startswith("Table: ")
    assert all(len(line) <= 80 for line in out.splitlines()[:-1])
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--quiet"])
    with pytest.raises(SystemExit):
        main()
    assert capsys.readouterr().out == ""


def test_only_one_study_at_a_time_in_a_folder(tmp_path: Path) -> None:
    study = known(tmp_path)

    def meanwhile(cells: list[Cell]) -> Iterator[Cell]:
        with pytest.raises(InputError, match="another study is being played there"):
            play(study, tmp_path / "out", pretend(nothing))
        yield from pretend(nothing)(cells)

    play(study, tmp_path / "out", meanwhile)  # type: ignore[arg-type]


def test_a_file_in_the_place_of_a_cell_is_told(tmp_path: Path) -> None:
    study = known(tmp_path)
    (tmp_path / "out" / "cells").mkdir(parents=True)
    cell = cells(study, tmp_path / "out" / "cells")[0]
    cell.folder.write_text("mine")
    with pytest.raises(InputError, match=rf"{cell.key}: is a file, where the run of a cell belongs"):
        play(study, tmp_path / "out", pretend(nothing))
    assert cell.folder.read_text() == "mine"


def command(path: Path, *more: object) -> list[str]:
    return [*MAIN, "study", str(path), "--out", str(path.parent / "out"), *map(str, more)]


def ended(cells: Path) -> dict[Path, int]:
    """The summaries of the cells that were played, and when they were written."""
    return {p: p.stat().st_mtime_ns for p in cells.glob("*/summary.json") if p.parent.suffix != ".partial"}


@pytest.mark.processes
def test_a_killed_study_goes_on_where_it_stopped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, folder = written(tmp_path, base=TEXT + TIMING), tmp_path / "out" / "cells"
    with subprocess.Popen(command(path, "--jobs", 1, "--quiet"), start_new_session=True) as process:
        end = time.monotonic() + 600
        while not ended(folder) and time.monotonic() < end:
            time.sleep(0.005)
        os.killpg(process.pid, signal.SIGKILL)
    before = ended(folder)
    assert 1 <= len(before) < 8
    study = read(path)
    assert not play(study, tmp_path / "out", runner(study, 1), watcher=Lines()).failed
    assert f"8 cells, {len(before)} of them played before" in capsys.readouterr().err
    after = ended(folder)
    assert len(after) == 8
    assert before.items() <= after.items()
    assert not list(folder.glob("*.partial"))
    table = pd.read_csv(tmp_path / "out" / "table.csv")
    assert (table.loc[table["metric"] == "bytes.total", "n"] == 2).all()


@pytest.mark.processes
def test_an_interrupt_ends_a_study_with_its_status(tmp_path: Path) -> None:
    path = written(tmp_path, base=TEXT + TIMING)
    with subprocess.Popen(command(path, "--jobs", 2), stderr=subprocess.PIPE, text=True) as process:
        end = time.monotonic() + 600
        while not ended(tmp_path / "out" / "cells") and time.monotonic() < end:
            time.sleep(0.005)
        process.terminate()
        _, said = process.communicate(timeout=600)
    assert process.returncode == 130
    assert "the same command goes on" in said
    assert "Traceback" not in said


@pytest.mark.processes
def test_jobs_change_nothing(tmp_path: Path) -> None:
    tables = []
    for jobs in (1, 2):
        (tmp_path / str(jobs)).mkdir()
        study = known(tmp_path / str(jobs), STUDY.replace("[3, 4]", "[3]").replace("[1, 2]", "[1]"))
        tables.append(play(study, tmp_path / str(jobs), runner(study, jobs)).table)
    pd.testing.assert_frame_equal(*tables)


@pytest.fixture
def deadly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study of which one system kills its process, played in a folder with the plugin that does so."""
    (tmp_path / "deadly_plugin.py").write_text(DEADLY, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    text = STUDY.replace("elsa: {}", "deadly: {protocol: deadly}")
    text = text.replace("[3, 4]", "[3]").replace("[1, 2]", "[1]")
    return written(tmp_path, text, TEXT + TIMING)


@pytest.mark.processes
def test_a_process_that_dies_fails_its_cell_only(deadly: Path) -> None:
    done = subprocess.run(command(deadly, "--jobs", 2, "--plugin", "deadly_plugin"), capture_output=True, text=True,
                          timeout=900, check=False)  # fmt: skip
    assert done.returncode == 3, done.stderr
    runs = pd.read_csv(deadly.parent / "out" / "runs.csv")
    assert (runs.loc[runs["system"] == "deadly", "reason"] == DIED).all()
    assert (runs.loc[runs["system"] != "deadly", "state"] == "done").all()
    assert "1 of 2 cells failed; the others are in the table" in done.stderr
    assert "Traceback" not in done.stderr
