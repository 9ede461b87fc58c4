"""The example scenarios: each changes time, bytes and participation in the direction theory says."""

from __future__ import annotations

from pathlib import Path

import pytest
from examples import HERE, half_bandwidth, run, seconds, stretched, total

from elsa_sim.results import metrics
from elsa_sim.results.metrics import Results


def arrivals(run: Results) -> int:
    """Local rounds of clients whose adapters arrived at their server."""
    rows = run.events[(run.events["kind"] == "transfer") & (run.events["detail"] == "adapters")]
    return int((rows["node"].astype(str).str.startswith("client") & (rows["status"] == "ok")).sum())


def test_traces_half_the_bandwidth_takes_longer_at_the_same_bytes(tmp_path: Path) -> None:
    base = run("traces")
    slower = run("traces", f"topology.access.trace={half_bandwidth(tmp_path)}")
    assert total(slower) == total(base)
    assert seconds(slower) > 1.2 * seconds(base)
    steady = run("traces", "topology.access={up: 12 Mbit/s, latency: 20 ms}", "topology.overrides={}")
    assert total(steady) == total(base)
    assert seconds(steady) < seconds(base)  # the trace never offers more than this


def test_outages_finish_later_and_waste_bytes() -> None:
    failing, whole = run("outages"), run("outages", "network.outages=[]")
    assert seconds(failing) > seconds(whole) + 20
    lost = failing.summary["bytes"]
    assert lost["wasted"] > 0
    assert lost["aborted"] > 0
    assert failing.summary["retries"] > 0
    assert set(metrics.missing(failing.events)["node"]) == {"client1"}
    assert [whole.summary["bytes"][name] for name in ("wasted", "aborted")] == [0, 0]
    assert whole.summary["retries"] == whole.summary["missing"] == 0
    assert arrivals(failing) == arrivals(whole) - failing.summary["missing"]
    patient = run("outages", "network.stall_timeout=null")  # waits for the link instead: nothing is lost
    assert patient.summary["missing"] == patient.summary["bytes"]["wasted"] == 0
    assert total(patient) == total(whole)
    assert seconds(patient) > seconds(whole)


def test_stragglers_a_deadline_makes_rounds_shorter_and_loses_arrivals() -> None:
    late, waiting = run("stragglers"), run("stragglers", "protocol.wait={}")
    first = run("stragglers", "protocol.wait={first: 3}")
    alike = run("stragglers", "protocol.wait={}", "devices.client.stragglers=[]", "devices.overrides={}")
    assert seconds(alike) < seconds(late) < seconds(waiting)
    assert seconds(first) < seconds(waiting)
    assert late.rounds["sim_time_s"].diff().max() < waiting.rounds["sim_time_s"].diff().max()
    assert late.summary["missing"] > 0
    assert set(metrics.missing(late.events)["node"]) == {"client3"}
    assert arrivals(late) == arrivals(waiting) - late.summary["missing"]
    assert arrivals(first) == 2 * 3 * 8 < arrivals(waiting) == 8 * 8
    assert total(late) < total(waiting)


def test_failover_to_the_next_edge_server_keeps_clients_in() -> None:
    following, waiting = run("failover"), run("failover", "protocol.failover=wait")
    whole = run("failover", "devices.overrides={}")
    assert arrivals(waiting) < arrivals(following) < arrivals(whole)
    assert waiting.summary["missing"] > following.summary["missing"] > whole.summary["missing"] == 0
    rows = metrics.missing(following.events)
    assert set(rows["node"]) == {"edge1", "client1", "client3", "client5"}
    assert set(rows["reason"]) == {"edge1 went away"}
    later = following.events[following.events["t_start_s"] > rows["at_s"].max()]
    served = later[(later["kind"] == "transfer") & (later["node"] == "client1")]
    assert set(served["peer"].astype(str)) == {"edge0"}
    assert seconds(following) > seconds(waiting)  # one server does the work of two, and from further away


def fibre(run: Results) -> float:
    """The latency of all links of the backbone."""
    return float(sum(link["latency_s"] for link in run.topology["links"] if not link["u"].startswith("client")))


def test_backbone_longer_fibre_makes_longer_rounds(tmp_path: Path) -> None:
    file = HERE.parent / "topologies/backbone.graphml"
    base = run("zoo_backbone", f"topology.file={file}")
    nearer = run("zoo_backbone", f"topology.file={stretched(file, tmp_path, 0.25)}")
    assert total(nearer) == total(base)
    assert fibre(nearer) < 0.4 * fibre(base)
    assert seconds(nearer) < seconds(base)


def test_zoo_longer_hops_make_longer_rounds(monkeypatch: pytest.MonkeyPatch, zoo: Path) -> None:
    monkeypatch.setenv("ELSA_SIM_DATA", str(zoo))
    base = run("zoo_backbone", "protocol.rounds=2")
    longer = run("zoo_backbone", "protocol.rounds=2", "topology.core.latency=20 ms")
    assert total(longer) == total(base)
    if fibre(longer) > fibre(base):  # a file without coordinates
        assert seconds(longer) > seconds(base)
