"""Tables and figures of a study, from cells that were not played."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_runs import known as played
from studies import STUDY, known, pretend

from elsa_sim.results import measures
from elsa_sim.study import Cell, play
from elsa_sim.study.figures import curves, over_time
from elsa_sim.study.tables import columns

TARGET = STUDY.replace("sim_time_s,", "sim_time_s, time_to_target_s, bytes_to_target,") + "target_accuracy: 0.6\n"


def measured(cell: Cell) -> dict[str, object]:
    """accuracy: 0.5 + 0.1 seed for elsa, a tenth of it for the other."""
    accuracy = (0.5 + 0.1 * cell.seed) * (1.0 if cell.labels["system"] == "elsa" else 0.1)
    return {"accuracy": accuracy, "sim_time_s": 10.0 * cell.seed, "bytes": {"total": 42}}


def test_mean_and_spread_over_the_seeds(tmp_path: Path) -> None:
    table = play(known(tmp_path, TARGET), tmp_path / "out", pretend(measured)).table
    assert len(table) == 2 * 2 * 5
    row = table[(table["system"] == "elsa") & (table["task.topics"] == "3")].set_index("metric").loc["accuracy"]
    assert math.isclose(row["mean"], 0.65)
    assert math.isclose(row["std"], 0.1 / math.sqrt(2))
    assert (row["min"], row["max"], row["n"], row["seeds"]) == (0.6, 0.7, 2, 2)
    assert len(row["runs"].split()) == 2
    for key in row["runs"].split():
        assert (tmp_path / "out" / "cells" / key / "summary.json").exists()


def test_what_was_not_reached_has_no_value(tmp_path: Path) -> None:
    table = play(known(tmp_path, TARGET), tmp_path / "out", pretend(measured)).table
    times = table[table["metric"] == "time_to_target_s"].set_index(["system", "task.topics"])
    assert times.loc[("elsa", "3"), "mean"] == 15.0
    assert times.loc[("fedavg", "3"), "n"] == 0
    assert math.isnan(times.loc[("fedavg", "3"), "mean"])
    assert table[(table["metric"] == "bytes_to_target") & (table["n"] > 0)]["mean"].tolist() == [42.0, 42.0]


def test_files_agree(tmp_path: Path) -> None:
    outcome = play(known(tmp_path), tmp_path / "out", pretend(measured))
    csv, parquet = pd.read_csv(tmp_path / "out" / "table.csv"), pd.read_parquet(tmp_path / "out" / "table.parquet")
    np.testing.assert_allclose(csv["mean"], parquet["mean"])
    np.testing.assert_allclose(csv["mean"], outcome.table["mean"])
    runs = pd.read_csv(tmp_path / "out" / "runs.csv")
    assert (runs["state"] == "done").all()
    assert len(runs) == 8
    names = {path.name for path in outcome.figures if path.suffix == ".png"}
    assert names == {"accuracy_over_time.png", "accuracy.png", "sim_time_s.png", "bytes_total.png"}
    assert all(path.stat().st_size > 1000 for path in outcome.figures)


def test_one_axis_and_one_seed(tmp_path: Path) -> None:
    text = "scenario: base.yaml\naxes: {task.topics: [3, 4]}\nmetrics: [accuracy]\n"
    table = play(known(tmp_path, text), tmp_path / "out",
                 pretend(lambda cell: {"accuracy": 0.5, "sim_time_s": 1.0})).table  # fmt: skip
    assert table["mean"].tolist() == [0.5, 0.5]
    assert table["std"].isna().all()


def test_people_read_means_and_spreads_with_units(tmp_path: Path) -> None:
    first, *others = columns(play(known(tmp_path, TARGET), tmp_path / "out", pretend(measured)).table)
    assert first.cells == ("elsa, topics 3", "elsa, topics 4", "fedavg, topics 3", "fedavg, topics 4")
    shown = {column.head: column.cells for column in others}
    assert shown["accuracy"][::2] == ("0.6500 ± 0.0707", "0.0650 ± 0.0071")
    assert shown["simulated time (s)"][0] == "15.00 ± 7.07"
    assert shown["time to target (s)"][::2] == ("15.00 ± 7.07", "– (0 of 2)")
    assert shown["bytes (B)"] == ("42",) * 4


def test_the_figure_of_an_unfinished_study_says_how_many_seeds_there_are(tmp_path: Path) -> None:
    study = known(tmp_path)
    found = play(study, tmp_path / "out", pretend(measured)).cells
    for cells, seeds in ((found, "2 seeds"), (found[:4], "1 seed"), (found[:5], "1 to 2 seeds")):
        (legend,) = curves(study, cells).legends
        assert legend.get_title().get_text() == f"mean ± 1 std, {seeds}"


def test_curves_are_averaged_over_time() -> None:
    one = pd.DataFrame({"sim_time_s": [0.0, 10.0], "accuracy": [0.0, 1.0]})
    two = pd.DataFrame({"sim_time_s": [0.0, 5.0, 20.0], "accuracy": [0.0, 0.0, 0.6]})
    time, mean, spread = over_time([one, two], "accuracy")
    assert (time[0], time[-1]) == (0.0, 10.0)
    np.testing.assert_allclose(mean[-1], (1.0 + 0.2) / 2)
    np.testing.assert_allclose(spread[-1], 0.8 / math.sqrt(2))
    assert over_time([one], "accuracy")[2].max() == 0.0


def test_metrics_are_those_of_a_summary() -> None:
    """A number of the summary is a metric, and a metric is a number of some summary."""

    def numbers(value: object, path: str = "") -> set[str]:
        if isinstance(value, dict):
            return {p for key, each in value.items() for p in numbers(each, f"{path}.{key}" if path else key)}
        return {path} if isinstance(value, int | float) and not isinstance(value, bool) else set()

    summary = played().summary | {"time_to_target_s": 1.0}
    found = numbers(summary) - {"seed"}
    assert {path for path in found if not measures.known(path)} == set()
    assert all(measures.value(summary, path) == pytest.approx(measures.value(summary, path)) for path in found)
    elsewhere = {
        "perplexity",
        "clean_perplexity",
        "clean_accuracy",
        "clean_macro_f1",
        "clean_loss",
        "bytes_to_target",
        "energy_j",
    }
    assert set(measures.UNITS) - found == elsewhere
    assert measures.value(summary, "energy_j") == summary["energy_j"]["total"]  # its name before it was split
