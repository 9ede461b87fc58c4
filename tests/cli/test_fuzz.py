"""A small part of what ``make fuzz`` draws, through the command line; and that the fuzzer sees what it is there for."""

from __future__ import annotations

import importlib
import os
import time
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

CASES = 150


@pytest.fixture
def fuzz(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    return importlib.import_module("fuzz")


def test_nothing_that_is_handed_to_it_breaks_the_program(fuzz: ModuleType) -> None:
    found = list(fuzz.fuzzed(range(CASES), 0, 0.1, 1))
    assert {number: ended.said for number, _, ended, _ in found if ended.outcome == "failed"} == {}
    outcomes = Counter(ended.outcome for _, _, ended, _ in found)
    assert outcomes["ok"] >= CASES / 20
    assert outcomes["refused"] >= CASES / 4
    assert len({kind for _, kind, _, _ in found}) >= 12
    assert any(ended.played for _, _, ended, _ in found)


def test_a_number_and_a_seed_are_a_case(fuzz: ModuleType) -> None:
    assert fuzz.case(5, 17) == fuzz.case(5, 17)
    assert fuzz.case(5, 17) != fuzz.case(6, 17)


def test_the_examples_themselves_run(fuzz: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = fuzz.fuzz_cases._scenario("an example", fuzz.fuzz_cases.bases()[-1], True)
    fuzz.written(made, tmp_path)
    monkeypatch.setattr("elsa_sim.cli.run.write_figures", lambda *_: [])
    ended = fuzz.played(made, True)
    assert (ended.outcome, ended.played) == ("ok", True), ended.said


@pytest.mark.parametrize(("status", "said", "running", "outcome"), [
    (0, "", False, "ok"), (2, "elsa-sim: a: 1 fault\n  b\n", False, "refused"), (3, "elsa-sim: gone\n", True, "stopped"),
    (0, "x.py:3: RuntimeWarning: overflow\n", False, "failed"), (1, "", False, "failed"), (2, "", False, "failed"),
    (3, "elsa-sim: this should not happen: KeyError\n", True, "failed"), (3, "elsa-sim: a\nb\n", True, "failed"),
    (3, "elsa-sim: gone\n", False, "failed"), (2, "elsa-sim: a: 1 fault\n", True, "failed"),
    (3, "elsa-sim: the run broke off at 1 s\n", True, "failed"), (3, "elsa-sim: invariants violated: a\n", True, "failed"),
])  # fmt: skip
def test_what_a_message_is_worth(fuzz: ModuleType, status: int, said: str, running: bool, outcome: str) -> None:
    assert fuzz.verdict(status, said, running=running).outcome == outcome


def test_a_message_is_told_once_whatever_its_numbers(fuzz: ModuleType) -> None:
    assert fuzz.shape("status 3: a 'b' at 1e-3 s") == fuzz.shape("status 3: a 'c' at 17 s")
    assert fuzz.shape("status 3: a") != fuzz.shape("status 3: b")


def test_numbers_that_cannot_be_are_seen(fuzz: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    path.write_text('{"a": 1, "b": {"c": -2}, "d": [NaN], "e": null}', encoding="utf-8")
    assert fuzz.strange(path) == ["summary.b.c is -2", "summary.d.0 is nan"]


@pytest.mark.parametrize(
    ("what", "said"), [("hang", "no end after"), ("die", "the process died"), ("raise", "KeyError")]
)
def test_a_hang_a_death_and_an_exception_are_seen(
    fuzz: ModuleType, monkeypatch: pytest.MonkeyPatch, what: str, said: str
) -> None:
    def wrong(*_: Any) -> None:
        if what == "raise":
            raise KeyError("x")
        if what == "die":
            os._exit(9)
        while True:
            time.process_time()

    monkeypatch.setattr(fuzz, "HANGS_AFTER_S", 0.3)
    monkeypatch.setattr("elsa_sim.cli.commands.app", wrong)
    monkeypatch.setattr(fuzz, "case", lambda *_: fuzz.fuzz_cases._scenario("one", fuzz.fuzz_cases.bases()[0], False))
    found = list(fuzz.fuzzed(range(2), 0, 0.0, 1))
    assert [ended.outcome for _, _, ended, _ in found] == ["failed"] * 2
    assert all(said in ended.said for _, _, ended, _ in found)
