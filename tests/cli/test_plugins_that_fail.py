"""Plugins that raise, or that are not there; and files beside a scenario that are no plugins."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_runs import TEXT

CODEC = """
from typing import Literal
from elsa_sim.plugins import Codec, EncodedSpec

class Raising(Codec):
    \"\"\"Raises.\"\"\"
    kind: Literal["raising"] = "raising"

    def encoded(self, spec):
        return EncodedSpec(spec)

    def encode(self, x, state, context):
        raise ValueError("no such thing")
"""


def elsa(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """As a user types it: Python puts the current folder first on its path."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    here = os.pathsep.join(filter(None, sys.path))
    return subprocess.run([sys.executable, "-m", "elsa_sim", *args], cwd=folder, capture_output=True, text=True, timeout=120,
                          check=False, env=env | {"PYTHONPATH": here})  # fmt: skip


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "small.yaml").write_text(TEXT, encoding="utf-8")
    (tmp_path / "raising_plugin.py").write_text(CODEC, encoding="utf-8")
    return tmp_path


@pytest.mark.processes
def test_one_that_raises_fails_the_run_in_one_line(place: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Found beside the scenario, from another folder."""
    other = tmp_path_factory.mktemp("other")
    done = elsa(other, "run", str(place / "small.yaml"), "--plugin", "raising_plugin", "--out", "out", "--quiet",
                "--set", "codec.adapters=[raising]")  # fmt: skip
    assert done.returncode == 3
    assert len(done.stderr.strip().splitlines()) == 1
    assert "the run broke off at" in done.stderr
    assert "ValueError: no such thing (raising_plugin.py, line 13)" in done.stderr
    summary = json.loads((other / "out" / "summary.json").read_text(encoding="utf-8"))
    assert summary["complete"] is False
    assert "no such thing" in summary["outcome"]


@pytest.mark.processes
def test_one_that_exits_fails_the_run(place: Path) -> None:
    text = CODEC.replace('raise ValueError("no such thing")', "raise SystemExit(0)")
    (place / "leaving_plugin.py").write_text(text, encoding="utf-8")
    done = elsa(place, "run", "small.yaml", "--plugin", "leaving_plugin", "--out", "out", "--quiet",
                "--set", "codec.adapters=[raising]")  # fmt: skip
    assert done.returncode == 3
    assert "SystemExit: 0 (leaving_plugin.py, line 13)" in done.stderr
    assert json.loads((place / "out" / "summary.json").read_text(encoding="utf-8"))["complete"] is False


@pytest.mark.processes
def test_one_that_is_not_there_is_bad_input(place: Path) -> None:
    done = elsa(place, "check", "small.yaml", "--plugin", "raising_plugin.py")
    assert done.returncode == 2
    assert "there is no plugin 'raising_plugin.py'" in done.stderr
    assert "without .py" in done.stderr


@pytest.mark.processes
def test_a_file_beside_the_scenario_hides_no_installed_module(place: Path) -> None:
    (place / "torch.py").write_text("raise SystemExit('this is not torch')", encoding="utf-8")
    (place / "yaml.py").write_text("raise SystemExit('this is not yaml')", encoding="utf-8")
    more = ("--set", "protocol.rounds=1", "--workers", "2")
    done = elsa(place, "run", "small.yaml", "--out", "out", "--quiet", *more)
    assert (done.returncode, done.stderr) == (0, "")
