"""Studies on a Ray cluster of two processes, through the command line (``make ray``)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest
from ray_cluster import TwoNodes, eventually, two_nodes
from small_runs import TEXT
from studies import STUDY, TIMING, written

from elsa_sim.base.cluster import TRIES
from elsa_sim.results.metrics import load
from elsa_sim.study.execution import DIED

pytestmark = [
    pytest.mark.slow,
    pytest.mark.processes,
    pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed"),
]
DEADLY = '''
import os, signal
from pathlib import Path
from typing import Literal
from elsa_sim.protocols.base import Protocol


class Deadly(Protocol):
    """Ends the process it runs in, as a lack of memory does."""

    kind: Literal["deadly"] = "deadly"

    def run(self, world):
        with (Path(__file__).parent / "begun").open("a") as log:
            log.write("begun\\n")
        os.kill(os.getpid(), signal.SIGKILL)
        yield
'''
SMALL = STUDY.replace("[3, 4]", "[3]").replace("[1, 2]", "[1]")


@pytest.fixture
def nodes() -> Iterator[TwoNodes]:
    with two_nodes() as found:
        yield found


def begun(folder: Path, *more: str) -> subprocess.Popen[str]:
    """A study that is played in another folder than the nodes were started in, into a relative one."""
    line = [sys.executable, "-m", "elsa_sim", "study", "grid.yaml", *more]
    return subprocess.Popen(line, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(study: subprocess.Popen[str]) -> tuple[int, str]:
    _, said = study.communicate(timeout=600)
    assert "Traceback" not in said
    return study.returncode, said


def test_a_cell_whose_node_is_killed_is_gone_on_with(nodes: TwoNodes, tmp_path: Path) -> None:
    written(tmp_path, SMALL, TEXT.replace("rounds: 2", "rounds: 80") + "checkpoint: {every: 5}\n")
    text = (tmp_path / "grid.yaml").read_text().replace("kind: fedavg, rounds: 2", "kind: fedavg, rounds: 80")
    (tmp_path / "grid.yaml").write_text(text)
    study = begun(tmp_path, "--out", "theirs", "--ray", "auto")
    checkpoints = "cells/*.partial/checkpoint/round-*"  # of both cells, one on each node
    eventually(
        lambda: (
            len({path.parts[-3] for path in (tmp_path / "theirs").glob(checkpoints)}) == 2 or study.poll() is not None
        )
    )
    assert study.poll() is None, study.communicate()[1]
    nodes.kill("second")
    assert ended(study)[0] == 0
    assert ended(begun(tmp_path, "--out", "ours", "--jobs", "1"))[0] == 0
    theirs, ours = (pd.read_csv(tmp_path / where / "table.csv") for where in ("theirs", "ours"))
    pd.testing.assert_frame_equal(
        theirs.drop(columns="runs", errors="ignore"), ours.drop(columns="runs", errors="ignore")
    )
    told = []
    for cell in sorted((tmp_path / "theirs" / "cells").iterdir()):
        run, other = load(cell), load(tmp_path / "ours" / "cells" / cell.name)
        assert run.summary["trace_sha256"] == other.summary["trace_sha256"]
        told += [note for note in run.summary["notes"] if note not in other.summary["notes"]]
    assert told == ["its process on the Ray cluster died 1 times (NodeDiedError); it was played on"]


def test_a_cell_that_kills_its_process_fails_alone(
    nodes: TwoNodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After so many tries. Its plugin lies beside the study, where the nodes would not look by themselves."""
    (tmp_path / "deadly_plugin.py").write_text(DEADLY, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    written(tmp_path, SMALL.replace("elsa: {}", "deadly: {protocol: deadly}"), TEXT + TIMING)
    status, said = ended(begun(tmp_path, "--out", "out", "--ray", nodes.address, "--plugin", "deadly_plugin"))
    assert status == 3, said
    assert "1 of 2 cells failed; the others are in the table" in said
    runs = pd.read_csv(tmp_path / "out" / "runs.csv").set_index("system")
    assert runs.loc["deadly", "reason"].startswith(DIED)
    assert f"begun {TRIES} times" in runs.loc["deadly", "reason"]
    assert (tmp_path / "begun").read_text().count("begun") == TRIES
    assert runs.loc["fedavg", "state"] == "done"


def test_a_cluster_that_is_gone_ends_the_study(nodes: TwoNodes, tmp_path: Path) -> None:
    written(tmp_path, SMALL, TEXT.replace("rounds: 2", "rounds: 200"))
    study = begun(tmp_path, "--out", "out", "--ray", "auto")
    eventually(lambda: list((tmp_path / "out").glob("cells/*.partial")) or study.poll() is not None)
    nodes.kill("head")
    status, said = ended(study)
    assert status == 3
    assert "the Ray cluster is gone" in said
    assert "the same command goes on from what was played" in said
    status, said = ended(begun(tmp_path, "--out", "out", "--ray", "auto"))
    assert status == 2
    assert "--ray auto: no cluster can be used there" in said
