"""Rounds to a target over ranks: the fit, what it says where, and its file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from elsa_sim.base.errors import InputError
from elsa_sim.joint.rounds import Estimate, Fit, Point, fit, load, measured, save

LAW = {rank: 20.0 + 60.0 * rank**-0.8 for rank in (1, 2, 4, 16)}


def points(law: dict[int, float]) -> list[Point]:
    return [Point(rank, rounds) for rank, rounds in law.items()]


def test_a_law_is_found_again() -> None:
    found = fit(points(LAW))
    assert (found.a, found.b, found.c) == pytest.approx((20.0, 60.0, 0.8), rel=1e-6)
    assert found.worst < 1e-6


def test_noise_is_averaged() -> None:
    random = np.random.default_rng(0)
    noisy = [Point(rank, rounds * random.uniform(0.9, 1.1)) for rank, rounds in LAW.items() for _ in range(20)]
    found = fit(noisy)
    assert found.law(8) == pytest.approx(20.0 + 60.0 * 8**-0.8, rel=0.05)
    assert found.worst < 0.05


def test_what_is_measured_and_what_is_not() -> None:
    found = fit([*points(LAW), Point(4, LAW[4] + 10.0)])
    assert found.at(4) == Estimate(LAW[4] + 5.0, "measured"), "the mean of its runs, not the law"
    between = found.at(8)
    assert between.how == "fitted"
    assert LAW[16] < between.rounds < LAW[4] + 5.0
    with pytest.raises(InputError, match=r"rank 32 are outside of what was measured \(ranks 1, 2, 4, 16\)"):
        found.at(32)
    assert found.at(32, extrapolate=True).how == "extrapolated"
    assert found.table([2, 8])[2] == LAW[2]


def test_few_ranks() -> None:
    """One rank: a constant. Two: through both. Rounds that rise with the rank: flat, and it says how wrong."""
    assert fit([Point(8, 30.0)]).law(2) == 30.0
    assert [fit([Point(1, 40.0), Point(4, 25.0)]).law(r) for r in (1, 4)] == pytest.approx([40.0, 25.0])
    rising = fit([Point(1, 10.0), Point(2, 20.0), Point(4, 40.0)])
    assert rising.law(1) == pytest.approx(rising.law(4), rel=1e-6)
    assert rising.worst > 0.4


def test_what_cannot_be_fitted() -> None:
    with pytest.raises(InputError, match="no runs"):
        fit([])
    with pytest.raises(InputError, match=r"rank 2 \(runs/b\) did not reach the target"):
        fit([Point(1, 9.0), Point(2, None, "runs/b")])
    with pytest.raises(InputError, match="above 0"):
        fit([Point(1, 0.0)])


def test_the_file(tmp_path: Path) -> None:
    path = tmp_path / "rounds.json"
    assert load(path, "abc") is None
    one, two = fit(points(LAW)), fit([Point(8, 30.0, "runs/a")])
    save(path, "abc", one)
    save(path, "def", two)
    assert load(path, "abc") == one
    assert load(path, "def") == two
    assert load(path, "other") is None
    assert [p.name for p in tmp_path.iterdir()] == ["rounds.json"]
    path.write_text('{"abc": {"a": 1}}')
    with pytest.raises(InputError, match="'abc' is no fit"):
        load(path, "abc")
    path.write_text("[")
    with pytest.raises(InputError, match="cannot be read"):
        load(path, "abc")


def run(folder: Path, rank: int, rounds: list[int], losses: list[float], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for a run directory: its scenario, and what loading it gives."""
    from elsa_sim.results.metrics import Results

    folder.mkdir()
    (folder / "scenario.yaml").write_text(yaml.safe_dump({"backbone": {"lora": {"rank": rank}}}))
    table = pd.DataFrame({"round": rounds, "loss": losses, "accuracy": np.nan})
    monkeypatch.setattr("elsa_sim.results.metrics.load", lambda _: Results(pd.DataFrame(), table, {}, {}, folder))
    return folder


def test_points_of_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = run(tmp_path / "a", 4, [0, 2, 4, 6], [3.0, 2.0, 1.4, 1.5], monkeypatch)
    assert measured([folder], 1.5, "loss") == [Point(4, 4.0, str(folder))]
    assert measured([folder], 1.0, "loss")[0].rounds is None
    with pytest.raises(InputError, match="there is no accuracy"):
        measured([folder], 0.9)
    (folder / "scenario.yaml").write_text("backbone: {}")
    with pytest.raises(InputError, match="gives no"):
        measured([folder], 1.5, "loss")


def test_fits_are_plain_data() -> None:
    assert fit(points(LAW)) == fit(points(LAW))
    assert isinstance(fit(points(LAW)), Fit)
