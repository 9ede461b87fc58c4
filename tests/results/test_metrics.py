"""Metrics against hand-computed tables, and run directories as they are found on disk."""

from __future__ import annotations

import json
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import synthetic_run
from hypothesis import given, settings
from hypothesis import strategies as st

from elsa_sim.base.errors import InputError
from elsa_sim.results import metrics as R
from elsa_sim.results.event_table import BATCH, SCHEMA, STREAM, Recorder

TOPOLOGY: dict[str, Any] = {
    "nodes": [{"name": "cloud", "role": "cloud"}, {"name": "edge0", "role": "edge"}, {"name": "r", "role": "router"},
              {"name": "c0", "role": "client"}, {"name": "c1", "role": "client"}],
    "links": [{"u": "c0", "v": "edge0", "up_bps": 80.0, "down_bps": 160.0, "latency_s": 0.0},
              {"u": "c1", "v": "edge0", "up_bps": 80.0, "down_bps": 160.0, "latency_s": 0.0},
              {"u": "edge0", "v": "r", "up_bps": 800.0, "down_bps": 800.0, "latency_s": 0.0},
              {"u": "r", "v": "cloud", "up_bps": 800.0, "down_bps": 800.0, "latency_s": 0.0}],
}  # fmt: skip


def record(recorder: Recorder) -> None:
    """20 s of a run; what is expected of it below is computed by hand."""
    add = recorder.add
    add("compute", 0.0, 2.0, "c0", round=1, energy_j=4.0, detail="part1.forward")
    add("compute", 1.0, 4.0, "c0", round=1, energy_j=1.0, detail="part1.forward")  # overlaps by 1 s
    add("transfer", 2.0, 5.0, "c0", peer="edge0", round=1, bytes=30, energy_j=0.5, detail="activation",
        route="c0>edge0")  # fmt: skip
    add("transfer", 5.0, 6.0, "edge0", peer="c0", round=1, bytes=20, detail="gradient", route="edge0>c0")
    add("transfer", 6.0, 8.0, "c1", peer="cloud", round=1, bytes=10, detail="adapters", route="c1>edge0>r>cloud")
    add("evaluation", 8.0, 8.0, "cloud", round=1, metrics={"accuracy": 0.5, "loss": 1.5, "macro_f1": 0.4})
    add("transfer", 8.0, 8.0, "c0", peer="c1", round=2, bytes=7, detail="adapters", route="c0>edge0>c1")
    add("aggregation", 8.0, 9.0, "cloud", round=2, energy_j=2.5, detail="cloud")
    add("transfer", 9.0, 12.0, "cloud", peer="c1", round=2, bytes=40, detail="adapters", route="cloud>r>edge0>c1")
    add("compute", 10.0, 15.0, "edge0", round=2, energy_j=10.0, detail="part2.forward")
    add("transfer", 12.0, 16.0, "c1", peer="edge0", round=2, bytes=5, detail="activation", route="c1>edge0",
        status="aborted")  # fmt: skip
    add("evaluation", 18.0, 18.0, "cloud", round=2, metrics={"accuracy": 0.75, "loss": 0.5, "macro_f1": 0.7})
    add("transfer", 19.0, 20.0, "c0", peer="edge0", round=3, bytes=9, detail="activation", route="c0>edge0",
        status="in_flight")  # fmt: skip
    add("compute", 16.0, 20.0, "c1", round=3, detail="part1.forward", status="in_flight")  # perhaps it only waited


@pytest.fixture(params=["arrow", "pandas", "plain"])
def events(request: pytest.FixtureRequest) -> pd.DataFrame | pa.Table:
    recorder = Recorder()
    record(recorder)
    table = recorder.close()
    return {"arrow": lambda: table, "pandas": lambda: R.frame(table), "plain": table.to_pandas}[request.param]()


def test_bytes(events: Any) -> None:
    assert R.bytes_by_kind(events) == {"activation": 44, "adapters": 57, "gradient": 20}
    assert R.bytes_by_direction(events, TOPOLOGY).to_dict("index") == {
        "activation": {"uplink": 44, "downlink": 0, "lateral": 0},
        "adapters": {"uplink": 10, "downlink": 40, "lateral": 7},
        "gradient": {"uplink": 0, "downlink": 20, "lateral": 0},
    }


def test_bytes_count_on_every_hop(events: Any) -> None:
    links = {(u, v): n for u, v, n in R.bytes_by_link(events).itertuples(index=False)}
    assert links == {("c0", "edge0"): 46, ("edge0", "c0"): 20, ("c1", "edge0"): 15, ("edge0", "c1"): 47,
                     ("edge0", "r"): 10, ("r", "cloud"): 10, ("cloud", "r"): 40, ("r", "edge0"): 40}  # fmt: skip


def test_link_load_uses_the_bandwidth_of_the_direction(events: Any) -> None:
    load = R.link_load(events, TOPOLOGY).set_index(["u", "v"])
    assert load.loc[("c0", "edge0"), "utilisation"] == pytest.approx(46 * 8 / (80 * 20))
    assert load.loc[("edge0", "c0"), "utilisation"] == pytest.approx(20 * 8 / (160 * 20))
    assert len(load) == 8


def test_nodes(events: Any) -> None:
    use = R.utilisation(events, TOPOLOGY)
    assert list(use.index) == ["cloud", "edge0", "r", "c0", "c1"]
    assert use["busy_s"].to_dict() == {"cloud": 1.0, "edge0": 5.0, "r": 0.0, "c0": 4.0, "c1": 0.0}
    assert use.loc["edge0", ["role", "utilisation", "idle"]].tolist() == ["edge", 0.25, 0.75]
    assert R.busy_seconds_by_node(events, TOPOLOGY, (1.5, 11.0)).to_dict() == {
        "cloud": 1.0, "edge0": 1.0, "r": 0.0, "c0": 2.5, "c1": 0.0}  # fmt: skip
    energy = R.energy_by_node(events, TOPOLOGY)
    assert energy.loc["c0"].to_dict() == {"compute": 5.0, "radio": 0.5, "idle": 0.0, "total": 5.5}
    assert energy.loc["cloud"].to_dict() == {"compute": 2.5, "radio": 0.0, "idle": 0.0, "total": 2.5}


def test_rounds_count_what_ended_by_then(events: Any) -> None:
    rounds = R.rounds_table(events, TOPOLOGY)
    assert list(rounds.columns) == ["round", "sim_time_s", "accuracy", "loss", "uplink_bytes", "downlink_bytes",
                                    "energy_j", "macro_f1"]  # fmt: skip
    assert rounds.to_numpy().tolist() == [[1, 8.0, 0.5, 1.5, 40, 20, 5.5, 0.4], [2, 18.0, 0.75, 0.5, 45, 60, 18.0, 0.7]]
    curve = R.accuracy_curve(events)
    assert curve["bytes"].tolist() == [60, 112]
    assert curve["accuracy"].tolist() == rounds["accuracy"].tolist()


def test_rows_out_of_order_change_nothing(events: Any) -> None:
    frame = R.frame(events).reset_index(drop=True)
    shuffled = pd.concat([frame.iloc[7:], frame.iloc[:7]], ignore_index=True)  # rows that end at 8 s stay in order
    pd.testing.assert_frame_equal(R.rounds_table(shuffled, TOPOLOGY), R.rounds_table(frame, TOPOLOGY))


def test_time_to_target(events: Any) -> None:
    assert R.time_to_target(events, 0.5) == 8.0
    assert R.time_to_target(events, 0.6) == 18.0
    assert R.time_to_target(events, 0.76) is None


def joules(compute: float, radio: float = 0.0, idle: float = 0.0) -> dict[str, float]:
    return {
        "total": compute + radio + idle,
        "marginal": compute + radio,
        "compute": compute,
        "radio": radio,
        "idle": idle,
    }


def test_summary(events: Any) -> None:
    assert R.summarise(events, TOPOLOGY, 0.6) == {
        "sim_time_s": 20.0, "rounds": 2, "accuracy": 0.75, "best_accuracy": 0.75, "loss": 0.5, "macro_f1": 0.7,
        "time_to_target_s": 18.0,
        "energy_j": joules(15.0 + 2.5, 0.5) | {"by_role": {"client": joules(5.0, 0.5), "edge": joules(10.0),
                                                           "cloud": joules(2.5)}},
        "bytes": {"total": 121, "uplink": 54, "downlink": 60, "aborted": 5, "wasted": 0,
                  "by_kind": {"activation": 44, "adapters": 57, "gradient": 20}},
        "retries": 0, "missing": 0,
        "energy_by_node": {"cloud": 2.5, "edge0": 10.0, "r": 0.0, "c0": 5.5, "c1": 0.0},
    }  # fmt: skip
    assert R.summarise(events, TOPOLOGY)["time_to_target_s"] is None


def test_losses_of_the_network_and_absences() -> None:
    """Aborted bytes count once a message; wasted ones as attempts put them on the wire; a message in flight is neither."""
    recorder = Recorder()
    send = partial(recorder.add, "transfer", peer="edge0", detail="activation", route="c0>edge0")
    send(0.0, 3.0, "c0", bytes=30, wasted_bytes=45, attempts=3)
    send(3.0, 4.0, "c0", bytes=20, wasted_bytes=7, attempts=2, status="aborted", metrics={"reason": "c0 went away"})
    recorder.add(
        "fault", 2.0, 4.0, "c0", round=1, status="aborted", detail="missing", metrics={"reason": "c0 went away"}
    )
    recorder.add("fault", 4.0, 5.0, "c0", detail="away")
    send(4.0, 5.0, "c0", bytes=10, status="in_flight")
    events = recorder.close()
    summary = R.summarise(events, TOPOLOGY)
    assert (summary["bytes"]["aborted"], summary["bytes"]["wasted"]) == (20, 52)
    assert (summary["retries"], summary["missing"]) == (3, 1)
    assert R.missing(events).to_dict("records") == [
        {"round": 1, "node": "c0", "since_s": 2.0, "at_s": 4.0, "reason": "c0 went away"}
    ]


def test_language_models_have_a_perplexity_and_no_accuracy() -> None:
    recorder = Recorder()
    recorder.add("evaluation", 1.0, 1.0, "cloud", round=1, metrics={"loss": 2.0, "perplexity": 7.4, "by_class": [1, 2]})
    recorder.add("evaluation", 2.0, 2.0, "cloud", round=2, metrics={"loss": float("nan"), "perplexity": float("inf")})
    events = recorder.close()
    assert R.rounds_table(events, TOPOLOGY)["perplexity"].tolist() == [7.4, float("inf")]
    summary = R.summarise(events, TOPOLOGY, 0.5)
    assert [summary[k] for k in ("accuracy", "best_accuracy", "loss", "perplexity", "time_to_target_s")] == [None] * 5
    json.dumps(summary, allow_nan=False)


def test_nothing_recorded() -> None:
    events = Recorder().close()
    summary = R.summarise(events, TOPOLOGY, 0.5)
    assert (summary["sim_time_s"], summary["rounds"], summary["accuracy"]) == (0.0, 0, None)
    assert summary["bytes"] == {"total": 0, "uplink": 0, "downlink": 0, "aborted": 0, "wasted": 0, "by_kind": {}}
    assert R.rounds_table(events, TOPOLOGY).empty
    assert R.utilisation(events, TOPOLOGY)["busy_s"].tolist() == [0.0] * 5
    assert R.energy_by_node(events, TOPOLOGY)["total"].tolist() == [0.0] * 5
    assert R.link_load(events, TOPOLOGY)["utilisation"].tolist() == [0.0] * 8


_ROUTES = ["c0>edge0", "edge0>c0", "c1>edge0>r>cloud", "cloud>r>edge0", "c0>edge0>c1"]
_TRANSFERS = st.lists(st.tuples(st.sampled_from(_ROUTES), st.integers(0, 10**12), st.sampled_from("abc"),
                                st.floats(0, 100), st.sampled_from(["ok", "aborted", "in_flight"])))  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(_TRANSFERS)
def test_every_byte_and_joule_is_counted_once(sent: list[tuple[str, int, str, float, str]]) -> None:
    recorder = Recorder()
    for i, (route, size, kind, joule, status) in enumerate(sent):
        ends = route.split(">")
        recorder.add("transfer", i, i + 1.0, ends[0], peer=ends[-1], bytes=size, energy_j=joule, detail=kind,
                     route=route, status=status)  # type: ignore[arg-type]  # fmt: skip
    recorder.add("evaluation", len(sent) + 1.0, len(sent) + 1.0, "cloud", metrics={"accuracy": 1.0})
    events = R.frame(recorder.close())
    total = sum(size for _, size, *_ in sent)
    summary = R.summarise(events, TOPOLOGY)
    assert summary["bytes"]["total"] == total == sum(summary["bytes"]["by_kind"].values())
    assert R.bytes_by_direction(events, TOPOLOGY).to_numpy().sum() == total
    assert R.accuracy_curve(events)["bytes"].tolist() == [total]
    assert R.bytes_by_link(events)["bytes"].sum() == sum(size * route.count(">") for route, size, *_ in sent)
    energy = R.energy_by_node(events, TOPOLOGY)
    assert energy["total"].sum() == pytest.approx(summary["energy_j"]["total"])
    (last,) = R.rounds_table(events, TOPOLOGY).itertuples()
    assert (last.uplink_bytes, last.downlink_bytes) == (summary["bytes"]["uplink"], summary["bytes"]["downlink"])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["c0", "c1"]), st.integers(0, 30), st.integers(0, 8)), min_size=1))
def test_busy_time_is_the_union_of_the_work(work: list[tuple[str, int, int]]) -> None:
    recorder = Recorder()
    for node, start, length in work:
        recorder.add("compute", start, start + length, node)
    busy = R.busy_seconds_by_node(recorder.close(), TOPOLOGY)
    for node in ("c0", "c1"):
        assert busy[node] == len({t for n, start, length in work if n == node for t in range(start, start + length)})


def folder_of(path: Path, close: bool = True) -> Path:
    (path / "topology.json").write_text(json.dumps(TOPOLOGY))
    (path / "scenario.yaml").write_text("name: mine\nseed: 3\nprotocol: {kind: elsa}\nstop: {target_accuracy: 0.6}\n")
    recorder = Recorder(path)
    record(recorder)
    if close:
        table = recorder.close()
        rounds = R.rounds_table(table, TOPOLOGY).assign(host_time_s=[1.0, 2.0])
        rounds.to_csv(path / "rounds.csv", index=False)
        summary = {"protocol": "elsa", "seed": 3, **R.summarise(table, TOPOLOGY, 0.6)}
        (path / "summary.json").write_text(json.dumps(summary))
    else:
        recorder.flush()
    return path


def test_load(tmp_path: Path) -> None:
    run = R.load(folder_of(tmp_path))
    assert (run.name, run.protocol, run.folder, run.summary["complete"]) == ("mine", "elsa", tmp_path, True)
    assert list(run.events.columns) == SCHEMA.names
    assert run.rounds["host_time_s"].tolist() == [1.0, 2.0]
    pd.testing.assert_frame_equal(run.rounds.drop(columns="host_time_s"), R.rounds_table(run.events, run.topology))
    assert run.summary["bytes"] == R.summarise(run.events, run.topology)["bytes"]


def test_load_a_killed_run(tmp_path: Path) -> None:
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    whole, killed = R.load(folder_of(tmp_path / "whole")), R.load(folder_of(tmp_path / "killed", close=False))
    assert killed.summary["complete"] is False
    assert (killed.name, killed.protocol, killed.summary["seed"]) == ("mine", "elsa", 3)
    assert killed.summary["time_to_target_s"] == 18.0
    assert {**killed.summary, "complete": True} == whole.summary
    assert killed.rounds["accuracy"].tolist() == [0.5, 0.75]


def test_load_a_run_killed_in_mid_batch(tmp_path: Path) -> None:
    (tmp_path / "topology.json").write_text(json.dumps(TOPOLOGY))
    recorder = Recorder(tmp_path)
    for i in range(2 * BATCH):
        recorder.add("compute", i, i + 1.0, "c0", energy_j=1.0)
    stream = tmp_path / STREAM
    torn = stream.read_bytes()
    recorder.close()
    stream.write_bytes(torn[: len(torn) - 1000])
    (tmp_path / "events.parquet").unlink()
    run = R.load(tmp_path)
    assert len(run.events) == BATCH
    assert run.summary["energy_j"]["total"] == BATCH
    assert run.name == tmp_path.name


def test_what_is_no_run_directory_is_refused_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no run directory"):
        R.load(tmp_path / "nowhere")
    scenario = tmp_path / "scenario.yaml"
    scenario.write_text("name: x\n")
    with pytest.raises(InputError, match=r"is a file.*run it first: elsa-sim run"):
        R.load(scenario)
    with pytest.raises(InputError, match=r"holds no events\.parquet"):
        R.load(tmp_path)
    (tmp_path / "inner").mkdir()
    folder_of(tmp_path / "inner")
    with pytest.raises(InputError, match=r"did you mean .*inner\?"):
        R.load(tmp_path)


@pytest.mark.parametrize(("name", "text"), [("summary.json", "{"), ("topology.json", "[]"), ("events.parquet", "no"),
                                            ("rounds.csv", ""), ("scenario.yaml", "a: [")])  # fmt: skip
def test_a_broken_file_is_named(tmp_path: Path, name: str, text: str) -> None:
    folder_of(tmp_path)
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match="events" if name == "events.parquet" else name):
        R.load(tmp_path)


def test_a_run_without_topology_is_refused(tmp_path: Path) -> None:
    folder_of(tmp_path)
    (tmp_path / "topology.json").unlink()
    with pytest.raises(InputError, match="holds no topology"):
        R.load(tmp_path)


def test_a_million_rows_take_seconds() -> None:
    small = synthetic_run.make(rounds=2).events
    copies = 1_000_000 // len(small) + 1
    events = pd.concat([small] * copies, ignore_index=True)
    events["t_end_s"] = np.sort(events["t_end_s"].to_numpy())
    start = time.process_time()
    summary = R.summarise(events, synthetic_run.topology(8, 2))
    R.utilisation(events, synthetic_run.topology(8, 2))
    assert time.process_time() - start < 15.0  # row by row it takes minutes
    assert summary["bytes"]["total"] == copies * int(small["bytes"].sum())
