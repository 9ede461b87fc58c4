"""Who was selected and who took part, from tables made by hand and from a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small_runs import known, played

from elsa_sim.results.event_table import Recorder
from elsa_sim.results.perfetto import write_trace
from elsa_sim.results.plots import save_figures
from elsa_sim.results.plots.staleness import participation_by_client
from elsa_sim.results.selection import selections, summary
from elsa_sim.results.staleness import influence, participation

TOPOLOGY = {"nodes": [{"name": "cloud", "role": "cloud"}, *({"name": f"client{i}", "role": "client"} for i in range(4))],
            "links": []}  # fmt: skip


def test_a_table_by_hand() -> None:
    recorder = Recorder()
    for round, peer, status, weight, samples in (
        (1, "client0", "ok", 0.25, 10.0),
        (1, "client1", "ok", 0.75, 30.0),
        (2, "client0", "ok", 1.0, 10.0),
        (2, "client2", "aborted", None, None),
        (3, "client0", "in_flight", None, None),
    ):
        facts = None if weight is None else {"weight": weight, "samples": samples}
        recorder.add(
            "selection",
            round - 1,
            round,
            "cloud",
            peer=peer,
            round=round,
            status=status,
            detail="uniform",
            metrics=facts,
        )
    table = recorder.close()
    assert selections(table)["client"].tolist() == ["client0", "client1", "client0", "client2", "client0"]
    assert participation(table, TOPOLOGY).to_dict() == {"client0": 2, "client1": 1, "client2": 0, "client3": 0}
    each = [0.025 + 0.1, 0.025, 0.0, 0.0]
    assert influence(table, TOPOLOGY).tolist() == pytest.approx([4 * x / sum(each) for x in each])
    assert summary(table, TOPOLOGY)["selection"] == {
        "selected": 5, "arrived": 3, "never_selected": 1, "never_arrived": 2, "participation_jain": pytest.approx(9 / 20),
        "influence_jain": pytest.approx(0.15**2 / (4 * (0.125**2 + 0.025**2))),
    }  # fmt: skip
    assert summary(known("protocol={kind: fedavg, rounds: 2, local_steps: 2, lr: 5.0e-3}").events, TOPOLOGY) == {}


def test_a_run_tells_of_its_selections(tmp_path: Path) -> None:
    options = "protocol={kind: fedavg, rounds: 3, local_steps: 1, selection: {kind: round_robin, clients: 2}}"
    run = played(options, folder=tmp_path / "run")
    told = json.loads((tmp_path / "run/summary.json").read_text())["selection"]
    assert (told["selected"], told["arrived"], told["never_selected"]) == (6, 6, 0)
    assert told["participation_jain"] == told["influence_jain"] or told["participation_jain"] == 1.0
    drawn = {path.stem for path in save_figures([run], tmp_path / "figures", ["png"])}
    assert {"participation", "influence"} <= drawn
    assert "staleness" not in drawn
    assert participation_by_client(run).get_ylabel() == "Rounds taken part in"
    trace = json.loads(write_trace(run.events, run.topology, tmp_path / "trace.json").read_text())["traceEvents"]
    assert any(event["name"].startswith("client0 selected (round_robin)") for event in trace)
