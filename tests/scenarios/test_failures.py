"""Runs in which devices and links fail: each ends, says who was missing and why, and keeps its books."""

from __future__ import annotations

import json
import math
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_runs import known, played, transfers, work, world_of

from elsa_sim.base.errors import RunFailed, ScenarioError
from elsa_sim.results import metrics
from elsa_sim.results.metrics import Results
from elsa_sim.run.checks import check
from elsa_sim.world.world import World

TIMING = "execution.mode=timing"
PROTOCOLS = {
    "elsa": "protocol={kind: elsa, rounds: 3, edge_rounds: 1, local_steps: 2, lr: 5.0e-3, wait: WAIT}",
    "splitfed_v1": "protocol={kind: splitfed_v1, rounds: 3, local_steps: 2, lr: 5.0e-3, wait: WAIT}",
    "fedavg": "protocol={kind: fedavg, rounds: 3, local_steps: 2, lr: 5.0e-3, wait: WAIT}",
    "centralized": "protocol={kind: centralized, rounds: 3, local_steps: 2, lr: 5.0e-3, wait: WAIT}",
}


def protocol(kind: str = "elsa", wait: str = "{}") -> str:
    return PROTOCOLS[kind].replace("WAIT", wait)


def crash(node: str, at: float, duration: float | None = None) -> str:
    length = "" if duration is None else f", duration: {duration}"
    return f"devices.overrides.{node}={{downtimes: [{{kind: crash, at: {at}{length}}}]}}"


def absent(run: Results) -> pd.DataFrame:
    return metrics.missing(run.events)


def round_of(run: Results, number: int) -> tuple[float, float]:
    """When a round began and ended."""
    ends = run.rounds.set_index("round")["sim_time_s"]
    return float(ends[number - 1]), float(ends[number])


def middle(kind: str, number: int = 2, share: float = 0.5) -> float:
    """A time in the middle of a round when nothing fails."""
    begin, end = round_of(known(protocol(kind), TIMING), number)
    return begin + share * (end - begin)


def assert_books_are_kept(run: Results, world: World) -> None:
    """Bytes and joules are conserved, and nothing is left behind: no slot, no flow, no work."""
    assert run.summary["invariants"] == "hold"
    rows = transfers(run.events)
    assert not (work(run.events)["status"] == "in_flight").any()
    counted = world.event_log.byte_counters
    for kind, sent in counted.sent.items():
        of = rows[rows["detail"] == kind]
        assert (
            sent
            == of["bytes"].sum()
            == world.event_log.byte_counters.received[kind] + world.event_log.byte_counters.aborted[kind]
        )
        assert world.event_log.byte_counters.aborted[kind] == of.loc[of["status"] == "aborted", "bytes"].sum()
    assert world.network.in_flight == ()
    assert math.isclose(sum(world.network.carried_bytes.values()), _on_links(rows), rel_tol=1e-6, abs_tol=100.0)
    table = metrics.energy_by_node(run.events, run.topology)
    for name, device in world.devices.items():
        assert device._slots._free == device.options.slots
        assert not device._slots._waiting
        assert table.loc[name, "compute"] == pytest.approx(device.energy_j()["compute"], abs=1e-9)
        assert table.loc[name, "idle"] == pytest.approx(device.energy_j()["idle"], abs=1e-9)
    assert run.summary["energy_by_node"] == pytest.approx(table["total"].to_dict())


def _on_links(rows: pd.DataFrame) -> float:
    """Bytes on all hops: those that arrived, and those that were wasted."""
    hops = rows["route"].astype(str).str.count(">")
    arrived = rows["bytes"].where(rows["status"] == "ok", 0)
    return float(((arrived + rows["wasted_bytes"]) * hops).sum())


@pytest.mark.parametrize("kind", ["elsa", "splitfed_v1", "fedavg"])
def test_a_client_that_crashes_and_comes_back(kind: str) -> None:
    at = middle(kind)
    run, world = world_of(protocol(kind), TIMING, crash("client1", at, 1e-3))
    assert_books_are_kept(run, world)
    (row,) = absent(run).to_dict("records")
    assert (row["node"], row["round"], row["reason"]) == ("client1", 2, "client1 went away")
    assert row["at_s"] == at
    rows = work(run.events)
    lost = rows[rows["status"] == "aborted"]
    assert len(lost) <= 2  # its own, and one at its server
    assert all("client1" in (one.node, one.peer) or one.detail for one in lost.itertuples())
    assert all(json.loads(one.metrics)["reason"] == "client1 went away" for one in lost.itertuples())
    last = rows[(rows["round"] == 3) & (rows["node"] == "client1")]
    whole = work(known(protocol(kind), TIMING).events)
    assert len(last) == len(whole[(whole["round"] == 3) & (whole["node"] == "client1")])  # all its work again


@pytest.mark.parametrize("what", ["compute", "transfer"])
def test_what_a_crash_interrupts_ends_there(what: str) -> None:
    whole = work(known(protocol(), TIMING).events)
    one = whole[(whole["kind"] == what) & (whole["node"] == "client1") & (whole["round"] == 2)].iloc[1]
    at = (one["t_start_s"] + one["t_end_s"]) / 2 + (
        0.3 * (one["t_end_s"] - one["t_start_s"]) if what == "transfer" else 0
    )
    run, world = world_of(protocol(), TIMING, crash("client1", at, 5.0))
    assert_books_are_kept(run, world)
    lost = work(run.events)
    (row,) = lost[lost["status"] == "aborted"].to_dict("records")
    assert (row["kind"], row["node"], row["t_end_s"]) == (what, "client1", at)
    assert row["t_start_s"] == pytest.approx(one["t_start_s"])
    if what == "compute":
        share = (at - one["t_start_s"]) / (one["t_end_s"] - one["t_start_s"])
        assert row["energy_j"] == pytest.approx(share * one["energy_j"], rel=1e-6)
    else:
        assert 0 < row["wasted_bytes"] < row["bytes"]
        assert run.summary["bytes"]["aborted"] == row["bytes"]
        assert run.summary["bytes"]["wasted"] == row["wasted_bytes"]


def test_an_interrupted_client_learns_on_as_if_it_had_only_been_absent() -> None:
    """The adapters and moments of an interrupted round leave no trace: only the batches it drew are gone."""
    at = middle("elsa", 3, 0.9)
    first = known(protocol())
    crashed = played(protocol(), crash("client1", at, 0.01))
    assert crashed.rounds["loss"].iloc[:3].tolist() == first.rounds["loss"].iloc[:3].tolist()
    other = played(protocol(), crash("client1", middle("elsa", 3, 0.6), 0.01))
    assert crashed.rounds["loss"].iloc[3] == other.rounds["loss"].iloc[3] != first.rounds["loss"].iloc[3]


def test_all_clients_gone_for_good_fail_the_run() -> None:
    for kind in ("elsa", "splitfed_v1", "fedavg"):
        at = middle(kind)
        with pytest.raises(RunFailed, match=r"gone for good: client0, client1, client2"):
            played(protocol(kind), TIMING, *(crash(f"client{i}", at) for i in range(3)))


def test_an_edge_server_that_dies() -> None:
    """Its clients are missing with it; in a tree they cannot reach another, and are missing as long as it is away."""
    run, world = world_of(protocol(), TIMING, crash("edge0", middle("elsa")))
    assert_books_are_kept(run, world)
    rows = absent(run)
    theirs = {"edge0", "client0", "client2"}
    assert set(rows["node"]) == theirs
    assert rows.groupby("round")["node"].apply(set).to_dict() == {2: theirs, 3: theirs}
    assert set(rows.loc[rows["round"] == 2, "reason"]) == {"edge0 went away"}
    assert set(rows.loc[rows["round"] == 3, "reason"]) == {"away when the round began"}
    assert run.summary["missing"] == 6


@pytest.mark.parametrize("kind", PROTOCOLS)
def test_a_cloud_that_dies_and_comes_back(kind: str) -> None:
    """The round is lost; the next one begins when the cloud is back. Central training begins its round anew."""
    at = middle(kind)
    run, world = world_of(protocol(kind), TIMING, crash("cloud", at, 60.0))
    assert_books_are_kept(run, world)
    assert run.rounds["round"].tolist() == [0, 1, 2, 3]
    assert run.summary["sim_time_s"] > at + 60.0
    assert set(absent(run)["round"]) == {2}
    if kind != "centralized":
        clients = absent(run).set_index("node")["reason"]
        assert set(clients) == {"cloud went away"}
        assert {"client0", "client1", "client2"} <= set(clients.index)
    with pytest.raises(RunFailed, match="gone for good: cloud"):
        played(protocol(kind), TIMING, crash("cloud", at))


def test_a_cloud_that_cannot_be_reached_for_a_while() -> None:
    """Messages stall and go on: nobody is missing, everything is later by at most the outage."""
    whole = known(protocol(), TIMING).summary
    at = middle("elsa", 1, 0.99)
    run, world = world_of(protocol(), TIMING, f"network.outages=[{{node: cloud, start: {at}, duration: 30}}]")
    assert_books_are_kept(run, world)
    assert run.summary["missing"] == run.summary["bytes"]["wasted"] == 0
    assert run.summary["bytes"]["total"] == whole["bytes"]["total"]
    assert 25.0 < run.summary["sim_time_s"] - whole["sim_time_s"] <= 30.0 + 1e-6


@pytest.mark.parametrize("kind", ["elsa", "splitfed_v1", "fedavg"])
def test_a_deadline_shorter_than_anything(kind: str) -> None:
    """Nobody arrives, nothing is learned, and the run ends."""
    run, world = world_of(protocol(kind, "{deadline: 1 ms}"))
    assert_books_are_kept(run, world)
    assert run.rounds["loss"].nunique() == 1
    assert run.summary["missing"] == 9
    assert run.summary["bytes"]["aborted"] > 0
    assert set(absent(run)["reason"]) == {"the round closed: the deadline of 0.001 s had passed"}


@pytest.mark.parametrize("kind", ["splitfed_v1", "fedavg"])
def test_the_first_two(kind: str) -> None:
    run, world = world_of(protocol(kind, "{first: 2}"), TIMING, "devices.overrides.client1={slowdown: 50}")
    assert_books_are_kept(run, world)
    assert absent(run)[["node", "round"]].to_numpy().tolist() == [["client1", 1], ["client1", 2], ["client1", 3]]
    slow = played(protocol(kind), TIMING, "devices.overrides.client1={slowdown: 50}")
    assert run.summary["sim_time_s"] < 0.5 * slow.summary["sim_time_s"]


def test_an_edge_server_whose_clients_are_all_away_goes_on_at_its_deadline() -> None:
    """client0 and client2 are all that edge0 has: with a deadline, it does not hold up the cloud's round."""
    gone = (crash("client0", 0.0, 500.0), crash("client2", 0.0, 600.0))
    run, world = world_of(protocol(wait="{deadline: 10}"), TIMING, *gone)
    assert_books_are_kept(run, world)
    assert 30 < run.summary["sim_time_s"] < 40  # three rounds of 10 s
    assert sorted(set(absent(run)["node"])) == ["client0", "client2"]
    assert run.summary["missing"] == 6
    waiting = played(protocol(), TIMING, *gone)
    assert waiting.summary["sim_time_s"] > 500


def test_links_that_fail_by_chance() -> None:
    """The run takes longer by some of the time that links were down, loses nothing, and says when links were down."""
    failing = "network.failures=[{links: access, mtbf: 0.4, mttr: 0.1}]"
    run, world = world_of(protocol(), TIMING, failing)
    assert_books_are_kept(run, world)
    whole = known(protocol(), TIMING)
    assert run.summary["bytes"] == whole.summary["bytes"]
    assert run.summary["sim_time_s"] > whole.summary["sim_time_s"]
    down = run.events[run.events["detail"] == "link down"]
    assert set(zip(down["node"], down["peer"], strict=True)) <= {(f"client{i}", f"edge{i % 2}") for i in range(3)}
    ended = down[down["status"] == "ok"]
    assert len(ended) > 3
    rows = transfers(run.events)
    for one in ended.itertuples():  # nothing ends on a link while it is down
        over = rows["route"].astype(str).isin([f"{one.node}>{one.peer}", f"{one.peer}>{one.node}"])
        assert not (over & (rows["t_end_s"] > one.t_start_s + 1e-6) & (rows["t_end_s"] < one.t_end_s - 1e-6)).any()
    assert played(protocol(), TIMING, failing).summary["trace_sha256"] == run.summary["trace_sha256"]
    assert played(protocol(), TIMING, failing, seed=8).summary["sim_time_s"] != run.summary["sim_time_s"]


def test_overlapping_downtimes_and_one_without_end() -> None:
    at = middle("elsa")
    times = (
        f"[{{kind: crash, at: {at}, duration: 1}}, {{kind: crash, at: {at + 0.5}}}, {{kind: on_off, on: 1, off: 2}}]"
    )
    run, world = world_of(protocol(), TIMING, f"devices.overrides.client1={{downtimes: {times}}}")
    assert_books_are_kept(run, world)
    rows = run.events[(run.events["detail"] == "away")]
    assert (rows["node"] == "client1").all()
    assert rows["status"].tolist()[-1] == "in_flight"
    assert "client1" in set(absent(run)["node"])


def test_a_link_that_never_comes_back_is_no_endless_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message waits forever, while another device comes and goes forever."""
    monkeypatch.setattr("elsa_sim.run.simulation.STUCK", 2000)
    with pytest.raises(RunFailed, match=r"nothing happens any more .* under way: .*transfer"):
        played(protocol(), TIMING, "topology.overrides={client0: {profile: [[0.1, 0]]}}",
               "devices.overrides.client1={downtimes: [{kind: on_off, on: 5, off: 5}]}")  # fmt: skip


_NODES = ["cloud", "edge0", "edge1", "client0", "client1", "client2"]
_times = st.floats(0.0, 3.0).map(lambda t: round(t, 3))
_crashes = st.dictionaries(st.sampled_from(_NODES), st.tuples(_times, st.none() | st.floats(0.01, 2.0)), max_size=4)
_outages = st.lists(st.tuples(st.sampled_from(_NODES), _times, st.floats(0.05, 3.0)), max_size=3)
_waits = st.fixed_dictionaries({}, optional={"first": st.integers(1, 3), "deadline": st.floats(0.05, 2.0)})


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(st.sampled_from(sorted(PROTOCOLS)), _crashes, _outages, _waits, st.none() | st.floats(0.1, 1.0),
       st.sampled_from(["next", "wait"]))  # fmt: skip
def test_whatever_fails_each_run_ends(
    kind: str, crashes: dict[str, Any], outages: list[Any], wait: dict[str, Any], timeout: float | None, failover: str
) -> None:
    if kind == "centralized":
        wait = {}  # it waits for nobody
    elif kind == "elsa" and "first" in wait:
        wait = wait | {"first": min(wait["first"], 2)}  # no edge server has more
    changes = [protocol(kind, json.dumps(wait)), TIMING]
    changes += [crash(node, at, length) for node, (at, length) in crashes.items()]
    downs = [{"node": node, "start": start, "duration": length} for node, start, length in outages]
    changes.append(f"network.outages={json.dumps(downs)}")
    if timeout is not None:
        changes += [f"network.stall_timeout={timeout}", "network.retries=2", "network.backoff=0.2"]
    if kind == "elsa":
        changes.append(f"protocol.failover={failover}")
    try:
        run, world = world_of(*changes)
    except RunFailed as error:
        stuck = timeout is None and "nothing happens any more" in str(error)  # messages wait for what never comes back
        if "gone for good" not in str(error) and not stuck:
            raise
        assert any(length is None for _, length in crashes.values())
        return
    assert_books_are_kept(run, world)
    assert run.rounds["round"].tolist() == [0, 1, 2, 3]
    rows = absent(run)
    assert (rows["since_s"] <= rows["at_s"]).all()
    assert (rows["reason"] != "").all()


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        (["devices.client.memory=1 KiB"], r"devices: Part 1 and Part 3 on 'client0', 'client1', 'client2' takes \d+ bytes"),
        (["devices.overrides.client1={memory: 1 KiB}"], r"devices: Part 1 and Part 3 on 'client1' takes .* memory is 1024 bytes"),
        (["devices.edge.memory=1 KiB"], r"devices: 2 copies of Part 2 on 'edge0' (.|\n)*devices: 1 copy of Part 2 on 'edge1'"),
        ([protocol("splitfed_v1"), "devices.cloud.memory=1 KiB"], "devices: 3 copies of Part 2 on 'cloud'"),
        ([protocol("fedavg"), "devices.client.memory=1 KiB"], "devices: the whole model on 'client0', 'client1', 'client2'"),
        ([protocol("centralized"), "devices.cloud.memory=1 KiB"], "devices: the whole model on 'cloud'"),
        (["protocol={kind: alignfed}", "devices.cloud.memory=1 KiB"], "devices: alignment on 8 texts on 'cloud' takes"),
        (["protocol={kind: alignfed, tiers: edges, clients: split}", "devices.edge.memory=1 KiB"],
         "devices: 2 copies of Part 2 and alignment on 8 texts on 'edge0'"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told_before_the_run(changes: list[str], what: str) -> None:
    from small_runs import loaded

    with pytest.raises(ScenarioError, match=what):
        check(loaded(*changes))
    many = "topology={kind: tree, clients: 60, edges: 2, access: {up: 1e6}, backhaul: {up: 1e6}}"
    with pytest.raises(ScenarioError, match=r"and \d+ more|'edge|'cloud'") as caught:
        check(
            loaded(
                many,
                "task.train_size=200",
                *[c for c in changes if "overrides" not in c],
                "devices.client.memory=1 KiB",
            )
        )
    assert len(caught.value.faults) <= 3
