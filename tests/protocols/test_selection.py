"""Every way to select clients under every synchronous protocol, and what a run makes of the selection."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from in_process import InProcess
from protocol_laws import LAWS, TIMING, adapters_of, coded, norm, timeline, trace
from resumed import assert_resumes
from small_runs import faults, loaded, played, work, world_of

from elsa_sim.base.registry import discover
from elsa_sim.learning.execution.pools import POOLS
from elsa_sim.protocols.base import Protocol
from elsa_sim.protocols.prospects import prospects
from elsa_sim.results.metrics import Results
from elsa_sim.results.selection import selections
from elsa_sim.run import checks
from elsa_sim.selection.base import Candidates, Selection, Selector

for package in ("protocols", "selection"):
    discover(f"elsa_sim.{package}")
PROTOCOLS = sorted(
    kind for kind, member in Protocol.members.items() if member.__module__.startswith("elsa_sim.") and member.selects
)
#: What a selection needs, or must have to leave somebody out in a small run.
OPTIONS = {
    "fedcs": "deadline: 60 s, ask: 2",
    "probabilities": "clients: 2",
    "power_of_choice": "clients: 2, over_commit: 1.4",
}
SELECTIONS = sorted(
    kind for kind, member in Selection.members.items() if member.__module__.startswith("elsa_sim.") and not member.everyone
)  # fmt: skip
PAIRS = [
    (kind, selection)
    for kind in PROTOCOLS
    for selection in SELECTIONS
    if not (Selection.members[selection].needs_losses and loaded(f"protocol={kind}").scenario.protocol.pattern.joint)
]
#: One of each way to play a round: fedprox, fedadam and fedams play those of fedavg.
OWN = [pair for pair in PAIRS if pair[0] not in ("fedprox", "fedadam", "fedams")]
#: As many clients as to leave some out, unequal, at two edge servers.
SEVEN = (
    "topology={kind: tree, clients: 7, edges: 2, access: {up: 10 Mbit/s, latency: 9 ms}, "
    "backhaul: {up: 10 Mbit/s, latency: 5 ms}}",
    "partition={kind: quantity, alpha: 5, min_samples: 4}",
)


def selected(kind: str, selection: str, more: str = "", rounds: int = 2) -> str:
    """A protocol's options with a selection (a kind, or a mapping)."""
    told = selection if selection.startswith("{") else f"{{kind: {selection}, {OPTIONS.get(selection, 'clients: 2')}}}"
    return f"{{kind: {kind}, rounds: {rounds}, local_steps: 2, lr: 5.0e-3, selection: {told}{more}}}"


def protocol(kind: str, selection: str, more: str = "", rounds: int = 2) -> str:
    return f"protocol={selected(kind, selection, more, rounds)}"


@cache
def known(*changes: str) -> Results:
    return played(*changes)


def test_all_protocols_are_here() -> None:
    synchronous = {"fedavg", "fedprox", "fedadam", "fedams", "splitfed_v1", "splitfed_v2", "sflllm", "hierfavg", "elsa"}
    assert set(PROTOCOLS) == synchronous


# -- laws ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "selection"), PAIRS)
def test_one_seed_selects_alike_and_invariants_hold(kind: str, selection: str) -> None:
    one, other = known(protocol(kind, selection), *SEVEN), played(protocol(kind, selection), *SEVEN)
    assert trace(one) == trace(other)
    assert one.summary["invariants"] == "hold"
    found = selections(one.events)
    assert len(found) == one.summary["selection"]["selected"] > 0
    assert np.isfinite(one.rounds["loss"]).all()
    worked = work(one.events)
    trained = set(zip(*(worked.loc[worked["node"].astype(str).str.startswith("client"), c].astype(str) for c in ("round", "node")),
                      strict=True))  # fmt: skip
    assert trained == {(str(row.round), row.client) for row in found.itertuples()}  # only who is selected does anything


@pytest.mark.parametrize(("kind", "selection"), PAIRS)
def test_timing_has_the_same_timeline(kind: str, selection: str) -> None:
    if Selection.members[selection].needs_losses:
        assert [each.path for each in faults(protocol(kind, selection), TIMING)] == ["protocol.selection"]
        return
    timing = played(protocol(kind, selection), TIMING, *SEVEN)
    assert timeline(timing) == timeline(known(protocol(kind, selection), *SEVEN))


@pytest.mark.parametrize(("kind", "selection"), OWN)
def test_executors_agree(kind: str, selection: str) -> None:
    batched = known(protocol(kind, selection), *SEVEN)
    for change in ("execution.executor=serial", "execution.workers=2"):
        with patch.dict(POOLS, local=InProcess):
            other = played(protocol(kind, selection), change, *SEVEN)
        assert timeline(other) == timeline(batched)
        np.testing.assert_allclose(other.rounds["loss"], batched.rounds["loss"], rtol=1e-3)


@pytest.mark.parametrize(
    ("kind", "selection"),
    [
        *((kind, "uniform") for kind in PROTOCOLS),
        *(("elsa", selection) for selection in SELECTIONS),
        ("fedavg", "oort"),
    ],
)
def test_it_is_gone_on_with_as_it_went(kind: str, selection: str, tmp_path: Path) -> None:
    """Killed after its first round, and gone on with: losses that were heard are known again, and draws are the same."""
    away = "devices.client.downtimes=[{kind: on_off, on: 2 s, off: 0.1 s}]"
    options = protocol(kind, selection, rounds=3)
    assert assert_resumes(tmp_path, options, coded(options.removeprefix("protocol=")), away, *SEVEN, rounds=[1]) == [
        1,
        2,
        3,
    ]


@pytest.mark.parametrize(
    "law", ["bytes_are_conserved", "time_runs_forwards", "its_steps_are_announced", "its_messages_are_declared"]
)
@pytest.mark.parametrize("kind", PROTOCOLS)
def test_laws_of_protocols(kind: str, law: str) -> None:
    LAWS[law](selected(kind, "{kind: uniform, clients: 1}"))


@pytest.mark.parametrize("kind", PROTOCOLS)
def test_of_everyone_it_is_what_it_was(kind: str) -> None:
    """A selection that leaves nobody out trains as no selection does; the event table tells of it."""
    plain = adapters_of(f"protocol={{kind: {kind}, rounds: 2, local_steps: 2, lr: 5.0e-3}}", *SEVEN)
    for selection in ("{kind: uniform, clients: 1.0}", "{kind: probabilities, clients: 1.0}"):
        some = adapters_of(protocol(kind, selection), *SEVEN)
        rows, expected = (each.events[each.events["kind"] != "selection"] for each in (some[0], plain[0]))
        assert rows["t_end_s"].tolist() == pytest.approx(expected["t_end_s"].tolist(), rel=1e-3)
        for one, two in zip(some[1], plain[1], strict=True):
            assert norm([one[name] - two[name] for name in two]) <= 1e-5 * norm(two.values())


# -- weights ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["fedavg", "splitfed_v1", "splitfed_v2", "sflllm", "hierfavg", "elsa"])
def test_inverse_probabilities_weigh_changes(kind: str) -> None:
    """One round in which only clients 0 and 4 take part, with factors 2 and 3: theta + sum p f (theta_n - theta)."""
    factors = {"client0": 2.0, "client4": 3.0}

    class Fixed(Selector):
        def choose(self, candidates: Candidates) -> Mapping[str, float]:
            return {name: factor for name, factor in factors.items() if name in candidates.names}

    options = protocol(
        kind, "{kind: probabilities, clients: 1}", ", edge_rounds: 1" if kind in ("hierfavg", "elsa") else "", 1
    )
    sent: dict[str, Any] = {}
    from elsa_sim.world.world import World

    tell = World.trained

    def kept(world: World, client: str, *adapters: Any) -> None:
        sent[client] = {name: tensor for each in adapters for name, tensor in each.value.items()}
        tell(world, client, *adapters)

    whose = Selection.members["probabilities"]
    with patch.object(whose, "start", lambda self, roster: Fixed()), patch.object(World, "trained", kept):
        results, (before, after) = adapters_of(options, *SEVEN)
    assert set(sent) == set(factors)
    _, world = world_of(f"protocol={kind}", *SEVEN, TIMING)
    samples = {client.name: client.weight for client in world.clients}
    total = sum(samples.values())
    own = (
        world.split_clients[0].own
        if loaded(f"protocol={kind}").scenario.protocol.pattern.split
        else [world.model.whole]
    )
    shared = loaded(f"protocol={kind}").scenario.protocol.pattern.shared
    for name in world.model.names(own) if shared else before:
        moved = sum(samples[c] / total * f * (sent[c][name] - before[name]) for c, f in factors.items())
        assert norm([after[name] - before[name] - moved]) <= 1e-5 * norm([moved])
    for name in before.keys() - world.model.names(own):  # the server's one copy, as who was last has left it
        if shared:
            assert norm([after[name] - sent[list(sent)[-1]][name]]) <= 1e-5 * norm([after[name]])
            assert norm([after[name] - before[name]]) > 0.0
    assert (results.events["kind"] == "selection").sum() == 2


def test_nobody_drawn_leaves_the_adapters_as_they_are() -> None:
    few = "{kind: probabilities, given: {client0: 1.0e-9, client1: 1.0e-9, client2: 1.0e-9}}"
    results, adapters = adapters_of(protocol("hierfavg", few, rounds=1))
    assert results.summary.get("selection") is None
    assert norm([adapters[1][name] - adapters[0][name] for name in adapters[0]]) == 0.0


# -- rounds -------------------------------------------------------------------------------------------------------------

SLOW = "devices.overrides={client1: {slowdown: 3}, client5: {slowdown: 9}, client6: {slowdown: 9}}"


@pytest.mark.parametrize("kind", PROTOCOLS)
def test_over_commitment_closes_when_enough_have_arrived(kind: str) -> None:
    barrier = ", barrier: false" if kind == "sflllm" else ""
    options = protocol(kind, "{kind: uniform, clients: 2, over_commit: 1.5}", barrier, rounds=3)
    events = played(options, TIMING, SLOW, *SEVEN).events
    found = selections(events)
    for (_, _, until), rows in found.groupby(["round", "server", "until_s"]):
        assert len(rows) == 3
        assert (rows["status"] == "ok").sum() == 2
        assert (rows["status"] == "aborted").sum() == 1
        late = rows.loc[rows["status"] == "aborted", "client"].tolist()
        missing = events[(events["kind"] == "fault") & (events["t_end_s"] == until) & (events["node"].isin(late))]
        assert len(missing) == 1
        assert "the first 2 had arrived" in missing["metrics"].iloc[0]


def test_each_edge_server_selects_among_its_own() -> None:
    events = played(protocol("hierfavg", "{kind: round_robin, clients: 1}", rounds=4), TIMING, *SEVEN).events
    found = selections(events)
    counts = Counter(zip(found["server"], found["client"], strict=True))
    _, world = world_of("protocol=hierfavg", TIMING, *SEVEN)
    assert {(client.edge, client.name) for client in world.clients} == set(counts)
    assert found.groupby("server").size().to_dict() == {"edge0": 8, "edge1": 8}  # a client in each of 2 x 4 edge rounds
    assert max(counts.values()) <= 3


def test_every_choice_of_every_server_is_drawn_anew() -> None:
    many = SEVEN[0].replace("clients: 7", "clients: 20")
    events = played(
        protocol("hierfavg", "{kind: uniform, clients: 3}", ", edge_rounds: 3", rounds=1), TIMING, many
    ).events
    chosen = [tuple(rows["client"]) for _, rows in selections(events).groupby(["server", "until_s"])]
    assert len(chosen) == 6
    ranks = {tuple(int(name.removeprefix("client")) // 2 for name in names) for names in chosen}
    assert len(ranks) == 6  # clients go to the two edge servers in turn, and these do not choose alike


def test_who_is_away_is_no_candidate_and_is_not_missing() -> None:
    gone = "devices.overrides={client0: {downtimes: [{kind: crash, at: 0 s}]}, client2: {downtimes: [{kind: crash, at: 0 s}]}}"
    results = played(protocol("fedavg", "{kind: uniform, clients: 5}", rounds=4), TIMING, gone, *SEVEN)
    assert set(selections(results.events)["client"]) == {f"client{i}" for i in (1, 3, 4, 5, 6)}
    assert results.summary["missing"] == 0
    assert results.summary["selection"]["never_selected"] == 2
    assert results.summary["selection"]["participation_jain"] == pytest.approx(5 / 7)


def test_a_round_waits_for_the_first_candidate() -> None:
    away = "devices.client.downtimes=[{kind: trace, file: away.csv}]"
    with patch("elsa_sim.devices.downtime.read_columns", lambda *_: ((0.0, 0.0), (5.0, 1.0))):
        results = played(protocol("fedavg", "{kind: uniform, clients: 2}"), TIMING, away)
    assert selections(results.events)["since_s"].iloc[0] == 5.0


def heard(*changes: str) -> list[tuple[str, Sequence[float], float]]:
    """What selectors hear in a run."""
    from elsa_sim.selection.base import Report
    from elsa_sim.selection.oort import OortSelector

    found: list[tuple[str, Sequence[float], float]] = []
    observe = OortSelector.observe

    def kept(self: OortSelector, report: Report) -> None:
        found.append((report.name, report.losses, report.duration))
        observe(self, report)

    with patch.object(OortSelector, "observe", kept):
        results = played(*changes)
    losses = results.rounds["train_loss"].dropna().tolist()
    told = [loss for _, each, _ in found for loss in each]
    assert np.mean(told) == pytest.approx(np.mean(losses[:-1]), rel=1e-5)  # of the last round nobody hears
    return found


def test_a_server_hears_losses_and_durations() -> None:
    """Of each who arrived, the loss of every local step and the time of its share, from the choice to its arrival."""
    options = protocol("fedavg", "{kind: oort, clients: 3}", rounds=3)
    found, events = heard(options, SLOW, *SEVEN), played(options, SLOW, *SEVEN).events
    rows = events[(events["kind"] == "transfer") & (events["detail"] == "adapters") & (events["peer"] == "cloud")]
    began = selections(events).drop_duplicates("round").set_index("round")["since_s"]
    expected = {(row.round, row.node): row.t_end_s - began[row.round] for row in rows.itertuples()}
    assert len(found) == 6
    assert [duration for _, _, duration in found] == pytest.approx(
        [expected[1 + i // 3, name] for i, (name, _, _) in enumerate(found)]
    )
    assert {len(losses) for _, losses, _ in found} == {2}


def test_a_free_rider_reports_no_loss() -> None:
    options = protocol("elsa", "{kind: power_of_choice, clients: 1}", ", edge_rounds: 1", rounds=3)
    rider = "unreliable={clients: {client0: free_rider}}"
    results = played(options, rider)
    assert results.summary["selection"]["selected"] == 6


ALONE = (
    "topology={kind: tree, clients: 1, edges: 1, access: {up: 1 Mbit/s, down: 2 Mbit/s, latency: 9 ms}, "
    "backhaul: {up: 10 Mbit/s, latency: 5 ms}}"
)


@pytest.mark.parametrize("kind", ["fedavg", "splitfed_v1", "splitfed_v2", "hierfavg", "elsa"])
def test_prospects_are_what_a_lone_client_takes(kind: str) -> None:
    """With nobody else on the links, the expected time is that of the simulated round but for framing and short batches."""
    once = ", edge_rounds: 1" if kind in ("hierfavg", "elsa") else ""
    options = protocol(kind, "{kind: uniform, clients: 1}", once, rounds=1)
    results, world = world_of(options, TIMING, ALONE)
    (row,) = selections(results.events).itertuples()
    expected = prospects(world, loaded(options).scenario.protocol)("client0")
    assert expected.time == pytest.approx(row.until_s - row.since_s, rel=0.15)
    slow = world_of(options, TIMING, ALONE, "devices.client.slowdown=50")[1]
    later = prospects(slow, loaded(options).scenario.protocol)("client0")
    assert (later.download, later.upload) == (expected.download, expected.upload)
    assert later.work > expected.work


def test_a_round_that_is_lost_ends_its_selections() -> None:
    """An edge server that goes away takes its round with it: those it had chosen did not arrive."""
    gone = "devices.overrides={edge0: {downtimes: [{kind: crash, at: 0.05 s, duration: 1 s}]}}"
    results = played(protocol("hierfavg", "{kind: uniform, clients: 2}"), TIMING, gone, *SEVEN)
    found = selections(results.events)
    lost = found[(found["server"] == "edge0") & (found["round"] == 1)]
    assert lost["status"].tolist() == ["ok"] * 2 + ["aborted"] * 2  # it went away in its second round
    assert lost["until_s"].tolist()[2:] == [0.05] * 2
    assert set(found.loc[found["round"] == 2, "status"]) == {"ok"}


# -- faults -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "path", "said"),
    [
        ("kind: centralized, selection: {kind: uniform, clients: 2}", "protocol.selection", "centralized trains in one place"),
        ("kind: fedbuff, selection: {kind: uniform, clients: 2}", "protocol.selection", "fedbuff takes updates as they come"),
        ("kind: sflllm, selection: {kind: oort, clients: 2}", "protocol.selection", "they have one together"),
        ("kind: fedavg, selection: {kind: uniform, clients: 4}", "protocol.selection.clients", "no server has more than 3"),
        ("kind: hierfavg, selection: {kind: uniform, clients: 3}", "protocol.selection.clients", "no server has more than 2"),
        ("kind: fedavg, selection: {kind: uniform, clients: 2, over_commit: 1.5}, wait: {first: 1}", "protocol.wait.first",
         "selection.over_commit closes the round"),
        ("kind: fedavg, selection: {kind: uniform, clients: 2}, wait: {first: 3}", "protocol.wait.first",
         "no server has more than 2 clients to wait for"),
        ("kind: fedavg, selection: {kind: uniform, clients: 2}, aggregation: median", "protocol.aggregation",
         "cloud aggregates at most 2 at once"),
        ("kind: fedavg, selection: {kind: probabilities, given: {client0: 0.5, client1: 0.5}}", "protocol.selection.given",
         "'client2' have no probability"),
        ("kind: elsa, trust: {}, selection: {kind: probabilities, clients: 1}", "protocol.selection", "leave them out"),
        ("kind: fedavg, selection: unifrom", "protocol.selection.kind", "did you mean 'uniform'"),
        ("kind: fedavg, selection: {kind: uniform, clients: 1.5}", "protocol.selection.clients", "at most 1.0"),
    ],
)  # fmt: skip
def test_where_a_selection_cannot_serve(options: str, path: str, said: str) -> None:
    found = faults(f"protocol={{{options}}}", "task.public=64")
    assert len(found) == 1, found
    assert found[0].path == path
    assert said in found[0].message


def test_where_it_can() -> None:
    for options in (
        "kind: fedavg, selection: all",
        "kind: centralized, selection: all",
        "kind: hierfavg, selection: {kind: uniform, clients: 2}",
        "kind: fedavg, selection: {kind: uniform, clients: 3}, wait: {first: 2, deadline: 5 s}",
        "kind: elsa, trust: {}, selection: {kind: oort, clients: 1}",
    ):
        assert faults(f"protocol={{{options}}}", "task.public=64") == [], options


def test_a_server_trains_no_more_copies_than_are_selected() -> None:
    from elsa_sim.run.memory import MemoryDemand

    def need(selection: str) -> tuple[str, int]:
        plan = checks.check(loaded(f"protocol={{kind: splitfed_v1, selection: {selection}}}", *SEVEN))
        demand = MemoryDemand(plan.scenario, plan.outline, plan.source.layers, plan.cuts, plan.topology, plan.edge_of)
        what, _, copies = demand.footprints()["cloud"]
        return what, copies

    assert need("all")[1] == 7
    assert need("{kind: uniform, clients: 2}")[1] == 2
    assert need("{kind: uniform, clients: 2, over_commit: 1.5}")[1] == 3
    assert need("{kind: probabilities, clients: 2}")[1] == 7
