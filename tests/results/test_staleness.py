"""Staleness, participation and fairness, from tables made by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_runs import known, played

from elsa_sim.results.event_table import Recorder
from elsa_sim.results.metrics import Results, frame
from elsa_sim.results.perfetto import write_trace
from elsa_sim.results.plots import save_figures
from elsa_sim.results.plots.staleness import influence_by_client
from elsa_sim.results.staleness import influence, jain, participation, summary, updates

TOPOLOGY = {"nodes": [{"name": "cloud", "role": "cloud"}, *({"name": f"client{i}", "role": "client"} for i in range(3))],
            "links": []}  # fmt: skip


def test_jains_index() -> None:
    assert jain([3.0, 3.0, 3.0]) == pytest.approx(1.0)
    assert jain([0.0, 5.0, 0.0, 0.0]) == pytest.approx(0.25)
    assert jain([1.0, 2.0, 3.0]) == pytest.approx(36 / 42)
    assert jain([]) is None
    assert jain([0.0, 0.0]) is None


def test_a_table_by_hand() -> None:
    recorder = Recorder()
    for start, end, peer, status, facts in (
        (1, 2, "client0", "ok", {"base": 0, "staleness": 0, "weight": 0.5, "samples": 10.0}),
        (1.5, 2, "client2", "ok", {"base": 0, "staleness": 0, "weight": 0.5, "samples": 5.0}),
        (3, 3, "client0", "aborted", {"reason": "twice"}),
        (4, 5, "client0", "ok", {"base": 1, "staleness": 3, "weight": 0.25, "samples": 10.0}),
        (6, 7, "client2", "in_flight", {}),
    ):
        recorder.add("update", start, end, "cloud", peer=peer, status=status, detail="update", metrics=facts)
    recorder.add("update", 7, 7, "cloud", detail="alignment of version 1", metrics={"head": 0.5})
    table = recorder.close()
    found = updates(table)
    assert found["member"].tolist() == ["client0", "client2", "client0", "client0", "client2"]
    assert participation(table, TOPOLOGY).to_dict() == {"client0": 2, "client1": 0, "client2": 1}
    told = summary(table, TOPOLOGY)["updates"]
    assert told == {"merged": 3, "rejected": 1, "waiting": 1, "staleness_mean": 1.0, "staleness_max": 3,
                    "participation_jain": pytest.approx(9 / 15), "client_idle": 1.0,
                    "influence_jain": pytest.approx(0.175**2 / (3 * (0.075**2 + 0.1**2))), "influence_min": 0.0}  # fmt: skip
    counted = influence(table, TOPOLOGY)
    assert counted.tolist() == pytest.approx([0.075 / 0.175 * 3, 0.0, 0.1 / 0.175 * 3])
    assert summary(known("protocol={kind: fedavg, rounds: 2, local_steps: 2, lr: 5.0e-3}").events, TOPOLOGY) == {}


def test_no_marker_is_cut_off() -> None:
    """Influences that are nearly even lie near the top of their figure, not across it."""
    recorder = Recorder()
    for i, weight in enumerate((0.9, 1.0, 1.1)):
        facts = {"base": 0, "staleness": 0, "weight": weight, "samples": 10.0}
        recorder.add("update", 1, 2, "cloud", peer=f"client{i}", detail="update", metrics=facts)
    ax = influence_by_client(Results(frame(recorder.close()), pd.DataFrame(), {"protocol": "fedbuff"}, TOPOLOGY))
    (line,) = [each for each in ax.lines if each.get_marker() not in ("", "None")]
    ends = ax.transData.transform(line.get_xydata())[:, 1]
    radius = line.get_markersize() / 2 * ax.figure.dpi / 72
    assert ax.bbox.y0 < ends.min() - radius
    assert ends.max() + radius < ax.bbox.y1


def test_a_run_tells_of_its_updates(tmp_path: Path) -> None:
    run = played("protocol={kind: fedbuff, rounds: 2, local_steps: 1, buffer: 2}", folder=tmp_path / "run")
    assert json.loads((tmp_path / "run/summary.json").read_text())["updates"]["merged"] == 4
    drawn = {path.stem for path in save_figures([run], tmp_path / "figures", ["png"])}
    assert {"staleness", "participation", "influence"} <= drawn
    assert {"staleness", "influence"} <= {path.stem for path in save_figures([run, run], tmp_path / "two", ["png"])}
    written = write_trace(run.events, run.topology, tmp_path / "trace.json")
    trace = json.loads(written.read_text())["traceEvents"]
    assert any(event["name"].startswith("update of client") and "from version 0" in event["name"] for event in trace)


def test_accuracy_over_clients_is_that_of_their_classes() -> None:
    """A client of one class alone has the accuracy of that class."""
    run = played(
        "protocol={kind: fedavg, rounds: 2, local_steps: 4, lr: 2.0e-2}", "partition={kind: shards, shards: 1}"
    )
    last = run.rounds.iloc[-1]
    assert 0 <= last["client_accuracy_min"] <= last["client_accuracy_mean"] <= 1
    assert last["client_accuracy_std"] > 0.05
    iid = played("protocol={kind: fedavg, rounds: 2, local_steps: 4, lr: 2.0e-2}", "partition={kind: iid}")
    assert iid.rounds.iloc[-1]["client_accuracy_std"] < last["client_accuracy_std"]
    assert np.isfinite(last["client_accuracy_jain"])
