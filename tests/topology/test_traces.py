"""Bandwidth traces from files, held or repeated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from elsa_sim.base.context import Context
from elsa_sim.base.errors import InputFaults
from elsa_sim.base.streams import Streams
from elsa_sim.topology import LinkOptions, Star, Topology


def star(folder: Path, text: str | bytes, overrides: dict[str, Any] | None = None, **access: Any) -> Topology:
    (folder / "t.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    link = LinkOptions.model_validate({"up": 1e6, "trace": "t.csv", **access})
    return Star(clients=2, access=link, overrides=overrides or {}).build(Context(Streams(0), folder))


def test_held(tmp_path: Path) -> None:
    topology = star(tmp_path, "seconds,bits per second\n# morning\n0,5e6\n\n2.5,0\n3,1000000\n")
    link = topology.link("client0", "cloud")
    assert link.profile == ((0.0, 5e6), (2.5, 0.0), (3.0, 1e6))
    assert link.period is None


@pytest.mark.parametrize("head", ["t,bps\n", "# from a drive\n# in 2019\n\ntime,bandwidth\n", " # one\nseconds\n", ""])
def test_a_header_may_come_after_comments(tmp_path: Path, head: str) -> None:
    assert star(tmp_path, head + "0,5e6\n").link("client0", "cloud").profile == ((0.0, 5e6),)


def test_repeated(tmp_path: Path) -> None:
    """The last row says when the trace begins again."""
    link = star(tmp_path, "0,5e6\n2,1e6\n6,0\n", repeat=True).link("client1", "cloud")
    assert link.profile == ((0.0, 5e6), (2.0, 1e6))
    assert link.period == 6.0


def test_one_client_only(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("0,5e6\n")
    topology = Star(clients=2, access=LinkOptions(up=1e6), overrides={"client1": {"trace": "t.csv"}}).build(
        Context(Streams(0), tmp_path)
    )
    assert topology.link("client0", "cloud").profile == ()
    assert topology.link("client1", "cloud").profile == ((0.0, 5e6),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0,1\n0,2\n", "line 2: times must increase"),
        ("0,1\n1,-2\n", "line 2: times and bandwidths are finite"),
        ("0,1\n1,nan\n", "line 2: times and bandwidths are finite"),
        ("0,1\n1\n", "line 2: expected seconds"),
        ("a,b\n", "no rows"),
        ("a,b\nc,d\n0,1\n", "line 2: expected seconds"),
        ("0,1\na,b\n", "line 2: expected seconds"),
        ("1\n2,3\n", "line 1: expected seconds"),
        ("0;5e6\n1;3\n", "line 2: expected seconds"),
        (b"\xff\xfe0", "UTF-8"),
    ],
)
def test_faults(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(InputFaults, match=message) as caught:
        star(tmp_path, text)
    assert {f.path for f in caught.value.faults} == {"access.trace"}


def test_missing_file_and_single_row(tmp_path: Path) -> None:
    with pytest.raises(InputFaults, match="no such file"):
        star(tmp_path, "0,1\n", trace="other.csv")
    with pytest.raises(InputFaults, match="needs 2 or more"):
        star(tmp_path, "0,1\n", repeat=True)


@pytest.mark.parametrize("bad", [{"profile": [[0, 1.0]]}, {"trace": None, "repeat": True}, {"cell_bandwidth": 1.0}])
def test_contradictions(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"either a profile or a trace|needs a"):
        LinkOptions.model_validate({"up": 1e6, "trace": "t.csv", **bad})


def test_a_cell_per_edge_server() -> None:
    from elsa_sim.topology import Tree

    access = LinkOptions(up=1e6, cell="air of {edge}", cell_bandwidth=5e6)
    topology = Tree(clients=4, edges=2, access=access, backhaul=LinkOptions(up=1e9)).build(Context(Streams(0)))
    assert [topology.link(f"client{i}", f"edge{i % 2}").cell for i in range(4)] == ["air of edge0", "air of edge1"] * 2
