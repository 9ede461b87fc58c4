"""Network cases against the times of an independent simulator, and what bad case files are told."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elsa_sim.base.errors import ElsaError, InputFaults
from elsa_sim.network import NetworkOptions
from elsa_sim.network.case import load, play

ORACLE = Path(__file__).parents[3] / "shared" / "oracle" / "network"
CASES = sorted(ORACLE.glob("*.json"))


def test_oracle_is_there() -> None:
    """In CI a missing oracle is a failure, elsewhere a reason to skip."""
    if not CASES and not os.environ.get("CI"):
        pytest.skip(f"{ORACLE} is not there")
    assert CASES


@pytest.mark.parametrize("path", CASES, ids=lambda p: p.stem)
def test_oracle(path: Path) -> None:
    """Every finish time within the case's relative tolerance of the flow's duration."""
    case = load(path)
    finish = play(case)
    start = {flow["id"]: flow["start_s"] for flow in case["flows"]}
    assert finish.keys() == case["finish_s"].keys()
    for flow, expected in case["finish_s"].items():
        assert abs(finish[flow] - expected) <= case["tolerance"] * max(expected - start[flow], 1e-3), flow


def small() -> dict[str, Any]:
    return {
        "nodes": ["a", "b", "c"],
        "links": [
            {"u": "a", "v": "b", "bandwidth_bps": 1e6, "latency_s": 0.01, "duplex": "full"},
            {"u": "b", "v": "c", "bandwidth_bps": 2e6, "latency_s": 0.02, "bandwidth_profile": [[1.0, 0], [2.0, 1e6]]},
        ],
        "flows": [{"id": "f", "src": "a", "dst": "c", "bytes": 1000, "start_s": 0.0, "route": ["a", "b", "c"]}],
    }


def test_route_is_optional() -> None:
    case = small()
    del case["flows"][0]["route"]
    assert play(case) == play(small()) == {"f": pytest.approx(0.038)}


def test_a_transport_is_that_of_the_case_or_of_the_options_or_none() -> None:
    """Without one, the closed form; with windows, later; the case's own frames the payload."""
    case = small()
    case["links"] = [{"u": u, "v": v, "bandwidth_bps": 2e7, "latency_s": 0.015} for u, v in ("ab", "bc")]
    case["flows"][0]["bytes"] = 200_000
    fluid, windows, framed = 0.03 + 0.08, NetworkOptions(transport="tcp"), 139 * 66 * 8 / 2e7
    assert play(case)["f"] == pytest.approx(fluid, rel=1e-12)
    assert play(case, windows)["f"] > fluid + 0.01
    assert play(case | {"transport": "fluid"}, windows)["f"] == pytest.approx(fluid + framed, rel=1e-12)


def test_half_duplex_shares_its_directions() -> None:
    case: dict[str, Any] = {
        "nodes": ["a", "b"],
        "links": [{"u": "a", "v": "b", "bandwidth_bps": 8e6, "duplex": "half"}],
        "flows": [{"id": "f", "src": "a", "dst": "b", "bytes": 1e6}, {"id": "g", "src": "b", "dst": "a", "bytes": 1e6}],
    }
    assert play(case) == {"f": pytest.approx(2.0), "g": pytest.approx(2.0)}
    case["links"][0]["duplex"] = "full"
    assert play(case) == {"f": pytest.approx(1.0), "g": pytest.approx(1.0)}


def test_a_flow_that_never_finishes() -> None:
    case = small()
    case["links"][0]["bandwidth_profile"] = [[0.0, 0.0]]
    assert play(case) == {"f": float("inf")}


def test_every_fault_is_listed() -> None:
    case = small()
    case["nodes"].append("a")
    case["links"].append({"u": "b", "v": "a", "bandwidth_bps": 1e6, "latency_s": 0})
    case["links"].append({"u": "x", "v": "a", "bandwidth_bps": 1e6, "latency_s": 0})
    case["flows"].append({"id": "f", "src": "a", "dst": "z", "bytes": 1})
    case["flows"].append({"id": "g", "src": "a", "dst": "c", "bytes": 1, "route": ["a", "c"]})
    with pytest.raises(InputFaults) as caught:
        play(case)
    text = str(caught.value)
    for part in ("two nodes are named 'a'", "given twice", "unknown node 'x'", "two flows have the id 'f'",
                 "no node 'z'", "no link between 'a' and 'c'"):  # fmt: skip
        assert part in text


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("links", 0, "bandwidth_bps"), 0),
        (("links", 0, "bandwidth_bps"), -1.0),
        (("links", 0, "bandwidth_bps"), float("nan")),
        (("links", 0, "latency_s"), -0.1),
        (("links", 0, "duplex"), "both"),
        (("links", 1, "bandwidth_profile"), [[2.0, 1.0], [1.0, 1.0]]),
        (("flows", 0, "bytes"), -1),
        (("flows", 0, "bytes"), "many"),
        (("flows", 0, "route"), ["c", "b", "a"]),
        (("flows", 0, "route"), []),
        (("nodes",), {"a": 1}),
    ],
)
def test_bad_values_are_faults(path: tuple[Any, ...], value: Any) -> None:
    case = small()
    at: Any = case
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    with pytest.raises(InputFaults) as caught:
        play(case)
    assert str(path[0]) in str(caught.value)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [p for k, v in items for p in [(*path, k), *_places(v, (*path, k))]]


@settings(max_examples=300)
@given(data=st.data())
def test_mutations_never_end_in_a_traceback(data: st.DataObject) -> None:
    """Any value anywhere in a case: it plays, or it is refused with its faults."""
    case = copy.deepcopy(small())
    for path in data.draw(st.lists(st.sampled_from(_places(case)), min_size=1, max_size=3)):
        junk = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3), st.just([]),
                         st.sampled_from(["a", "c", 0, 1e308, -1, [["a", 1]], {"a": []}]))  # fmt: skip
        at: Any = case
        try:
            for key in path[:-1]:
                at = at[key]
            at[path[-1]] = data.draw(junk)
        except (TypeError, IndexError, KeyError):
            continue  # an earlier mutation took the place away
    try:
        finish = play(case)
    except ElsaError:
        return
    assert all(isinstance(t, float) for t in finish.values())


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe{}", b"[]", b'{"nodes": ' + b"[" * 100_000, b""])
def test_files_that_are_no_case(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "case.json"
    path.write_bytes(content)
    with pytest.raises(InputFaults):
        play(load(path))


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputFaults, match="cannot be read"):
        load(tmp_path / "no.json")


def test_load_reads_what_was_written(tmp_path: Path) -> None:
    (tmp_path / "case.json").write_text(json.dumps(small()))
    assert load(tmp_path / "case.json") == small()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"links": [{"u": "a", "v": "b", "bandwidth_bps": 0.5}]}, "greater than or equal to 1, got"),
        ({"links": [{"u": "a", "v": "b", "bandwidth_bps": 1e300}]}, "less than or equal to 1e.15|1000000000000000"),
        ({"links": [{"u": "a", "v": "b", "bandwidth_bps": 1e6, "latency_s": 1e308}]}, "less than or equal to 100000"),
        (
            {"links": [{"u": "a", "v": "b", "bandwidth_bps": 1e6, "bandwidth_profile": [[0, 5], [0, 6]]}]},
            "times of a profile",
        ),
        (
            {"links": [{"u": "a", "v": "b", "bandwidth_bps": 1e6, "bandwidth_profile": [[0, 1e17]]}]},
            "bandwidths of a profile",
        ),
        ({"flows": [{"id": "f", "src": "a", "dst": "b", "bytes": 1e300}]}, "less than or equal to"),
        (
            {"flows": [{"id": "f", "src": "a", "dst": "b", "bytes": 1, "start_s": 1e300}]},
            "less than or equal to 100000000",
        ),
        ({"nodes": ["a", "b", "c", "d>e"]}, "must not have a '>'"),
        ({"nodes": ["a", "b", "c", "\ud800"]}, "unicode"),
    ],
)
def test_bounds(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputFaults, match=message):
        play(small() | change)


def test_a_case_says_how_its_flows_are_transported() -> None:
    """Without a transport bytes are those on the wire and flow freely; with one they are payload, framed, in windows."""
    case = small()
    case["nodes"], case["links"] = ["a", "b"], [{"u": "a", "v": "b", "bandwidth_bps": 1e9, "latency_s": 0.05}]
    case["flows"] = [{"id": "f", "src": "a", "dst": "b", "bytes": 1448 * 20}]
    assert play(case)["f"] == pytest.approx(0.05 + 8 * 1448 * 20 / 1e9, rel=1e-12)
    assert play({**case, "transport": "fluid"})["f"] == pytest.approx(0.05 + 8 * 1514 * 20 / 1e9, rel=1e-12)
    assert play({**case, "transport": {"kind": "tcp"}})["f"] == pytest.approx(0.15, rel=1e-3)
    assert play({**case, "transport": {"kind": "tcp", "connections": "per_message"}})["f"] == pytest.approx(
        0.25, rel=1e-3
    )
    with pytest.raises(InputFaults, match="there is no link 'a>c'"):
        play({**case, "transport": {"kind": "tcp", "queue_bytes": {"a>c": 5.0}}})
    with pytest.raises(InputFaults, match="fifo"):
        play({**case, "transport": "tcp"}, NetworkOptions(model="fifo", transport="fluid"))


@pytest.mark.parametrize(
    ("transport", "told"),
    [
        ("udp", "transport: expected a transport, one of fluid, tcp; got 'udp'"),
        (
            {"kind": "tcp", "framing": -1},
            "transport.framing: must be at least 0 and at most 65535 B (the longest IP packet), got -1",
        ),
    ],
)
def test_a_fault_says_once_what_it_got(transport: Any, told: str) -> None:
    case = {
        "nodes": ["a", "b"],
        "links": [{"u": "a", "v": "b", "bandwidth_bps": 1e6}],
        "flows": [],
        "transport": transport,
    }
    with pytest.raises(InputFaults) as caught:
        play(case)
    assert [str(fault) for fault in caught.value.faults] == [told]
