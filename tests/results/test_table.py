"""One table of several runs."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from saved_runs import made, saved, study

import elsa_sim
from elsa_sim.base.errors import InputError
from elsa_sim.results import measures, metrics
from elsa_sim.results.table import compare


def test_numbers_are_those_of_the_summaries() -> None:
    runs = [made("a"), made("b", seed=1, protocol="fedavg", scale=2.0)]
    table = compare(runs).table
    assert table.index.tolist() == ["a", "b"]
    assert table["protocol"].tolist() == ["elsa", "fedavg"]
    assert table["seed"].tolist() == [0, 1]
    for label, run in zip(table.index, runs, strict=True):
        row, summary = table.loc[label], run.summary
        assert row["accuracy"] == summary["accuracy"]
        assert row["best_accuracy"] == summary["best_accuracy"]
        assert row["sim_time_s"] == summary["sim_time_s"]
        assert (row["total_bytes"], row["uplink_bytes"]) == (summary["bytes"]["total"], summary["bytes"]["uplink"])
        assert row["total_energy_j"] == summary["energy_j"]["total"]
        assert row["marginal_energy_j"] == pytest.approx(row["compute_energy_j"] + row["radio_energy_j"])
        assert row["host_time_s"] == 2.5
        assert row["ended"] == "done"
    assert "perplexity" not in table  # which no run has
    assert "accuracy_std" not in table


def test_time_and_bytes_to_a_target() -> None:
    run = made()
    table = compare([run, made("never", stop={"target_accuracy": 0.999}), made("none", stop={})]).table
    reached = run.rounds[run.rounds["accuracy"] >= 0.5].iloc[0]
    assert table.loc["made-up", "time_to_target_s"] == metrics.time_to_target(run.events, 0.5)
    assert table.loc["made-up", "bytes_to_target"] == reached["uplink_bytes"] + reached["downlink_bytes"]
    assert table["target_accuracy"].tolist()[:2] == [0.5, 0.999]
    assert table.loc[["never", "none"], "time_to_target_s"].isna().all()
    last = float(run.rounds["accuracy"].iloc[-1])
    assert compare(run, target=last).table["time_to_target_s"].item() == run.rounds["sim_time_s"].iloc[-1]
    heads = [column.head for column in compare([run, made("b", seed=1)]).columns()]
    assert "time to accuracy 0.5 (s)" in heads
    assert "bytes to accuracy 0.5 (MB)" in heads
    with pytest.raises(InputError, match="from 0 to 1, got 80"):
        compare(run, target=80.0)


def test_every_head_has_its_unit() -> None:
    heads = {column.head for column in compare([made("a"), made("b", seed=1)]).columns()}
    without = {"run", "protocol", "seed", "ended", "accuracy", "best accuracy", "rounds"}
    assert without < heads
    assert all(head.endswith(("B)", "J)", "s)", "min)")) for head in heads - without), heads


def test_seeds_of_a_study_become_means_with_their_spread(tmp_path: Path) -> None:
    folder = study(tmp_path / "study", seeds=3, failed=1)
    found = compare(folder)
    assert found.table.index.tolist() == ["elsa, topics 4", "fedavg, topics 4"]
    assert found.axes == ("system", "task.topics")
    assert found.table["seeds"].tolist() == [3, 2]
    accuracies = [made(seed=seed).summary["accuracy"] for seed in range(3)]
    elsa = found.table.iloc[0]
    assert elsa["accuracy"] == pytest.approx(np.mean(accuracies))
    assert elsa["accuracy_std"] == pytest.approx(np.std(accuracies, ddof=1))
    assert elsa["accuracy_n"] == 3
    assert found.differences.index.tolist() == ["protocol.kind"]  # not the seed
    assert len(found.notes) == 1
    shown = {column.head: column.cells for column in found.columns()}
    assert shown["seeds"] == ("3", "2")
    assert shown["accuracy"][0] == f"{np.mean(accuracies):.4f} ± {np.std(accuracies, ddof=1):.4f}"


def test_a_mean_is_not_called_by_one_of_its_seeds(tmp_path: Path) -> None:
    found = compare([study(tmp_path / "one"), study(tmp_path / "two", seeds=2), made("elsa, topics 4")])
    systems = ("elsa", "fedavg")
    names = [f"{system}, topics 4, {folder}" for folder in ("one", "two") for system in systems]
    assert found.table.index.tolist() == [*names, "elsa, topics 4"]
    assert found.table["seeds"].tolist() == [3, 3, 2, 2, 1]
    rows = pd.read_csv(tmp_path / "one" / "runs.csv", dtype=str).drop(
        index=0
    )  # the first seed of one system is not there
    rows.to_csv(tmp_path / "one" / "runs.csv", index=False)
    found = compare([tmp_path / "one", made("elsa, topics 4")])
    assert found.table.index.tolist() == ["fedavg, topics 4, one", "elsa, topics 4, one", "elsa, topics 4"]
    assert found.differences.index.tolist() == ["protocol.kind"]


def test_a_target_that_some_seeds_reach_says_how_many(tmp_path: Path) -> None:
    accuracies = sorted(max(made(seed=seed).rounds["accuracy"]) for seed in range(3))
    found = compare(study(tmp_path / "study"), target=accuracies[-1])
    assert found.table["time_to_target_s_n"].tolist() == [1, 1]
    assert math.isnan(found.table["time_to_target_s_std"].iloc[0])
    (column,) = (column for column in found.columns() if column.head.startswith("time to"))
    assert column.cells[0].endswith(" (1 of 3)")


def test_one_seed_is_a_run_like_any_other(tmp_path: Path) -> None:
    found = compare([study(tmp_path / "study", seeds=1), made("beside", seed=7)])
    assert found.table["seed"].tolist() == [0, 0, 7]
    assert found.table.index.tolist() == ["elsa, topics 4", "fedavg, topics 4", "beside"]
    assert "accuracy_std" not in found.table


def test_other_tasks_have_no_common_accuracy() -> None:
    found = compare([made("a"), made("b", task__topics=3)])
    assert not {"accuracy", "best_accuracy", "time_to_target_s", "bytes_to_target"} & set(found.table)
    assert found.table[["sim_time_s", "total_bytes"]].notna().all(axis=None)
    (note,) = found.notes
    assert "on no common axis, as task.topics differs (4; 3)" in note
    assert found.differences.loc["task.topics"].tolist() == [4, 3]


def test_how_runs_ended() -> None:
    run = made("bad")
    failed = replace(run, summary={**run.summary, "complete": False, "outcome": "failed: loss is nan after round 1"})
    killed = replace(made("cut"), summary={**run.summary, "complete": False, "outcome": None})
    found = compare([made("a"), failed, killed])
    assert found.table["ended"].tolist() == ["done", "failed", "not ended"]
    assert found.notes == ("bad: failed: loss is nan after round 1", "cut: has not ended, or was killed")


def test_language_modelling_has_losses() -> None:
    run = made(task__objective="causal_lm")
    measured = replace(run, summary={**run.summary, "accuracy": None, "perplexity": 12.5, "loss": 2.5})
    table = compare(measured).table
    assert (table["perplexity"].item(), table["loss"].item()) == (12.5, 2.5)
    assert "accuracy" not in table
    assert "loss" not in compare(run).table


def test_energy_of_earlier_versions_is_a_total() -> None:
    run = made()
    table = compare(replace(run, summary={**run.summary, "energy_j": 42.0})).table
    assert table["total_energy_j"].item() == 42.0
    assert "idle_energy_j" not in table


def test_csv_has_every_digit() -> None:
    runs = [made("a"), made("b", seed=1)]
    found = compare(runs)
    read = pd.read_csv(io.StringIO(found.to_csv()), index_col="run", float_precision="round_trip")
    assert read.columns.tolist() == found.table.columns.tolist()
    assert read["sim_time_s"].tolist() == [run.summary["sim_time_s"] for run in runs]


def test_texts_stay_texts() -> None:
    found = compare([made("a|b"), made("<script>alert(1)</script>", protocol__lr=0.1, protocol__wait="<b>\n|")])
    page, text = found._repr_html_(), found.to_markdown()
    assert "<script>" not in page + text
    assert "<b>" not in page + text
    assert "&lt;script&gt;" in page
    assert "a\\|b" in text
    assert (
        len({line.replace("\\|", "").count("|") for line in text.splitlines() if "sim" not in line and "lr" in line})
        == 1
    )
    single = made("<script>")
    assert "<script>" not in single._repr_html_()
    assert "&lt;script&gt;" in single._repr_html_()


def test_markdown_has_a_row_per_run_and_one_per_difference() -> None:
    text = compare([made("a"), made("b", protocol__lr=0.1)]).to_markdown()
    first, second = text.strip().split("\n\n")
    assert [line.split("|")[1].strip() for line in first.splitlines()] == ["run", "---", "a", "b"]
    assert "simulated time (s)" in first
    assert second.splitlines()[-1] == "| protocol.lr | 0.002 | 0.1 |"


def test_many_runs_are_shown_below_each_other() -> None:
    few, many = compare([made(f"r{i}") for i in range(2)]), compare([made(f"r{i}") for i in range(9)])
    assert "<thead>" not in few._repr_html_()
    assert many._repr_html_().count("<tr>") == 10
    assert repr(few) == "Comparison of r0, r1"


def test_a_run_tells_what_it_is(tmp_path: Path) -> None:
    run = made("mine")
    assert repr(run).startswith("Results of mine: protocol elsa, rounds 3, accuracy 0.")
    for word in ("simulated ", " s", "MB", "energy without idle", "J", "ended done"):
        assert word in repr(run)
    assert "\n" not in repr(run)
    assert "<table>" in run._repr_html_()
    assert run.table["accuracy"].item() == run.summary["accuracy"]
    bare = replace(run, summary={})
    assert repr(bare) == "Results of mine: ended done"
    saved(run, tmp_path / "mine")
    assert repr(elsa_sim.load_results(tmp_path / "mine")) == repr(run)


def test_runs_without_a_scenario_are_compared_and_it_is_said() -> None:
    found = compare([made("a"), replace(made("b"), scenario={})])
    assert found.notes == ("what differs is not known of runs without their scenario: b",)


def test_no_run_is_a_fault() -> None:
    with pytest.raises(InputError, match="there is no run to compare"):
        elsa_sim.compare([])


def test_measures_are_known_metrics_with_units() -> None:
    assert {each.path for each in measures.COMPARED} <= set(measures.UNITS)
    assert measures.words("bytes.total") == "bytes"
    assert measures.words("privacy.recovered") == "privacy.recovered"
