"""The Chrome trace: valid, complete, and drawable (nothing on a track overlaps)."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import synthetic_run
from hypothesis import given, settings
from hypothesis import strategies as st

from elsa_sim.results.event_table import Recorder
from elsa_sim.results.metrics import bytes_by_link
from elsa_sim.results.perfetto import write_trace

TOPOLOGY = synthetic_run.topology(2, 1)


def written(recorder: Recorder, path: Path, **options: Any) -> dict[str, Any]:
    trace: dict[str, Any] = json.loads(write_trace(recorder.close(), TOPOLOGY, path, **options).read_text("utf-8"))
    return trace


def tracks(trace: dict[str, Any]) -> dict[tuple[int, int], str]:
    return {(e["pid"], e["tid"]): e["args"]["name"] for e in trace["traceEvents"] if e["name"] == "thread_name"}


def slices(trace: dict[str, Any]) -> list[tuple[str, str, int, int]]:
    names = tracks(trace)
    drawn = [e for e in trace["traceEvents"] if e["ph"] in "Xi"]
    return [(names[e["pid"], e["tid"]], e["name"], e["ts"], e.get("dur", 0)) for e in drawn]


def test_tracks_of_nodes_and_links(tmp_path: Path) -> None:
    recorder = Recorder()
    recorder.add("compute", 0.0, 0.5, "client0", detail="part1.forward", flops=2e9, step=3, round=1)
    recorder.add("transfer", 0.5, 0.75, "client0", peer="cloud", bytes=100, detail="adapters",
                 route="client0>edge0>cloud")  # fmt: skip
    recorder.add("transfer", 0.6, 0.7, "client0", peer="edge0", bytes=9, detail="activation", route="client0>edge0",
                 status="aborted")  # fmt: skip
    recorder.add("transfer", 0.8, 0.9, "client0", peer="edge0", bytes=9, detail="activation", route="client0>edge0")
    recorder.add("evaluation", 1.0, 1.0, "cloud", round=1, metrics={"accuracy": 0.5, "loss": float("nan")})
    trace = written(recorder, tmp_path / "trace.json")
    assert sorted(slices(trace)) == sorted([
        ("client0", "part1.forward", 0, 500_000),
        ("client0 → edge0", "adapters", 500_000, 250_000),
        ("edge0 → cloud", "adapters", 500_000, 250_000),
        ("client0 → edge0 (2)", "activation (aborted)", 600_000, 100_000),
        ("client0 → edge0", "activation", 800_000, 100_000),
        ("cloud", "evaluation", 1_000_000, 0),
    ])  # fmt: skip
    assert set(tracks(trace).values()) >= {"cloud", "edge0", "client0", "client1"}  # also those without a row
    (work,) = [e for e in trace["traceEvents"] if e["name"] == "part1.forward"]
    assert work["args"] == {"t_start_s": 0.0, "t_end_s": 0.5, "round": 1, "step": 3, "flops": 2e9}
    assert [(e["name"], e["args"]) for e in trace["traceEvents"] if e["ph"] == "C"] == [("accuracy", {"accuracy": 0.5})]


def check(trace: dict[str, Any]) -> None:
    """What a viewer needs: known phases, whole non-negative microseconds, named tracks without overlaps."""
    names, busy = tracks(trace), defaultdict(list)
    assert len(set(names.items())) == len(names)
    for event in trace["traceEvents"]:
        assert event["ph"] in {"X", "i", "M", "C"}  # no "B" or "b" that could lack its end
        if event["ph"] in "Xi":
            assert isinstance(event["ts"], int)
            assert event["ts"] >= 0
            assert (event["pid"], event["tid"]) in names
        if event["ph"] == "X":
            assert event["dur"] > 0
            busy[event["pid"], event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
    for spans in busy.values():
        spans.sort()
        assert all(end <= start for (_, end), (start, _) in pairwise(spans))


def test_a_whole_run(tmp_path: Path) -> None:
    run = synthetic_run.make(rounds=2)
    path = write_trace(run.events, run.topology, tmp_path / "trace.json")
    trace = json.loads(path.read_text("utf-8"))
    check(trace)
    names, load = tracks(trace), Counter[str]()
    for event in trace["traceEvents"]:
        if event.get("cat") == "transfer":
            load[names[event["pid"], event["tid"]].split(" (")[0]] += event["args"]["bytes"]
    expected = {f"{u} → {v}": n for u, v, n in bytes_by_link(run.events).itertuples(index=False)}
    assert load == expected
    assert list(tmp_path.iterdir()) == [path]  # no partial file is left


_ROUTES = st.sampled_from(["client0>edge0", "edge0>cloud", ""])


@settings(max_examples=60, deadline=None)
@given(spans=st.lists(st.tuples(st.floats(0, 10), st.floats(0, 5), _ROUTES)))
def test_overlaps_go_to_lanes(spans: list[tuple[float, float, str]], tmp_path_factory: pytest.TempPathFactory) -> None:
    recorder = Recorder()
    for start, length, route in spans:
        if route:
            ends = route.split(">")
            recorder.add("transfer", start, start + length, ends[0], peer=ends[1], detail="x", route=route)
        else:
            recorder.add("compute", start, start + length, "client0", detail="x")
    trace = written(recorder, tmp_path_factory.mktemp("t") / "trace.json")
    check(trace)
    assert len(slices(trace)) == len(spans)


def test_a_huge_run_is_cut_and_says_so(tmp_path: Path) -> None:
    recorder = Recorder()
    for i in range(10):
        recorder.add("compute", 9.0 - i, 9.5 - i, "client0")
    trace = written(recorder, tmp_path / "trace.json", limit=4)
    assert trace["otherData"] == {"clock": "simulated time", "events": 4, "events_left_out": 6}
    assert sorted(ts for _, _, ts, _ in slices(trace)) == [0, 1_000_000, 2_000_000, 3_000_000]
