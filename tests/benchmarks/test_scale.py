"""The benchmark of growth: which rows it measures, and its figure."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def scale(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    return importlib.import_module("scale")


def test_rows_are_those_that_were_asked_for(scale: ModuleType) -> None:
    asked = argparse.Namespace(mode=["timing", "minilm"], clients=None, rounds=None, quick=True)
    assert scale.asked(asked) == [("timing", 10, 10), ("timing", 100, 10), ("minilm", 20, 1)]
    asked = argparse.Namespace(mode=["real"], clients=[7], rounds=3, quick=False)
    assert scale.asked(asked) == [("real", 7, 3)]


def test_goals_are_of_scenarios_that_there_are(scale: ModuleType) -> None:
    for mode, clients, rounds in scale.GOALS:
        assert len(scale.scenario_of(mode, clients, rounds, "batched", 1).faults) == 0


def test_the_figure_is_the_same_twice(scale: ModuleType, tmp_path: Path) -> None:
    measured = [("timing", 10, 100, 3.0, 300.0), ("timing", 10, 10, 2.5, 200.0), ("real", 1, 10, 5.0, 500.0)]
    for name in ("one.png", "two.png"):
        scale.draw(measured, tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
