"""Runs from run directories, studies and memory."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from saved_runs import made, saved, study

from elsa_sim.base.errors import InputError
from elsa_sim.results.sources import is_study, read


def test_directories_and_runs_in_memory(tmp_path: Path) -> None:
    here = made("here")
    folder = saved(made("there", seed=4), tmp_path / "there")
    found = list(read([here, folder, str(folder)]))
    assert found[0] is here
    assert [run.name for run in found] == ["here", "there", "there"]
    assert found[1].scenario["seed"] == 4
    assert [run.name for run in read(folder)] == ["there"]


def test_a_study_stands_for_its_finished_cells(tmp_path: Path) -> None:
    folder, notes = study(tmp_path / "study", failed=2), list[str]()
    assert is_study(folder)
    assert not is_study(folder / "cells" / "elsa0")
    found = list(read(folder, notes))
    assert [(run.labels["system"], run.labels["task.topics"], run.summary["seed"]) for run in found] == [
        ("elsa", "4", 0), ("fedavg", "4", 0), ("elsa", "4", 1), ("fedavg", "4", 1)]  # fmt: skip
    assert notes == [f"{folder}: 2 of 6 cells did not finish: elsa, 4, seed 2, fedavg, 4, seed 2"]


def test_labels_are_texts(tmp_path: Path) -> None:
    folder = study(tmp_path / "study", seeds=1)
    table = pd.read_csv(folder / "runs.csv", dtype=str)
    table["task.topics"] = ["0.10", "NA"]
    table.to_csv(folder / "runs.csv", index=False)
    assert [run.labels["task.topics"] for run in read(folder)] == ["0.10", "NA"]


def test_studies_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "open" / "cells").mkdir(parents=True)
    with pytest.raises(InputError, match=r"open holds a study that has not ended: it has no runs\.csv"):
        list(read(tmp_path / "open"))
    with pytest.raises(InputError, match="no cell of the study has finished"):
        list(read(study(tmp_path / "none", failed=6)))
    folder = study(tmp_path / "damaged")
    table = pd.read_csv(folder / "runs.csv", dtype=str)
    table.drop(columns="seed").to_csv(folder / "runs.csv", index=False)
    with pytest.raises(InputError, match="there is no column seed"):
        list(read(folder))
    table.assign(run="../elsewhere").to_csv(folder / "runs.csv", index=False)
    with pytest.raises(InputError, match=r"'\.\./elsewhere' in column run names no cell"):
        list(read(folder))
    (folder / "runs.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"runs\.csv cannot be read"):
        list(read(folder))
