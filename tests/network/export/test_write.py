"""Files are written whole, where they should be, and over nobody's."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_networks import net

from elsa_sim.base.errors import InputError, InputFaults
from elsa_sim.network.export import Message, Scene, write
from elsa_sim.topology import Link
from elsa_sim.transports import Fluid

SCENE = Scene(net(Link("a", "b", 8e6, 8e6)), (Message("f", ("a", "b"), 1000, 0.0),), Fluid())


def test_files_are_there_and_are_named(tmp_path: Path) -> None:
    written = write(SCENE, "simgrid", tmp_path / "deep" / "er")
    assert {path.name for path in written} == {"platform.xml", "flows.csv", "play.py"}
    assert sorted((tmp_path / "deep" / "er").iterdir()) == sorted(written)


def test_other_files_are_replaced_only_when_asked(tmp_path: Path) -> None:
    (tmp_path / "flows.csv").write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match="there already"):
        write(SCENE, "simgrid", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["flows.csv"]
    write(SCENE, "simgrid", tmp_path, replace=True)
    assert (tmp_path / "flows.csv").read_text(encoding="utf-8").startswith("id,src")


def test_faults_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputFaults, match="fluid"):
        write(SCENE, "ns3", tmp_path / "out")
    with pytest.raises(InputError, match="ns3, simgrid"):
        write(SCENE, "ns4", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError):
        write(SCENE, "simgrid", tmp_path / "file")
