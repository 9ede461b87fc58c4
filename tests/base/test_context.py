"""Where files of a scenario are looked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from elsa_sim.base.context import DATA_VARIABLE, Context
from elsa_sim.base.errors import InputFaults
from elsa_sim.base.streams import Streams


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The scenario's folder and the data folder; both have ``both.txt``."""
    scenario, data = tmp_path / "scenario", tmp_path / "data"
    for folder, names in ((scenario, ("both.txt", "mine.txt")), (data, ("both.txt", "sub/theirs.txt"))):
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(str(folder), encoding="utf-8")
    monkeypatch.setenv(DATA_VARIABLE, str(data))
    return scenario, data


def test_the_scenarios_folder_comes_before_the_data_folder(places: tuple[Path, Path]) -> None:
    scenario, data = places
    context = Context(Streams(0), scenario)
    assert context.file("mine.txt", "train") == (scenario / "mine.txt").resolve()
    assert context.file("both.txt", "train") == (scenario / "both.txt").resolve()
    assert context.file("sub/theirs.txt", "train") == (data / "sub/theirs.txt").resolve()
    assert context.file("../data/both.txt", "train") == (data / "both.txt").resolve()
    assert context.file(str(data / "both.txt"), "train") == (data / "both.txt").resolve()


def test_a_missing_file_is_a_fault_that_names_the_places(places: tuple[Path, Path]) -> None:
    scenario, data = places
    with pytest.raises(InputFaults) as caught:
        Context(Streams(0), scenario).file("absent.txt", "test")
    (fault,) = caught.value.faults
    assert fault.path == "test"
    assert fault.message == f"no such file 'absent.txt'; looked at {scenario / 'absent.txt'}, {data / 'absent.txt'}"

    with pytest.raises(InputFaults) as caught:
        Context(Streams(0), scenario).file("/absent/file.txt", "test")
    assert caught.value.faults[0].message == "no such file '/absent/file.txt'; looked at /absent/file.txt"


def test_the_data_folder_is_optional(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for value in (None, ""):
        if value is None:
            monkeypatch.delenv(DATA_VARIABLE, raising=False)
        else:
            monkeypatch.setenv(DATA_VARIABLE, value)
        with pytest.raises(InputFaults, match=rf"looked at .*absent\.txt \(\${DATA_VARIABLE} is not set\)"):
            Context(Streams(0), tmp_path).file("absent.txt", "train")


@pytest.mark.parametrize("name", ["", ".", "..", "a\0b", "x" * 5000, "/" * 300, "~/nothing", "sub"])
def test_what_is_no_file_is_a_fault(places: tuple[Path, Path], name: str) -> None:
    with pytest.raises(InputFaults):
        Context(Streams(0), places[0]).file(name, "train")
