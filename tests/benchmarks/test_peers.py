"""The benchmark against other simulators: which there are, where they are looked for, and one that is not there."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
ONE_ROUND: dict[str, Any] = {"clients": 4, "rounds": 1, "steps": 2, "batch": 8}


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> dict[str, ModuleType]:
    monkeypatch.syspath_prepend(FOLDER)
    return {name: importlib.import_module(name) for name in ("measuring", "peers", "training")}


def test_every_simulator_has_a_module_and_what_pip_installs(modules: dict[str, ModuleType]) -> None:
    for name in modules["peers"].NAMES:
        pinned = [path.read_text() for path in (FOLDER / "peers").glob(f"{name}*.txt")]
        assert (FOLDER / "peers" / f"{name}.py").is_file()
        assert any("==" in text for text in pinned)


def test_each_is_looked_for_in_its_environment(modules: dict[str, ModuleType], tmp_path: Path) -> None:
    python = modules["peers"].python
    there = tmp_path / "pfl" / "bin" / "python"
    there.parent.mkdir(parents=True)
    there.touch()
    assert python("pfl", str(tmp_path)) == str(there)
    assert python("flgo", sys.executable) == sys.executable
    with pytest.raises(FileNotFoundError, match="make peers"):
        python("flgo", str(tmp_path))


def test_one_that_is_not_there_is_a_row_with_its_error(
    modules: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    took = {"wall_s": 2.0, "rounds_s": 1.0, "cpu_s": 2.0, "peak_mib": 5.0, "accuracy": 0.5}
    monkeypatch.setattr(modules["measuring"], "measured", lambda *command, **options: dict(took))
    asked = argparse.Namespace(
        quick=True, peers=True, peers_python=str(tmp_path), repetitions=2, threads=1, cores=None, workload=None
    )
    modules["training"].compare("W-tiny", ["bare-32", "flgo"], asked)
    rows = capsys.readouterr().out.strip().splitlines()
    assert rows[-2].startswith("| bare-32 | 2.0 | 1.00 |")
    assert rows[-1].startswith("| flgo | - |")
    assert "no interpreter" in rows[-1]
    assert rows[-1].count("|") == rows[-2].count("|")


def test_one_that_does_not_import_says_so(modules: dict[str, ModuleType]) -> None:
    with pytest.raises(ModuleNotFoundError, match="flgo"):
        modules["peers"].run("flgo", ONE_ROUND, 1)
    found = modules["measuring"].measured([sys.executable, "-c", "import a_simulator_that_is_not"], threads=1)
    assert found == {"failed": "ModuleNotFoundError: No module named 'a_simulator_that_is_not'"}


def test_they_are_compared_over_one_round(modules: dict[str, ModuleType]) -> None:
    with pytest.raises(ValueError, match="one round"):
        modules["peers"].run("flgo", ONE_ROUND | {"rounds": 3}, 1)


def test_processor_time_is_that_of_all_processes(modules: dict[str, ModuleType]) -> None:
    work = "import os, subprocess, sys; sum(i for i in range(5_000_000)); import measuring as m; own = m.tree_cpu_s(os.getpid())\n"
    child = (
        "p = subprocess.Popen([sys.executable, '-c', 'sum(i for i in range(5_000_000)); print(1, flush=True); input()'],"
        " stdin=-1, stdout=-1); p.stdout.readline(); both = m.tree_cpu_s(os.getpid())\n"
    )
    end = "p.communicate(b'.'); print(dict(own=own, both=both, cpu_s=1e6).__repr__().replace(chr(39), chr(34)))"
    told = f"import sys; sys.path.insert(0, {str(FOLDER)!r}); " + work + child + end
    found = modules["measuring"].measured([sys.executable, "-c", told], threads=1)
    assert found["both"] >= found["own"] + 0.05
    assert found["cpu_s"] == 1e6  # more than what was waited for: the program knows better
