"""``elsa-sim resume`` after SIGKILL: runs that are killed at checkpoints, while writing one, and once more when resumed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from resumed import assert_same
from small_runs import TEXT

from elsa_sim.cli import commands
from elsa_sim.results.metrics import load
from elsa_sim.run import simulation

CHANGES = (
    "protocol={kind: alignfed, clients: split, rounds: 12, local_steps: 2}",
    "codec.activation=[{kind: ssop, rank: 4}, {kind: sketch, rows: 2, columns: 8}]",
    "devices.overrides={client1: {slowdown: 2.7}}",
    "checkpoint={every: 1}",
    "adapters.best=true",
)


def killed(folder: Path, *command: str, at: str) -> bool:
    """Begin a command and kill it when a file or folder of that name is there; returns whether it was still running."""
    line = [sys.executable, "-m", "elsa_sim", *command]
    process = subprocess.Popen(line, cwd=folder, stderr=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"})
    while not (folder / "out.partial" / at).exists() and process.poll() is None:
        time.sleep(0.0005)
    process.send_signal(signal.SIGKILL)
    _, said = process.communicate()
    assert process.returncode == -signal.SIGKILL, said.decode()
    return True


def resume(folder: Path, monkeypatch: pytest.MonkeyPatch, *more: str) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["elsa-sim", "resume", "out", *more])
    with pytest.raises(SystemExit) as end:
        commands.main()
    assert not end.value.code


@pytest.mark.processes
def test_killed_runs_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    sets = [word for change in CHANGES for word in ("--set", change)]
    (tmp_path / "small.yaml").write_text(TEXT)
    assert killed(tmp_path, "run", "small.yaml", "--out", "out", *sets, at="checkpoint/round-4.partial")
    assert load(tmp_path / "out.partial").summary["complete"] is False
    assert killed(tmp_path, "resume", "out", "--quiet", at="checkpoint/round-7")
    resume(tmp_path, monkeypatch, "--quiet")
    assert capsys.readouterr().out == ""
    whole = simulation.run(tmp_path / "small.yaml", tmp_path / "whole", overrides=CHANGES)
    assert_same(load(tmp_path / "out"), whole)
    assert (tmp_path / "out" / "figures" / "timeline.png").exists()
    resume(tmp_path, monkeypatch, "--set", "protocol.rounds=62")
    assert "Run directory: " in capsys.readouterr().out
    longer = simulation.run(tmp_path / "small.yaml", tmp_path / "longer", overrides=[*CHANGES, "protocol.rounds=62"])
    assert_same(load(tmp_path / "out"), longer)
