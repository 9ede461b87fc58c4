"""Cells are named after what they play, appear when they have ended, and repeat."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from resumed import assert_same, killed_after
from small_runs import TEXT, quick
from studies import STUDY, TIMING, known

from elsa_sim.base.errors import RunFailed
from elsa_sim.base.registry import load_plugin
from elsa_sim.protocols.base import Protocol
from elsa_sim.results import metrics
from elsa_sim.results.metrics import Results, load
from elsa_sim.run import checks, simulation
from elsa_sim.run.checkpoint_files import Checkpoint
from elsa_sim.run.checkpoints import Checkpoints
from elsa_sim.run.folder import Draft
from elsa_sim.scenario import model
from elsa_sim.scenario.document import parse
from elsa_sim.study import Cell, cells
from elsa_sim.study.cells import give_up, play, summary
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
                                            ("rounds.csv", ""), ("rounds.csv", "sim_time_s,accuracy\na,b\n"),
                                            ("events.parquet", None), ("events.parquet", "x\n")])  # fmt: skip
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


FILES = """\
protocol: {kind: fedavg, rounds: 1, local_steps: 2, lr: 1.0e-2}
backbone: {name: tiny-bert, config: {num_hidden_layers: 1, hidden_size: 16, intermediate_size: 16, num_attention_heads: 2}}
task: {kind: text_file, train: train.csv, test: test.csv, format: csv}
topology: {kind: star, clients: 2, access: {up: 20 Mbit/s, trace: trace.csv}}
"""
ONE = "scenario: base.yaml\naxes: {protocol.local_steps: [2]}\n"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A scenario's files."""
    for name in ("train.csv", "test.csv"):
        rows = "".join(f"{'red' if i % 2 else 'blue'} a b,{'AB'[i % 2]}\n" for i in range(24))
        (tmp_path / name).write_text(f"text,label\n{rows}", encoding="utf-8")
    (tmp_path / "trace.csv").write_text("time_s,bandwidth_bps\n0,2000000\n1,2000000\n", encoding="utf-8")
    return tmp_path


def only(folder: Path) -> Cell:
    (cell,) = cells(known(folder, ONE, FILES), folder / "cells")
    return cell


@pytest.mark.parametrize("name", ["train.csv", "test.csv", "trace.csv"])
def test_other_contents_make_another_cell_and_the_old_ones_the_old(files: Path, name: str) -> None:
    first = only(files)
    content = (files / name).read_text()
    (files / name).write_text(content.replace("A\n", "C\n").replace("B\n", "A\n").replace("C\n", "B\n")
                              .replace("2000000", "200000"))  # fmt: skip
    other = only(files)
    assert other.key != first.key
    assert other.text == first.text
    (files / name).write_text(content)
    assert only(files).key == first.key


def test_results_are_of_the_files_that_are_there(files: Path) -> None:
    """Ten times slower, and with other labels in the test: another time, another accuracy, beside the old cell."""
    first = only(files)
    play(first.text, first.folder)
    (files / "trace.csv").write_text("time_s,bandwidth_bps\n0,200000\n1,200000\n")
    test = (files / "test.csv").read_text().replace("A\n", "C\n").replace("B\n", "A\n").replace("C\n", "B\n")
    (files / "test.csv").write_text(test)
    second = only(files)
    assert (first.state, second.state) == ("done", "open")
    play(second.text, second.folder)
    before, after = summary(first), summary(second)
    assert after["sim_time_s"] > 5 * before["sim_time_s"]
    assert after["accuracy"] == pytest.approx(1 - before["accuracy"])
    digest = hashlib.sha256((files / "test.csv").read_bytes()).hexdigest()
    assert after["inputs"][str(files / "test.csv")] == digest != before["inputs"][str(files / "test.csv")]


def test_a_cell_whose_files_changed_before_it_was_played_has_failed(files: Path) -> None:
    cell = only(files)
    content = (files / "test.csv").read_text()
    (files / "test.csv").write_text(content + "red a,A\n")
    play(cell.text, cell.folder)
    assert cell.state == "failed"
    assert cell.reason == "files of the scenario changed since the study was begun; begin it again"
    cell.forget()
    assert cell.state == "open"  # what was played does not count, also once its failure is taken back
    (files / "test.csv").write_text(content)
    check, run = checks.check, simulation.play

    def changed(*what: Any) -> checks.Plan:
        (files / "test.csv").write_text(content + "red a,A\n")
        return check(*what)

    def restored(*what: Any, **how: Any) -> Results:
        try:
            return run(*what, **how)
        finally:
            (files / "test.csv").write_text(content)

    with patch("elsa_sim.run.checks.check", changed), patch("elsa_sim.run.simulation.play", restored):
        play(cell.text, cell.folder)
    assert cell.state == "failed"
    assert str(files / "test.csv") in cell.reason
    cell.forget()
    play(cell.text, cell.folder)
    assert cell.state == "done"


PLUGIN = '''
from typing import Literal
from elsa_sim.plugins import Protocol
import stale_helper

class Stale(Protocol):
    """Waits."""

    kind: Literal["stale"] = "stale"

    def run(self, world):
        yield world.sleep(1)
'''


def test_other_source_of_a_plugin_makes_another_cell(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(files)
    (files / "stale_plugin.py").write_text(PLUGIN)
    (files / "stale_helper.py").write_text("x = 1\n")
    members = dict(Protocol.members)
    try:
        load_plugin("stale_plugin")
        study = known(files, ONE.replace("protocol.local_steps: [2]", "protocol.kind: [stale]"), FILES.replace(
            "{kind: fedavg, rounds: 1, local_steps: 2, lr: 1.0e-2}", "{kind: stale}"))  # fmt: skip
        keys = []
        for name, text in (("", ""), ("stale_plugin.py", PLUGIN + "\n"), ("stale_helper.py", "x = 2\n")):
            if name:
                (files / name).write_text(text)
            keys.append(cells(study, files / "cells")[0].key)
        assert len(set(keys)) == 3
        (files / "stale_plugin.py").write_text(PLUGIN)
        (files / "stale_helper.py").write_text("x = 1\n")
        assert cells(study, files / "cells")[0].key == keys[0]
    finally:
        Protocol.members = members
        for name in ("stale_plugin", "stale_helper"):
            sys.modules.pop(name, None)


LENGTHS = """\
scenario: base.yaml
axes: {protocol.rounds: [2, 3]}
set: {checkpoint.every: 1, checkpoint.keep: 9}
metrics: [accuracy]
"""


def test_a_killed_cell_goes_on_and_a_longer_one_from_a_shorter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study, resumed = known(tmp_path, LENGTHS), list[tuple[str, int]]()
    went_on = Checkpoints._resume

    def kept(self: Checkpoints, after: Checkpoint) -> None:
        resumed.append((self._folder.path.parent.stem, after.round))
        went_on(self, after)

    monkeypatch.setattr(Checkpoints, "_resume", kept)
    short, longer = cells(study, tmp_path / "cells")
    with quick():
        for each in (short, longer):
            play(each.text, each.folder)
        assert resumed == [(longer.key, 2)]
        whole = [simulation.run(parse(each.text, "whole.yaml").data, tmp_path / each.key) for each in (short, longer)]
    assert_same(load(longer.folder), whole[1])
    shutil.rmtree(longer.folder)
    killed_after(short.folder, short.folder, 1)
    shutil.rmtree(short.folder)
    with quick():
        play(short.text, short.folder)
    assert resumed == [(longer.key, 2), (short.key, 1)]
    assert_same(load(short.folder), whole[0])


def test_a_cell_whose_checkpoint_is_of_another_run_is_played_anew(tmp_path: Path) -> None:
    study = known(tmp_path, LENGTHS)
    short, _ = cells(study, tmp_path / "cells")
    with quick():
        whole = simulation.run(parse(short.text, "whole.yaml").data, short.folder)
        killed_after(short.folder, short.folder, 1)
        state = short.folder.with_suffix(".partial") / "checkpoint" / "round-1" / "state.json"
        state.write_text(state.read_text().replace('"rows": ', '"rows": 1'))
        shutil.move(short.folder, tmp_path / "whole")
        play(short.text, short.folder)
    assert_same(load(short.folder), replace(whole, folder=tmp_path / "whole"))
