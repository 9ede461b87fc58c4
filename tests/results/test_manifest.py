"""Which files a run wrote, and whether a folder holds a run that finished."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from elsa_sim.results import manifest


def folder_with(path: Path, *names: str) -> Path:
    for name in names:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text("x")
    return path


def test_a_run_lists_its_files_and_the_figures_drawn_later(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, "topology.json", "events.parquet", ".lock", "figures/a.png", "figures/a.pdf")
    manifest.write(folder)
    mine = ["events.parquet", "figures/a.pdf", "figures/a.png", "manifest.json", "topology.json"]
    assert manifest.listed(folder) == mine
    folder_with(folder, "figures/mine.png", "figures/b.png", "notes.txt")
    assert manifest.written(folder) == sorted([".lock", *mine])
    manifest.add(folder, [folder / "figures" / "b.png", tmp_path.parent / "elsewhere.png"])
    assert manifest.listed(folder) == sorted([*mine, "figures/b.png"])


def test_a_folder_without_a_manifest_gets_none(tmp_path: Path) -> None:
    manifest.add(tmp_path, [tmp_path / "a.png"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"files": 3}', "{}", "[" * 100_000])
def test_a_manifest_that_cannot_be_read_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    assert manifest.listed(tmp_path) is None
    assert not manifest.is_run_directory(tmp_path)


def test_a_manifest_names_files_of_its_folder_only(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"files": ["a", "b/c", "../d", "/e", "b/../../f", "", 3]}))
    assert manifest.listed(tmp_path) == ["a", "b/c"]


@pytest.mark.parametrize(("text", "expected"), [("{}", True), ('{"complete": true}', True), ('{"complete": 1}', False),
                                                ('{"complete": false}', False), ("[]", False), ("{", False),
                                                (None, False)])  # fmt: skip
def test_a_run_finished_if_its_summary_says_so(tmp_path: Path, text: str | None, expected: bool) -> None:
    if text is not None:
        (tmp_path / "summary.json").write_text(text)
    assert manifest.finished(tmp_path) is expected


def test_what_is_below_adapters_is_the_runs_by_name_and_all_of_it_once_it_has_ended(tmp_path: Path) -> None:
    known, odd = "adapters/clients/a/adapter_model.safetensors", "adapters/backbone/spiece.vocab"
    for name in (known, odd):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("")
    assert manifest.written(tmp_path) == [known], "of a run that was killed"
    manifest.write(tmp_path)
    assert manifest.listed(tmp_path) == sorted([known, odd, "manifest.json"])
