"""Any bytes at all: a network or a trace, or its faults; never another exception."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from network_files import GML, SNDLIB, edge, graphml

from elsa_sim.base.context import Context
from elsa_sim.base.errors import InputFaults
from elsa_sim.base.streams import Streams
from elsa_sim.topology import LinkOptions, TopologyFile
from elsa_sim.topology.readers import READERS
from elsa_sim.topology.traces import traced

HERE = Path(__file__).parents[3] / "topologies"
GOOD = {
    "backbone.graphml": (HERE / "backbone.graphml").read_bytes(),
    "directed.graphml": graphml(
        edge("a", "c", bandwidth=5, loss=0.1),
        edge("c", "a", LinkLabel="2 x 10 Mbps", loss=0.1),
        edge("b", "c", up=1, down="2 kbit/s"),
        directed=True,
    ).encode("utf-16"),
    "campus.json": (HERE / "campus.json").read_bytes(),
    "village.csv": (HERE / "village.csv").read_bytes(),
    "net.gml": GML.encode(),
    "net.xml": SNDLIB.encode(),
}
TRACES = {
    "comma.csv": b"time_ms,bandwidth_mbps\n0,4.0\n1000,8.0\n# a note\n2000,0\n",
    "semicolon.csv": b"Zeit (s);Rate [kbit/s]\n0;4,5\n1;8,25\n",
    "tab.log": b"0.0\t4.0\n1.0\t8.0\n",
    "packets.up": b"3\n6\n9\n12\n12\n15\n",
}
JUNK = st.one_of(
    st.binary(max_size=4),
    st.sampled_from(
        [
            b'"',
            b"<",
            b"{",
            b"null",
            b"1e999",
            b"-",
            b",",
            b"NaN",
            b"]",
            b"[",
            b"\n",
            b"\0",
            b"\xff\xfe",
            b"0",
            b"9" * 5000,
            b"\xed\xa0\x80",
        ]
    ),
)


@st.composite
def damaged(draw: st.DrawFn, files: dict[str, bytes]) -> tuple[str, bytes]:
    """A good file with bytes cut out of it and put into it."""
    name = draw(st.sampled_from(sorted(files)))
    data = files[name]
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        data = data[:at] + draw(JUNK) + data[at + draw(st.integers(0, 20)) :]
    return name, data


@st.composite
def misnamed(draw: st.DrawFn) -> tuple[str, bytes]:
    ending = draw(st.sampled_from(sorted(READERS)))
    return f"any{ending}", draw(st.one_of(st.binary(max_size=200), damaged(GOOD | TRACES).map(lambda pair: pair[1])))


@settings(max_examples=600, deadline=None)
@given(file=st.one_of(damaged(GOOD), misnamed()), core=st.booleans(), clients=st.sampled_from([0, 2]))
def test_networks(file: tuple[str, bytes], core: bool, clients: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    name, data = file
    folder = tmp_path_factory.mktemp("net")
    (folder / name).write_bytes(data)
    options = {"capacity_unit": "Mbit/s", "clients": clients, "unclear_speed": "core" if core else "refuse"}
    source = TopologyFile.model_validate({"file": name, **options})
    try:
        topology = source.build(Context(Streams(0), folder))
    except InputFaults:
        return
    for client in topology.names("client"):
        assert topology.route(client, topology.cloud)


@settings(max_examples=600, deadline=None)
@given(
    file=st.one_of(damaged(TRACES), st.tuples(st.just("any.csv"), st.binary(max_size=200))),
    trace=st.sampled_from(
        [{}, {"time": "s", "bandwidth": "Mbit/s"}, {"format": "mahimahi", "interval": "5 ms"}, {"format": "pensieve"}]
    ),
    repeat=st.booleans(),
)
def test_traces(
    file: tuple[str, bytes], trace: dict[str, str], repeat: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    name, data = file
    folder = tmp_path_factory.mktemp("trace")
    (folder / name).write_bytes(data)
    options = LinkOptions.model_validate({"up": 1e6, "trace": {"file": name, **trace}, "repeat": repeat})
    faults: list[object] = []
    found = traced(options, Context(Streams(0), folder), "access", faults)  # type: ignore[arg-type]
    assert faults or found.profile
    if not faults:
        times = [time for time, _ in found.profile]
        assert times == sorted(set(times))
        assert any(bandwidth for _, bandwidth in found.profile) or times[0] > 0


def test_the_good_files_are_good(tmp_path: Path) -> None:
    """Else nothing but refusals is tested above."""
    for name, data in GOOD.items():
        (tmp_path / name).write_bytes(data)
        clients = 2 if name in ("backbone.graphml", "net.xml") else 0
        TopologyFile(file=name, clients=clients, capacity_unit="Mbit/s").build(Context(Streams(0), tmp_path))
