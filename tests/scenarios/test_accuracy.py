"""The example scenarios: what the network does to accuracy, and what it does not.

Where nobody is lost, a slower network delays every round and changes none: accuracy per round is the same to the last
bit, accuracy at a given simulated time falls. Where somebody is lost whom nobody can stand in for, accuracy falls with
them: every client holds one class of its own, so a bound follows from how many classes are left.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from examples import (
    HERE,
    REAL,
    accuracies,
    accuracy_at,
    average,
    final,
    half_bandwidth,
    run,
    seconds,
    stretched,
    time_to,
    total,
)

from elsa_sim.base.errors import ScenarioError
from elsa_sim.results.metrics import Results
from elsa_sim.run import checks, cut_costs
from elsa_sim.scenario.model import load

#: Learned in a few rounds.
EASY = ("task.train_size=240", "task.test_size=120", "task.topic_words=3", "task.purity=1.0", "protocol.lr=2.0e-2")
SHORT = (*EASY, "protocol.rounds=5", "protocol.edge_rounds=1", "protocol.local_steps=2")
#: One class per client, and steps small enough for the average of such clients to learn.
SORTED = (*EASY, "partition={kind: shards, shards: 1}", "protocol.rounds=9", "protocol.edge_rounds=1",
          "protocol.local_steps=1")  # fmt: skip


def played(name: str, *changes: str) -> Results:
    return run(name, *changes, mode=REAL)


def assert_only_later(late: Results, soon: Results) -> None:
    """The same learning round by round, and every round of ``late`` later: so less is known at any given time."""
    assert accuracies(late) == accuracies(soon)
    assert late.rounds["loss"].tolist() == soon.rounds["loss"].tolist()
    assert total(late) == total(soon)
    assert final(soon) > accuracies(soon)[0] + 0.3  # there is something to learn
    assert (late.rounds["sim_time_s"].iloc[1:].to_numpy() > soon.rounds["sim_time_s"].iloc[1:].to_numpy()).all()
    assert average(late, seconds(soon)) < average(soon, seconds(soon)) - 0.001
    assert accuracy_at(late, seconds(soon)) <= final(soon)
    half_way = (accuracies(soon)[0] + final(soon)) / 2
    assert time_to(late, half_way) > time_to(soon, half_way)


def test_traces_of_half_the_bandwidth(tmp_path: Path) -> None:
    base = played("traces", *SHORT)
    assert_only_later(played("traces", *SHORT, f"topology.access.trace={half_bandwidth(tmp_path)}"), base)


def test_outages_that_are_waited_out() -> None:
    down = "network.outages=[{link: [client0, edge0], start: 0.1 s, duration: 5 s}]"
    whole = played("outages", *SHORT, "network.outages=[]")
    assert_only_later(played("outages", *SHORT, down, "network.stall_timeout=null"), whole)


def test_outages_giving_up_trades_accuracy_for_time() -> None:
    """client1 cannot be reached for 10 minutes, and it alone holds one class of four."""
    down = "network.outages=[{node: client1, start: 0.1 s, duration: 600 s}]"
    patient = played("outages", *SORTED, down, "network.stall_timeout=null")
    hasty = played("outages", *SORTED, down)
    whole = played("outages", *SORTED, "network.outages=[]")
    assert accuracies(patient) == accuracies(whole)
    assert seconds(whole) < seconds(hasty) < seconds(patient)
    assert final(hasty) <= 0.76 < 0.9 < final(patient)
    assert accuracy_at(patient, seconds(hasty)) < final(hasty) < final(whole)


def test_stragglers_that_are_waited_for() -> None:
    waiting = (*SHORT, "topology.clients=4", "protocol.wait={}")
    alike = played("stragglers", *waiting, "devices.client.stragglers=[]", "devices.overrides={}")
    assert_only_later(played("stragglers", *waiting), alike)


@pytest.mark.parametrize("wait", ["{deadline: 1 s}", "{first: 3}"])
def test_stragglers_going_on_without_them_trades_accuracy_for_time(wait: str) -> None:
    """client3 is always late, and it alone holds one class of four."""
    slow = ("topology.clients=4", "topology.edges=1", "devices.client.stragglers=[]",
            "devices.overrides={client3: {slowdown: 100}}")  # fmt: skip
    hasty = played("stragglers", *SORTED, *slow, f"protocol.wait={wait}")
    patient = played("stragglers", *SORTED, *slow, "protocol.wait={}")
    assert seconds(hasty) < 0.5 * seconds(patient)
    assert final(hasty) <= 0.76 < 0.9 < final(patient)
    assert accuracy_at(patient, seconds(hasty)) < final(hasty)


def test_mobility_without_handovers() -> None:
    """Clients that stay with the station they have gone away from send ever slower; with edge_rounds 1 it makes no
    difference to the average who aggregates whom (but rounding), if moments do not stay behind."""
    plain = (*SHORT, "protocol.keep_optimizer=false")
    changing, staying = played("mobility", *plain), played("mobility", *plain, "wireless.handover.margin=60 dB")
    assert (changing.events["kind"] == "handover").any()
    assert not (staying.events["kind"] == "handover").any()
    assert accuracies(staying) == accuracies(changing)
    assert staying.rounds["loss"].tolist() == pytest.approx(changing.rounds["loss"].tolist(), rel=1e-2)
    assert seconds(staying) > 1.2 * seconds(changing)
    assert average(staying, seconds(changing)) < average(changing, seconds(changing)) - 0.01


def test_mobility_further_away() -> None:
    still = "wireless.mobility=static"
    assert_only_later(played("mobility", *SHORT, still), played("mobility", *SHORT, still, "wireless.area=[200, 100]"))


def test_failover_keeps_classes_that_waiting_loses() -> None:
    """edge1 dies for good, with it three of six classes are gone: unless its clients go to edge0, which takes time."""
    dead = "devices.overrides.edge1={downtimes: [{kind: crash, at: 0.1}]}"
    sorted_ = (*SORTED, "task.topics=6", "protocol.rounds=12")
    following, waiting = (
        played("failover", *sorted_, dead),
        played("failover", *sorted_, dead, "protocol.failover=wait"),
    )
    assert final(waiting) <= 0.51 < 0.75 < final(following)
    assert seconds(following) > seconds(waiting)
    whole = played("failover", *sorted_, "devices.overrides={}")
    assert seconds(whole) < seconds(following)
    alike = played("failover", *sorted_, "devices.overrides={}", "protocol.failover=wait")
    assert alike.summary["trace_sha256"] == whole.summary["trace_sha256"]  # without a failure, there is no difference


def test_backbone_of_longer_fibre(tmp_path: Path) -> None:
    file = HERE.parent / "topologies/backbone.graphml"
    longer = played("zoo_backbone", *SHORT, f"topology.file={stretched(file, tmp_path, 8.0)}")
    assert_only_later(longer, played("zoo_backbone", *SHORT, f"topology.file={file}"))


def test_zoo_of_longer_hops(monkeypatch: pytest.MonkeyPatch, zoo: Path) -> None:
    monkeypatch.setenv("ELSA_SIM_DATA", str(zoo))
    base = played("zoo_backbone", *SHORT)
    longer = played("zoo_backbone", *SHORT, "topology.core.latency=40 ms", "topology.core.up=1 Mbit/s")
    assert_only_later(longer, base)


@pytest.mark.parametrize("protocol", ["fedavg", "fedprox", "hierfavg"])
def test_devices_too_small_for_the_whole_model(protocol: str) -> None:
    whole = f"protocol={{kind: {protocol}, rounds: 1, local_steps: 1}}"
    with pytest.raises(ScenarioError) as refused:
        run("small_devices", whole)
    (fault,) = refused.value.faults
    model, cuts = cut_costs.of_plan(checks.check(load(HERE / "small_devices.yaml")))
    assert "the whole model on 'client0', " in fault.message
    assert f"takes {model.memory} bytes (weights " in fault.message
    assert "memory is 8000000 bytes" in fault.message
    assert cuts[0].memory < 8e6 < model.memory
    assert seconds(run("small_devices", whole, f"devices.client.memory={model.memory}")) > 0  # that is all it lacks
    with pytest.raises(ScenarioError, match=r"Part 1 and Part 3 on .* takes "):
        run("small_devices", f"devices.client.memory={cuts[0].memory - 1}")


def test_devices_too_small_for_the_whole_model_learn_with_a_part() -> None:
    assert final(run("small_devices", *SHORT, mode=REAL)) > 0.75
