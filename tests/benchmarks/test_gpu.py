"""The comparison of a CUDA device with the processor, on the processor: its runs, its verdicts, its table, its limits."""

from __future__ import annotations

import importlib
import json
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from elsewhere import elsewhere
from small_runs import loaded

Result = dict[str, Any]
GOOD: Result = {"whole_s": 9.0, "rounds_s": 6.0, "math_s": 7.0, "losses": [1.4, 1.0], "accuracies": [0.2, 0.5],
                "timeline_sha256": "t", "train_flops": 3e12}  # fmt: skip
ON_CARD: Result = {**GOOD, "rounds_s": 2.0, "losses": [1.4, 1.0 + 1e-6], "card": "a card", "card_mib": 1234.0}


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    return importlib.import_module("gpu")


@pytest.fixture
def main(gpu: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., int]:
    """Its main, where there is a card and runs end as a mapping of (row, device) says; the others end well."""

    def called(results: dict[tuple[str, str], Result], *arguments: str) -> int:
        def measured(command: list[str], *, threads: int, timeout_s: float) -> Result:
            place = command.index("--child")
            row, device = command[place + 1 : place + 3]
            assert 0 < timeout_s <= gpu.ROWS[row].limit_s
            return results.get((row, device), ON_CARD if device == "cuda" else GOOD)

        monkeypatch.setattr(gpu, "card", lambda: "a card, 80 GiB, CUDA 13")
        monkeypatch.setattr(gpu, "lacking", lambda row: None)
        monkeypatch.setattr(gpu.measuring, "measured", measured)
        return int(gpu.main([*arguments, "--out", str(tmp_path / "gpu.jsonl")]))

    return called


def table(said: str) -> dict[str, dict[str, str]]:
    lines = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in said.splitlines() if line[:2] == "| "]
    return {cells[0]: dict(zip(lines[0], cells, strict=True)) for cells in lines[1:]}


def test_without_a_card_nothing_is_measured(gpu: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    assert gpu.main([]) == 2
    assert "there is no CUDA device here" in capsys.readouterr().err


def test_all_agree(main: Callable[..., int], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main({}) == 0
    rows = table(capsys.readouterr().out)
    assert list(rows) == ["quickstart", "llama-1b", "W", "trec"]
    assert rows["W"]["speed-up"] == "3.0"
    assert rows["W"]["CUDA TFLOP/s"] == "1.50"
    assert rows["W"]["card MiB"] == "1,234"
    assert rows["W"]["accuracy CPU / CUDA"] == "0.5000 / 0.5000"
    assert rows["W"]["compared"].startswith("yes; losses differ by 1.0e-06")
    assert rows["llama-1b"]["compared"] == "-; not compared: for its speed only"
    assert rows["llama-1b"]["CPU rounds, s"] == ""
    lines = [json.loads(line) for line in (tmp_path / "gpu.jsonl").read_text().splitlines()]
    assert [(line["row"], line["device"]) for line in lines] == [
        ("quickstart", "cuda"), ("quickstart", "cpu"), ("llama-1b", "cuda"), ("W", "cuda"), ("W", "cpu"), ("trec", "cuda"),
        ("trec", "cpu"),
    ]  # fmt: skip


@pytest.mark.parametrize(("cuda", "cpu", "why"), [
    ({**ON_CARD, "timeline_sha256": "u"}, GOOD, "**no**; another timeline"),
    ({**ON_CARD, "losses": [1.4, 1.01]}, GOOD, "**no**; losses differ by 9.9e-03, more than 0.001"),
    ({**ON_CARD, "losses": [1.4, math.nan]}, GOOD, "**no**; losses differ by inf"),
    ({**ON_CARD, "losses": [1.4]}, GOOD, "**no**; losses differ by inf"),
    ({"failed": "took more than 120 s"}, GOOD, "**no**; CUDA: took more than 120 s"),
    (ON_CARD, {"failed": "out of memory"}, "**no**; CPU: out of memory"),
])  # fmt: skip
def test_what_differs_or_fails_is_told_and_takes_no_other_with_it(
    main: Callable[..., int], capsys: pytest.CaptureFixture[str], cuda: Result, cpu: Result, why: str
) -> None:
    assert main({("W", "cuda"): cuda, ("W", "cpu"): cpu}) == 1
    rows = table(capsys.readouterr().out)
    assert rows["W"]["compared"].startswith(why)
    assert rows["trec"]["compared"].startswith("yes")


def test_what_is_not_there_is_left_out_with_a_word(
    gpu: ModuleType, main: Callable[..., int], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:  # fmt: skip
    row = gpu.ROWS["W"]
    monkeypatch.setenv("ELSA_SIM_DATA", str(tmp_path))
    monkeypatch.setattr(gpu, "find_spec", lambda name: object())
    assert gpu.lacking(row) == "no TREC in $ELSA_SIM_DATA"
    (tmp_path / "trec").mkdir()
    for part in ("train", "test"):
        (tmp_path / "trec" / f"{part}.txt").write_text("")
    assert gpu.lacking(row) is None
    monkeypatch.setattr(gpu, "find_spec", lambda name: None)
    assert gpu.lacking(row) == "no MiniLM here (extra [pretrained])"
    assert gpu.lacking(gpu.ROWS["quickstart"]) is None
    left: Result = {"left_out": "no TREC"}
    assert main({("W", "cuda"): left, ("W", "cpu"): left}, "--rows", "quickstart,W") == 0
    assert table(capsys.readouterr().out)["W"]["compared"] == "-; CUDA left out: no TREC"


def test_the_budget_is_kept(gpu: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs get what is left, at most their own limit; what would have too little is not begun."""
    now, limits = [0.0], list[float]()
    monkeypatch.setattr(gpu, "lacking", lambda row: None)
    monkeypatch.setattr(gpu.time, "monotonic", lambda: now[0])

    def run(name: str, device: str, limit_s: float) -> Result:
        limits.append(limit_s)
        now[0] += limit_s
        return {"failed": "took too long"}

    found = list(gpu.measured(["quickstart", "W", "trec"], 245.0, run))
    assert limits == [90.0, 90.0, 65.0]
    assert [result.get("left_out") for *_, result in found][3:] == ["no time left of 245 s"] * 3


def test_a_run_that_hangs_is_ended(gpu: ModuleType) -> None:
    found = gpu.measuring.measured([sys.executable, "-c", "import time; time.sleep(60)"], threads=1, timeout_s=0.5)
    assert found == {"failed": "took more than 0 s"}
    assert gpu.verdict(found, GOOD)[0] is False


def test_all_rows_together_keep_to_eight_minutes(gpu: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    budgets = list[float]()
    monkeypatch.setattr(gpu, "card", lambda: "a card")
    monkeypatch.setattr(gpu, "measured", lambda names, budget, run: budgets.append(budget) or iter(()))
    with pytest.raises(KeyError):
        gpu.main(["--out", "/dev/null"])  # no result at all
    assert budgets == [450.0]


def test_an_unknown_row_is_refused(gpu: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        gpu.main(["--rows", "quikstart"])
    assert "no row 'quikstart'; valid: quickstart, llama-1b, W, trec" in capsys.readouterr().err


def test_a_run_on_both_devices_agrees(gpu: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a child does, on a small scenario, and on a device that only does not mix with the processor."""
    row = replace(gpu.ROWS["quickstart"], load=lambda quick: loaded("protocol.rounds=1"))
    monkeypatch.setitem(gpu.ROWS, "small", row)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "pretended")
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 3 * 2**20)
    cpu = gpu.played("small", "cpu", 1, True)
    with elsewhere():
        cuda = gpu.played("small", "cuda", 1, True)
    json.dumps([cpu, cuda])
    assert (cuda["card"], cuda["card_mib"]) == ("pretended", 3.0)
    assert "card" not in cpu
    assert len(cpu["losses"]) == len(cpu["accuracies"]) == 2
    assert cpu["train_flops"] > 1e6
    assert 0 < cpu["rounds_s"] < cpu["whole_s"]
    assert gpu.verdict(cuda, cpu)[0] is True


def test_the_large_model_is_what_it_says(gpu: ModuleType) -> None:
    from elsa_sim.learning.backbone.options import whole
    from elsa_sim.run import checks

    plan = checks.check(gpu.ROWS["llama-1b"].load(False))
    model = [whole(plan.outline.shape.layers)]
    assert 0.95e9 < plan.outline.frozen(model) < 1.0e9
