"""Runs that are broken off at their checkpoints and gone on with, beside the run that was not."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from small_runs import loaded, quick

from elsa_sim.results.metrics import Results, load
from elsa_sim.run import resuming, simulation
from elsa_sim.run.checkpoint_files import found

EVERY = "checkpoint={every: 1, keep: 1000}"


def assert_resumes(folder: Path, *changes: str, rounds: list[int] | None = None) -> list[int]:
    """From each of its checkpoints (or those of ``rounds``) a run goes on as it went; returns the rounds of all."""
    with quick():
        whole = simulation.run(loaded(*changes, EVERY), folder / "whole")
        made = sorted(each.round for each in found(folder / "whole"))
        for round in made if rounds is None else rounds:
            killed_after(folder / "whole", folder / f"again-{round}", round)
            (checkpoint,) = (each for each in found(folder / f"again-{round}.partial") if each.round == round)
            again = resuming.resume(folder / f"again-{round}")
            assert_same(again, whole)
            before = checkpoint.state.host.evaluations_s
            assert load(folder / f"again-{round}").rounds["host_time_s"].tolist()[: len(before)] == pytest.approx(
                before
            )
    return made


def killed_after(run: Path, again: Path, round: int) -> None:
    """What a kill some time after the checkpoint of ``round`` would have left of a run, but for part of the events."""
    partial = again.with_name(f"{again.name}.partial")
    shutil.copytree(run, partial)
    for name in ("summary.json", "manifest.json", "rounds.csv", "events.parquet"):
        (partial / name).unlink()
    (partial / "events.arrows").write_bytes(b"")
    for each in found(partial):
        if each.round > round:
            shutil.rmtree(each.folder)


def assert_same(one: Results, two: Results) -> None:
    """Two runs are the same but for their host time."""
    assert one.folder is not None
    assert two.folder is not None
    assert {
        name: (fact, facts(two).get(name)) for name, fact in facts(one).items() if fact != facts(two).get(name)
    } == {}
    a, b = load(one.folder), load(two.folder)
    pd.testing.assert_frame_equal(a.events, b.events)
    assert len(a.rounds["host_time_s"]) == len(b.rounds["host_time_s"])
    assert np.isfinite(a.rounds["host_time_s"]).all()
    pd.testing.assert_frame_equal(a.rounds.drop(columns="host_time_s"), b.rounds.drop(columns="host_time_s"))
    assert adapters(one.folder) == adapters(two.folder)


def facts(results: Results) -> dict[str, Any]:
    """The summary but for what depends on the host."""
    return {key: value for key, value in results.summary.items() if key != "host"}


def adapters(folder: Path) -> dict[str, bytes]:
    """Trained adapters, by their file."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("adapter_model.safetensors")}
