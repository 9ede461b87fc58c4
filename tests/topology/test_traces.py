"""Bandwidth traces from files: in the units they state, held or repeated, for both directions or one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from elsa_sim.base.context import Context
from elsa_sim.base.errors import InputFaults
from elsa_sim.base.streams import Streams
from elsa_sim.topology import Link, LinkOptions, Star, Topology

HEAD = "time_s,bandwidth_bps\n"


def star(folder: Path, text: str | bytes, overrides: dict[str, Any] | None = None, **access: Any) -> Topology:
    (folder / "t.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    link = LinkOptions.model_validate({"up": 1e6, "trace": "t.csv", **access})
    return Star(clients=2, access=link, overrides=overrides or {}).build(Context(Streams(0), folder))


def link(folder: Path, text: str | bytes, **access: Any) -> Link:
    return star(folder, text, **access).link("client0", "cloud")


def test_held(tmp_path: Path) -> None:
    found = link(tmp_path, "seconds,bits per second\n# morning\n0,5e6\n\n2.5,0\n3,1000000\n")
    assert found.profile == ((0.0, 5e6), (2.5, 0.0), (3.0, 1e6))
    assert (found.period, found.profile_down) == (None, None)


@pytest.mark.parametrize(
    ("text", "profile"),
    [
        ("time_s,bandwidth_mbps\n0,4.0\n1,8\n", ((0, 4e6), (1, 8e6))),
        ("time_ms,throughput_kbps\n0,4000\n1000,8000\n", ((0, 4e6), (1, 8e6))),
        ("Time (ms);Bandwidth [Mbit/s]\n0;4,5\n1000;8,25\n", ((0, 4.5e6), (1, 8.25e6))),
        ("t_s;rate_MB/s\n0;1\n1;0,125\n", ((0, 8e6), (1, 1e6))),
        ("time/s\tbit/s\n0\t5\n2\t6\n", ((0, 5), (2, 6))),
        ("seconds  kbps\n 0   5\n 2   6\n", ((0, 5e3), (2, 6e3))),
        ("bandwidth_mbps,time_s\n4,0\n8,1\n", ((0, 4e6), (1, 8e6))),
        ("# from a drive\n# in 2019\n\nminutes,Mbps\n0,5\n2,6\n", ((0, 5e6), (120, 6e6))),
        ("\ufefftime_us,bandwidth_gbps\r\n0,1\r\n10,2\r\n", ((0, 1e9), (1e-5, 2e9))),
        ('"time_s","bandwidth_bps"\n"0","5"\n', ((0, 5),)),
    ],
)
def test_units_of_the_header(tmp_path: Path, text: str, profile: tuple[tuple[float, float], ...]) -> None:
    found = link(tmp_path, text).profile
    assert [time for time, _ in found] == pytest.approx([time for time, _ in profile])
    assert [value for _, value in found] == pytest.approx([value for _, value in profile])


def test_units_of_the_scenario(tmp_path: Path) -> None:
    units = {"file": "t.csv", "time": "ms", "bandwidth": "Mbit/s"}
    for text in (
        "0,4\n1000,8\n",
        "0\t4\n1000\t8\n",
        "0;4\n1000;8\n",
        "0 4\n1000 8\n",
        "time,rate\n0,4\n1000,8\n",
        "time_ms,rate\n0,4\n1000,8\n",
    ):
        assert link(tmp_path, text, trace=units).profile == ((0.0, 4e6), (1.0, 8e6))
    pensieve = {"file": "t.csv", "format": "pensieve"}
    assert link(tmp_path, "0.0\t4.0\n1.5\t8.0\n", trace=pensieve).profile == ((0.0, 4e6), (1.5, 8e6))
    with pytest.raises(InputFaults, match=r"name different units"):
        link(tmp_path, "time_s,rate\n0,4\n1000,8\n", trace=units)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "0,4.0\n1,8.0\n",
            "no header that says the unit of the time and the bandwidth; write .*{file: t.csv, time: s, bandwidth: Mbit/s}",
        ),
        (
            "Timestamp;DL_bitrate\n0;4000\n",
            "header 'Timestamp,DL_bitrate' does not say the unit of the time and the bandwidth",
        ),
        ("time_s,bandwidth\n0,4000\n", "header 'time_s,bandwidth' does not say the unit of the bandwidth"),
        ("t,bps\n0,5e6\n", "header 't,bps' does not say the unit of the time"),
        ("time_s,bandwidth_MB\n0,4000\n", "unit of the bandwidth"),
        ("time_s,up_mbps,down_mbps\n0,4,5\n", "has 3 columns"),
        ("3\n6\n9\n", "format: mahimahi"),
    ],
)
def test_units_are_never_assumed(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputFaults, match=message) as caught:
        star(tmp_path, text)
    assert {f.path for f in caught.value.faults} == {"access.trace"}


@pytest.mark.parametrize("text", ["0,2e6\n1,100000\n", "# seconds, bit/s\n0,1e5\n\n1,0\n", "0, 2000000\n1, 3\n"])
def test_the_plain_format_is_seconds_and_bits_per_second(tmp_path: Path, text: str) -> None:
    rows = [line.split(",") for line in text.splitlines() if line and not line.startswith("#")]
    assert link(tmp_path, text, trace="t.csv").profile == tuple((float(t), float(b)) for t, b in rows)
    with pytest.raises(InputFaults, match="no header that says the unit"):  # a hundredth of it is not plausible
        link(tmp_path, "0,99999\n1,4000\n", trace="t.csv")
    for apart in (text.replace(",", ";"), text.replace(",", "\t")):
        if not text.startswith("#"):
            with pytest.raises(InputFaults, match="no header that says the unit"):
                link(tmp_path, apart, trace="t.csv")


def test_repeated(tmp_path: Path) -> None:
    """The last row says when the trace begins again."""
    found = star(tmp_path, HEAD + "0,5e6\n2,1e6\n6,0\n", repeat=True).link("client1", "cloud")
    assert found.profile == ((0.0, 5e6), (2.0, 1e6))
    assert found.period == 6.0


def test_one_client_only(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(HEAD + "0,5e6\n")
    topology = Star(clients=2, access=LinkOptions(up=1e6), overrides={"client1": {"trace": "t.csv"}}).build(
        Context(Streams(0), tmp_path)
    )
    assert topology.link("client0", "cloud").profile == ()
    assert topology.link("client1", "cloud").profile == ((0.0, 5e6),)


def test_an_override_keeps_the_rest_of_the_trace(tmp_path: Path) -> None:
    trace = {"file": "t.csv", "time": "ms", "bandwidth": "Mbit/s"}
    topology = star(tmp_path, "0,4\n1000,8\n", {"client1": {"repeat": True}}, trace=trace)
    assert topology.link("client0", "cloud").profile == ((0.0, 4e6), (1.0, 8e6))
    assert topology.link("client1", "cloud").profile == ((0.0, 4e6),)
    assert topology.link("client1", "cloud").period == 1.0


def test_a_plain_path_is_written_as_one() -> None:
    assert LinkOptions.model_validate({"up": 1e6, "trace": "t.csv"}).model_dump()["trace"] == "t.csv"
    two = LinkOptions.model_validate(
        {"up": 1e6, "trace": {"up": "a.csv", "down": {"file": "b", "time": "ms", "bandwidth": "bps"}}}
    )
    written = two.model_dump()["trace"]
    assert written["up"]["file"] == "a.csv", "so that whoever makes paths absolute finds it"
    assert LinkOptions.model_validate(two.model_dump()) == two


def test_a_stated_down_is_not_overruled(tmp_path: Path) -> None:
    found = link(tmp_path, HEAD + "0,5e6\n", down=9e6)
    assert (found.profile, found.profile_down, found.down) == (((0.0, 5e6),), (), 9e6)
    assert (found.most_from("client0"), found.most_from("cloud")) == (5e6, 9e6)
    stated = Link.of("a", "b", LinkOptions(up=1e6, down=2e6, profile=((0.0, 3e6),)))
    assert (stated.profile_from("a"), stated.profile_from("b")) == ((((0.0, 3e6),), None), ((), None))
    half = Link.of("a", "b", LinkOptions(up=1e6, duplex="half", profile=((0.0, 3e6),)))
    assert half.profile_from("b") == half.profile_from("a"), "there is one channel"
    assert half.most_from("b") == 3e6


def test_a_half_duplex_link_has_one_bandwidth() -> None:
    assert LinkOptions(up=1e6, down=1e6, duplex="half").down == 1e6
    with pytest.raises(ValueError, match="share one channel of bandwidth up; leave down out"):
        LinkOptions(up=1e6, down=2e6, duplex="half")


@pytest.mark.parametrize("comment", ["# time_ms,bandwidth_kbps\n", "# made by hand\n#time_ms, bandwidth_kbps\n"])
def test_a_comment_may_be_the_header(tmp_path: Path, comment: str) -> None:
    """As numpy.savetxt writes it."""
    assert link(tmp_path, comment + "0,4000000\n1000,8000000\n", trace="t.csv").profile == ((0.0, 4e9), (1.0, 8e9))
    with pytest.raises(InputFaults, match="does not say the unit of the bandwidth"):
        link(tmp_path, "# time_ms,bandwidth\n0,4000000\n1000,8000000\n", trace="t.csv")


def test_a_trace_for_each_direction(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("time_ms,Mbit/s\n0,7\n500,9\n800,1\n")
    found = link(tmp_path, HEAD + "0,5e6\n3,1e6\n", trace={"up": "t.csv", "down": {"file": "d.csv"}}, repeat=True)
    assert (found.profile, found.period) == (((0.0, 5e6),), 3.0)
    assert (found.profile_down, found.period_down) == (((0.0, 7e6), (0.5, 9e6)), 0.8)
    found = link(tmp_path, HEAD, trace={"down": "d.csv"}, down=3e6)
    assert (found.profile, found.profile_from("cloud")[0][0]) == ((), (0.0, 7e6))
    with pytest.raises(InputFaults, match="no such file") as caught:
        star(tmp_path, "0,5\n", trace={"up": "t.csv", "down": "e.csv"})
    assert [f.path for f in caught.value.faults] == ["access.trace.up", "access.trace.down"]


def test_mahimahi(tmp_path: Path) -> None:
    """6 packets of 1500 bytes in 15 ms, over and over: 4.8 Mbit/s on average, and in its intervals what they carry."""
    packets = "3\n6\n9\n12\n12\n15\n"
    found = link(tmp_path, packets, trace={"file": "t.csv", "format": "mahimahi"})
    assert (found.profile, found.period) == (((0.0, pytest.approx(4.8e6)),), 0.015)
    found = link(tmp_path, packets, trace={"file": "t.csv", "format": "mahimahi", "interval": "6 ms"})
    assert found.profile == ((0.0, pytest.approx(4e6)), (0.006, pytest.approx(6e6)), (0.012, pytest.approx(4e6)))
    found = link(tmp_path, "0\n1\n1\n4\n", trace={"file": "t.csv", "format": "mahimahi", "interval": "1 ms"})
    assert [bandwidth for _, bandwidth in found.profile] == pytest.approx([3.6e7, 0.0, 0.0, 1.2e7])
    assert sum(b for _, b in found.profile) * 1e-3 == pytest.approx(4 * 1500 * 8), "every chance counts once"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("3\n2\n", "line 2: times must not decrease"),
        ("3\nx\n", "line 2: expected a whole number of ms"),
        ("3.5\n", "line 1: expected a whole number"),
        ("-3\n", "line 1: expected a whole number"),
        ("0\n0\n", "no time after 0 ms"),
        ("# none\n", "no time after 0 ms"),
        ("99999999999\n", "more than 1000000 intervals"),
    ],
)
def test_faults_of_mahimahi(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputFaults, match=message):
        star(tmp_path, text, trace={"file": "t.csv", "format": "mahimahi"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0,1\n0,2\n", "line 3: times must increase"),
        ("0,1\n1,-2\n", "line 3: times and bandwidths are finite"),
        ("0,1\n1,nan\n", "line 3: times and bandwidths are finite"),
        ("0,1\n1\n", "line 3: expected a time and a bandwidth"),
        ("", "no rows"),
        ("c,d\n0,1\n", "line 2: expected a time and a bandwidth"),
        ("0,1\na,b\n", "line 3: expected a time and a bandwidth"),
        ("0,1\n1,2,3\n", "line 3: expected a time and a bandwidth"),
        ("0;5e6\n1;3\n", "line 2: expected a time and a bandwidth"),
        ("0,0\n1,0\n", "never carries anything"),
        ("1600000000,5\n", "not from 1970|counted from the start"),
        ("0,1e17\n", "at most 1e.15 bit/s"),
        ("0,5\n1,\0\n", "NUL"),
        ('0,5\n1,"6\n', "t.csv"),
        (b"\xff\xfe0", "UTF-8"),
    ],
)
def test_faults(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(InputFaults, match=message) as caught:
        star(tmp_path, text if isinstance(text, bytes) else HEAD + text)
    assert {f.path for f in caught.value.faults} == {"access.trace"}


@pytest.mark.parametrize("cell", ["4,000", "12,345"])
def test_a_comma_that_may_part_thousands_is_refused(tmp_path: Path, cell: str) -> None:
    with pytest.raises(InputFaults, match="expected a time and a bandwidth"):
        star(tmp_path, f"time_s;bandwidth_bps\n0;{cell}\n")


def test_missing_file_empty_file_huge_file_and_single_row(tmp_path: Path) -> None:
    with pytest.raises(InputFaults, match="no such file"):
        star(tmp_path, HEAD + "0,1\n", trace="other.csv")
    with pytest.raises(InputFaults, match="needs 2 or more"):
        star(tmp_path, HEAD + "0,1\n", repeat=True)
    with pytest.raises(InputFaults, match="is empty"):
        star(tmp_path, "")
    with (tmp_path / "sparse.csv").open("wb") as file:
        file.truncate(10 * 2**30)
    with pytest.raises(InputFaults, match="at most 67108864 bytes"):
        star(tmp_path, "", trace="sparse.csv")


@pytest.mark.parametrize(
    "bad",
    [
        {"profile": [[0, 1.0]]},
        {"trace": None, "repeat": True},
        {"cell_bandwidth": 1.0},
        {"trace": {}},
        {"trace": {"file": "a", "up": "b"}},
        {"trace": {"file": "a", "time": "Mbps"}},
        {"trace": {"file": "a", "bandwidth": "Mb"}},
        {"trace": {"file": "a", "format": "mahimahi", "time": "ms"}},
        {"trace": {"file": "a", "format": "mahimahi", "interval": "1.5 ms"}},
        {"trace": {"file": "a", "interval": "200 ms"}},
        {"trace": {"up": "a"}, "duplex": "half"},
        {"profile_down": [[0, 5]]},
    ],
)
def test_contradictions(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="valid"):
        LinkOptions.model_validate({"up": 1e6, "trace": "t.csv", **bad})


def test_a_cell_per_edge_server() -> None:
    from elsa_sim.topology import Tree

    access = LinkOptions(up=1e6, cell="air of {edge}", cell_bandwidth=5e6)
    topology = Tree(clients=4, edges=2, access=access, backhaul=LinkOptions(up=1e9)).build(Context(Streams(0)))
    assert [topology.link(f"client{i}", f"edge{i % 2}").cell for i in range(4)] == ["air of edge0", "air of edge1"] * 2
