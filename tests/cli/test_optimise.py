"""``elsa-sim optimise``: what it says, what it writes, and what it refuses."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
import pytest
from protocols.test_sflllm import two
from small_runs import TEXT

from elsa_sim.cli import commands
from elsa_sim.results import metrics

SMALL = (*two("rounds: 4, local_steps: 10, lr: 5.0e-3"), "task.max_length=5")
CHANGES = [word for change in SMALL for word in ("--set", change)]


def said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: object) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["elsa-sim", *map(str, words)])
    capsys.readouterr()
    status = 0
    try:
        commands.main()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    return status, out, err


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    (tmp_path / "small.yaml").write_text(TEXT, encoding="utf-8")
    return tmp_path / "small.yaml"


def test_everything_at_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, scenario: Path, tmp_path: Path
) -> None:
    """Rounds from real runs, a decision, tables and figures; the scenario that is written takes the time that was said."""
    losses = {}
    for rank in (1, 4):
        folder = tmp_path / f"rank{rank}"
        command = ("run", scenario, *CHANGES, "--set", f"backbone.lora.rank={rank}", "--out", folder, "--quiet")
        assert said(capsys, monkeypatch, *command)[0] == 0
        losses[rank] = float(metrics.load(folder).rounds["loss"].iloc[1:].min())
    target = max(losses.values()) + 1e-6
    out = tmp_path / "found"
    runs = [word for rank in losses for word in ("--runs", tmp_path / f"rank{rank}")]
    more = ("--over", "wireless.bandwidth=100 kHz,400 kHz", "--draws", "2", "--target", f"loss={target}", "--out", out)
    status, text, err = said(capsys, monkeypatch, "optimise", scenario, *CHANGES, *runs, *more)
    assert status == 0, err
    assert "rounds to the target" in text
    assert "times as long" in text
    assert {path.name for path in out.iterdir()} >= {
        "delay.csv", "delay_over_wireless.bandwidth.csv", "scenario.yaml", "rounds.json", "delay_parts.png",
        "convergence.png", "delay_over_wireless.bandwidth.png", "rounds_over_rank.png"}  # fmt: skip
    table = pd.read_csv(out / "delay.csv").set_index("system")
    assert table.loc["optimised", "total_s"] == table["total_s"].min()
    wide = pd.read_csv(out / "delay_over_wireless.bandwidth.csv")
    best = wide[wide["system"] == "optimised"].set_index("value")["total_s"]
    assert best[4e5] < best[1e5]
    assert (
        wide.groupby("system").size() == [4 if "random" in name else 2 for name in sorted(set(wide["system"]))]
    ).all()
    played = tmp_path / "played"
    once = ("--set", "protocol.rounds=1", "--set", "execution.mode=timing")
    assert said(capsys, monkeypatch, "run", out / "scenario.yaml", *once, "--out", played, "--quiet")[0] == 0
    assert metrics.load(played).summary["sim_time_s"] == pytest.approx(table.loc["optimised", "round_s"], rel=1e-9)
    stamp = (out / "rounds.json").stat().st_mtime_ns
    assert said(capsys, monkeypatch, "optimise", scenario, *CHANGES, *runs, *more)[0] == 0
    assert (out / "rounds.json").stat().st_mtime_ns == stamp  # the runs were not read again


@pytest.mark.parametrize(
    ("words", "words_said"),
    [
        ((*CHANGES, "--ranks", "2,x"), "expected whole numbers"),
        ((*CHANGES, "--cuts", "9"), "valid: 1 to 2"),
        ((*CHANGES, "--target", "loss=3"), "both --runs DIR and --target"),
        ((*CHANGES, "--target", "loss=3", "--runs", "nowhere"), "no finished runs of sflllm"),
        ((*CHANGES, "--over", "wireless.bandwidth"), "expected KEY.PATH=V"),
        ((*CHANGES, "--over", "wireless.bandwith=1 MHz"), "did you mean 'bandwidth'"),
        ((*CHANGES, "--set", "protocol.federated=null"), "name a node beside the cloud"),
        ((*CHANGES, "--out", "small.yaml"), "no figures can be written there"),
        ((), "nothing to allocate without wireless"),
    ],
)
def test_what_cannot_be(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, scenario: Path, words: tuple[str, ...],
    words_said: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(scenario.parent)
    status, _, err = said(capsys, monkeypatch, "optimise", scenario, *words)
    assert status == 2
    assert words_said in err


def test_a_broken_study_is_bad_input(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, scenario: Path, tmp_path: Path
) -> None:
    for text in ("{", "[]", '{"protocol": "sflllm"}'):
        cell = tmp_path / "study" / "cells" / "a"
        cell.mkdir(parents=True, exist_ok=True)
        (cell / "summary.json").write_text(text, encoding="utf-8")
        words = ("--runs", tmp_path / "study", "--target", "loss=1")
        status, _, err = said(capsys, monkeypatch, "optimise", scenario, *CHANGES, *words)
        assert status == 2
        assert "is no summary of a run" in err
