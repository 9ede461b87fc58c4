"""``elsa-sim compare``, and ``plot`` of several runs and of studies: what is on the screen, and in files."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest
from saved_runs import made, saved, study

from elsa_sim.cli import commands, layout
from elsa_sim.cli.compare import show
from elsa_sim.results.columns import Column, numbers, texts
from elsa_sim.results.metrics import Results
from elsa_sim.results.table import compare


def elsa(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *args: object) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["elsa-sim", *map(str, args)])
    try:
        commands.main()
        status: object = 0
    except SystemExit as end:
        status = end.code or 0
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    assert isinstance(status, int)
    return status, out, err


def screen(runs: list[Results], wide: int) -> str:
    show(compare(runs), layout.console(wide, file := StringIO()))
    return file.getvalue()


def several(count: int, name: str = "r{}") -> list[Results]:
    return [made(name.format(i), seed=i % 3, protocol__lr=0.001 * (i + 1)) for i in range(count)]


@pytest.mark.parametrize("wide", [60, 80, 120, 1000])
@pytest.mark.parametrize("count", [1, 2, 5, 12])
@pytest.mark.parametrize(
    "name", ["r{}", "a run with a long name of some words {}", "a-name-that-cannot-be-broken-anywhere-{}"]
)
def test_nothing_is_cut_and_no_word_is_broken(count: int, name: str, wide: int) -> None:
    runs = several(count, name)
    shown = screen(runs, wide)
    assert all(len(line) <= wide for line in shown.splitlines())
    assert "…" not in shown
    words = {word.rstrip(":;") for word in shown.split()}
    found = compare(runs)
    for column in (*found.columns(), *(found.differing() if count > 1 else ())):
        for text in (column.head, *column.cells):
            assert set(text.split()) <= words, text


def test_few_runs_are_columns_and_many_are_rows() -> None:
    assert re.search(r"^run +r0 +r1 *$", screen(several(2), 80), re.MULTILINE)
    assert re.search(r"^accuracy +0\.\d{4} +0\.\d{4} *$", screen(several(2), 80), re.MULTILINE)
    many = screen(several(12), 80)
    assert len(re.findall(r"^ *r11 ", many, re.MULTILINE)) > 1  # the label is in every part of the table
    assert re.search(r"^  0\.003: r2 *$", many, re.MULTILINE)


def test_long_names_are_told_once() -> None:
    shown = screen(several(12, "a run with a long name of some words {}"), 80)
    assert shown.count("long name of some words 7") == 1
    assert "0.008: 8" in shown  # its number, beside what differs


def test_a_column_alone_is_as_wide_as_it_must_be() -> None:
    columns = [texts("run", ["a", "b"]), numbers("a head of five words", "", [0.5, 0.25]), Column("x", ("1", "2"))]
    (table,) = layout.parts(columns[0], columns[1:], 20)
    layout.console(20, file := StringIO()).print(table)
    assert [line.split() for line in file.getvalue().splitlines()][-2:] == [["a", "0.5000", "1"], ["b", "0.2500", "2"]]


def test_compare_prints_a_table_of_directories(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    saved(made("a"), tmp_path / "a")
    saved(made("b", seed=1, protocol="fedavg"), tmp_path / "b")
    status, out, err = elsa(capsys, monkeypatch, "compare", "a", "b", "--target", "0.6")
    assert (status, err) == (0, "")
    assert "simulated time (s)" in out
    assert "time to accuracy 0.6 (s)" in out
    assert re.search(r"^protocol\.kind +elsa +fedavg *$", out, re.MULTILINE)
    status, out, err = elsa(capsys, monkeypatch, "compare", "a", "nowhere")
    assert (status, out) == (2, "")
    assert err == "elsa-sim: there is no run directory nowhere\n"
    assert elsa(capsys, monkeypatch, "compare", "a", "--target", "60")[0] == 2


def test_compare_writes_files_by_their_ending(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    study(tmp_path / "st")
    for name in ("t.csv", "t.md", "t.txt"):
        assert elsa(capsys, monkeypatch, "compare", "st", "--out", name) == (0, f"{name}\n", "")
    table = pd.read_csv("t.csv", index_col="run")
    assert table["seeds"].tolist() == [3, 3]
    assert table["accuracy_std"].gt(0).all()
    assert Path("t.md").read_text().startswith("| run | protocol | seeds |")
    assert "± " in Path("t.txt").read_text()
    assert "\x1b" not in Path("t.txt").read_text()
    _, out, _ = elsa(capsys, monkeypatch, "compare", "st", "--format", "markdown")
    assert out == Path("t.md").read_text()
    status, _, err = elsa(capsys, monkeypatch, "compare", "st", "--out", "no/such/t.csv")
    assert status == 2
    assert err.startswith("elsa-sim: ")


def test_other_tasks_are_compared_without_accuracies(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    saved(made("a"), tmp_path / "a")
    saved(made("b", task__topics=3), tmp_path / "b")
    _, out, _ = elsa(capsys, monkeypatch, "compare", "a", "b")
    assert not re.search(r"^(best )?accuracy", out, re.MULTILINE)
    assert "task.topics differs (4; 3)" in " ".join(out.split())
    _, _, err = elsa(capsys, monkeypatch, "compare", "a", "b", "--out", "t.csv")  # which has no place for a note
    assert "task.topics differs (4; 3)" in err
    status, out, err = elsa(capsys, monkeypatch, "plot", "a", "b")
    assert status == 0
    assert {Path(line).stem for line in out.splitlines()} == {"bytes_by_kind", "energy_by_role"}
    assert err == ("no figure of what was learned: accuracies are on no common axis, as task.topics differs (4; 3)\n")


def test_plot_takes_a_study_and_leaves_its_own_figures(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    study(tmp_path / "st", seeds=2, failed=1)
    seen: list[Results] = []

    def drawn(runs: list[Results], folder: Path) -> list[Path]:
        seen.extend(runs)
        return [folder / "one.png"]

    monkeypatch.setattr("elsa_sim.results.plots.save_figures", drawn)
    status, out, err = elsa(capsys, monkeypatch, "plot", "st")
    assert (status, out) == (0, "figures/one.png\n")
    assert [(run.labels["system"], run.summary["seed"]) for run in seen] == [("elsa", 0), ("fedavg", 0), ("elsa", 1)]
    assert err == "st: 1 of 4 cells did not finish: fedavg, 4, seed 1\n"


def test_the_end_of_a_run_that_failed_is_told() -> None:
    run = made("bad")
    failed = replace(run, summary={**run.summary, "complete": False, "outcome": "failed: loss is nan"})
    shown = screen([made("a"), failed], 80)
    assert re.search(r"^ended +done +failed *$", shown, re.MULTILINE)
    assert "note: bad: failed: loss is nan\n" in shown


@pytest.mark.parametrize("wide", [40, 80, 120])
def test_tables_without_differences(wide: int) -> None:
    """A study's: its rows are configurations, with names that are as long as its axes are many."""
    names = Column(
        "configuration", tuple(f"protocol.kind: a rather long name of a protocol, codec: {i}" for i in range(9))
    )
    file = StringIO()
    for table in layout.tables([names, Column("sim_time_s", ("1",) * 9, True)], [], wide):
        layout.console(wide, file).print(table)
    assert all(len(line) <= wide for line in file.getvalue().splitlines())
    assert {"9", "sim_time_s", "configuration"} <= set(file.getvalue().split())
