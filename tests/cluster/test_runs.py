"""Runs with workers on a Ray cluster of two processes, through the command line, at random moments (``make ray``)."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from ray_cluster import TwoNodes, eventually, two_nodes
from resumed import assert_same
from small_runs import TEXT

from elsa_sim.results.metrics import load

pytestmark = [
    pytest.mark.slow,
    pytest.mark.processes,
    pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed"),
]
ROUNDS = 30


@pytest.fixture
def nodes() -> Iterator[TwoNodes]:
    with two_nodes() as found:
        yield found


def begun(folder: Path, cluster: str, out: str) -> subprocess.Popen[str]:
    """A run of two workers, which has begun when this returns and will not end for some seconds."""
    (folder / "small.yaml").write_text(TEXT)
    line = [sys.executable, "-m", "elsa_sim", "run", "small.yaml", "--out", out, "--quiet",
            "--set", f"protocol.rounds={ROUNDS}", "--set", f"execution={{workers: 2, cluster: {cluster}}}",
            "--set", "checkpoint={every: 5}"]  # fmt: skip
    process = subprocess.Popen(line, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    eventually(lambda: (folder / f"{out}.partial" / "checkpoint" / "round-5").exists() or process.poll() is not None)
    assert process.poll() is None, process.communicate()[1]
    return process


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Its status and what it said."""
    _, said = process.communicate(timeout=300)
    assert "Traceback" not in said
    return process.returncode, said


def test_a_run_whose_node_is_killed_is_the_run_of_local_workers(nodes: TwoNodes, tmp_path: Path) -> None:
    """Bit for bit: event table, hashes, rounds, adapters."""
    run = begun(tmp_path, "ray", "theirs")
    nodes.kill("second")
    assert ended(run)[0] == 0
    assert ended(begun(tmp_path, "local", "ours"))[0] == 0
    theirs, ours = load(tmp_path / "theirs"), load(tmp_path / "ours")
    lost = [note for note in theirs.summary["notes"] if note not in ours.summary["notes"]]
    assert all(note.startswith("shares of work were computed again") for note in lost), (
        lost
    )  # none, if killed between shares
    theirs.summary["notes"] = [note for note in theirs.summary["notes"] if note not in lost]
    assert_same(theirs, ours)
    assert ours.summary["rounds"] == ROUNDS


def test_a_run_whose_cluster_is_gone_fails_with_a_message(nodes: TwoNodes, tmp_path: Path) -> None:
    run = begun(tmp_path, "ray", "out")
    nodes.kill("head")
    nodes.kill("second")
    status, said = ended(run)
    assert status == 3
    assert "the Ray cluster is gone" in said
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["outcome"].startswith("failed: the Ray cluster is gone")


def test_an_interrupted_run_has_its_status(nodes: TwoNodes, tmp_path: Path) -> None:
    run = begun(tmp_path, "ray", "out")
    run.send_signal(signal.SIGTERM)
    assert ended(run)[0] == 130
