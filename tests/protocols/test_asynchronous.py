"""Asynchronous protocols on timelines that can be worked out by hand, and under clients that come and go."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
import torch
from protocol_laws import TIMING, adapters_of
from small_runs import played, transfers, work

from elsa_sim.protocols.alignfed import fair
from elsa_sim.protocols.versions import ClientUpdate, Server

#: All clients alike, with a wire and a server that cost next to nothing.
ALIKE = ("topology={kind: star, clients: 3, access: {up: 1 Gbit/s, latency: 0 s}}", "network.transport={kind: fluid, framing: 0 B}",
         "devices.cloud={speed: 1000 TFLOP/s, launch: 0 s}")  # fmt: skip


def updates(results: Any) -> pd.DataFrame:
    """The updates that servers received, with their facts as columns."""
    rows = results.events[(results.events["kind"] == "update") & (results.events["detail"] == "update")]
    facts = pd.DataFrame([json.loads(text or "{}") for text in rows["metrics"]], index=rows.index)
    return rows.drop(columns="metrics").join(facts).reset_index(drop=True)


@pytest.mark.parametrize("kind", ["fedbuff", "alignfed"])
def test_a_buffer_for_everybody_is_fedavg(kind: str) -> None:
    """Clients that are alike arrive together, so that every version is a synchronous round."""
    alike = ("partition={kind: quantity, alpha: 5.0}", "task.max_length=4", *ALIKE)  # all batches cost the same
    _, expected = adapters_of("protocol={kind: fedavg, rounds: 3, local_steps: 2, lr: 5.0e-3}", *alike)
    more = ", fairness: 0, alignment: false, cap: 1.0" if kind == "alignfed" else ""
    protocol = f"protocol={{kind: {kind}, rounds: 3, local_steps: 2, lr: 5.0e-3, buffer: 3{more}}}"
    results, found = adapters_of(protocol, *alike)
    for one, two in zip(expected, found, strict=True):
        for name in one:
            torch.testing.assert_close(one[name], two[name], rtol=0, atol=1e-6)
    assert (updates(results)["staleness"] == 0).all()


def scripted(protocol: str, *changes: str) -> Any:
    """Five clients that need 1, 1, 2, 3 and 7 s for a local step, on a wire that costs next to nothing."""
    slow = {f"client{i}": {"launch": s} for i, s in enumerate((1, 1, 2, 3, 7))}
    return played(f"protocol={{{protocol}, local_steps: 1}}", TIMING, "topology.clients=5", *ALIKE[1:],
                  "topology={kind: star, clients: 5, access: {up: 1 Gbit/s, latency: 0 s}}",
                  "devices.client={speed: 1000 TFLOP/s, launch: 1 s}", "task.max_length=4",
                  f"devices.overrides={json.dumps(slow)}", *changes)  # fmt: skip


def test_a_timeline_of_five_clients_by_hand() -> None:
    """B = 2. At 1 s clients 0 and 1 make version 1. At 2 s client 2, who began from version 0, and client 0 make version 2
    while client 1 waits; at 3 s client 3 (from version 0) joins it for version 3, and so on."""
    results = scripted("kind: fedbuff, rounds: 5, buffer: 2")
    found = updates(results)
    told = [
        (round(row.t_start_s), row.peer, row.base, row.staleness) for row in found.itertuples() if row.status == "ok"
    ]
    assert told == [
        (1, "client0", 0, 0), (1, "client1", 0, 0),
        (2, "client2", 0, 1), (2, "client0", 1, 0),
        (2, "client1", 1, 1), (3, "client3", 0, 2),
        (3, "client0", 2, 1), (3, "client1", 2, 1),
        (4, "client2", 1, 3), (4, "client0", 4, 0),
    ]  # fmt: skip
    assert results.rounds["sim_time_s"].tolist() == pytest.approx([0, 1, 2, 3, 3, 4], abs=1e-3)
    assert found[found["status"] == "in_flight"]["peer"].tolist() in ([], ["client1"])
    merged = found[found["status"] == "ok"]
    share = merged["samples"] / merged["samples"].groupby(merged.index // 2).transform("sum")
    assert merged["weight"].tolist() == pytest.approx((share * (1 + merged["staleness"]) ** -0.5).tolist())


def test_fair_weights_on_the_timeline_of_five_clients() -> None:
    """(1 + staleness)^-a share^-b of the merges above, by hand: shares within a merge are as the updates counted so far."""
    fair = "kind: alignfed, rounds: 5, buffer: 2, alignment: false, cap: 1.0"
    for options, step, expected in (
        ("decay: 0.5, fairness: 0.5", 1.0, [(1, 1), ((2 * 1) ** -0.5, (1 * 2) ** -0.5), ((2 * 2) ** -0.5, (3 * 1) ** -0.5),
                                       ((2 * 3) ** -0.5, (2 * 3) ** -0.5), ((4 * 2) ** -0.5, (1 * 4) ** -0.5)]),
        ("decay: 0, fairness: 1, server_lr: 0.5", 0.5, [(1, 1), (1, 1 / 2), (1 / 2, 1), (1 / 3, 1 / 3), (1 / 2, 1 / 4)]),
    ):  # fmt: skip
        found = updates(scripted(f"{fair}, {options}", "partition=iid", "task.train_size=108"))
        merged = found[found["status"] == "ok"]
        assert set(merged["samples"]) == {20.0}
        weights = [step * each / sum(pair) for pair in expected for each in pair]
        assert merged["weight"].tolist() == pytest.approx(weights)


@pytest.mark.parametrize(("decay", "fairness", "power"), [(0, 0, 1), (0, 0.5, 0.5), (0, 1, 0), (0.5, 0.5, 1), (0.5, 0, 1.5),
                                                           (0.5, 1.5, 0)])  # fmt: skip
def test_what_a_sample_counts_goes_with_a_power_of_its_clients_speed(
    decay: float, fairness: float, power: float
) -> None:
    """A client heard r times as often, whose updates are an r-th as stale, counts r^(1 - b + a) times as much."""
    rates, rng = np.arange(1, 11), np.random.default_rng(0)
    counts, total = Counter(dict.fromkeys(map(str, rates), 1)), Counter[str]()
    for _ in range(2000):
        group = [update(str(r), 10, round(20 / r) - 1) for r in rng.choice(rates, 20, p=rates / rates.sum())]
        counts.update(each.member for each in group)
        weights = fair(group, counts, decay, fairness, 1.0)
        for each, weight in zip(group, weights, strict=True):
            total[each.member] += weight  # type: ignore[assignment]
    slope = np.polyfit(np.log(rates), np.log([total[str(r)] for r in rates]), 1)[0]
    assert slope == pytest.approx(power, abs=0.15)


def test_grouping_is_for_alignment() -> None:
    """Merging is linear in the changes: grouped or not, it is the same but for what alignment makes of them."""
    slow = {f"client{i}": {"launch": s} for i, s in enumerate((1, 2, 3, 5, 9))}

    def found(more: str) -> tuple[Any, dict[str, torch.Tensor]]:
        protocol = (
            f"protocol={{kind: alignfed, rounds: 6, buffer: 3, local_steps: 2, lr: 2.0e-2, calibration: 4, {more}}}"
        )
        results, adapters = adapters_of(
            protocol,
            *ALIKE,
            "topology.clients=5",
            f"devices.overrides={json.dumps(slow)}",
            "task.public=8",
            "task.max_length=4",
        )
        assert updates(results)["staleness"].max() >= 2
        return results, adapters[-1]

    def apart(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> float:
        return max(float((one[name] - two[name]).abs().max()) for name in one)

    (_, expected), (_, plain) = (found(f"alignment: false, grouping: {grouping}") for grouping in ("true", "false"))
    assert apart(expected, plain) < 1e-6
    (grouped, by_version), (pooled, by_oldest) = (found(f"grouping: {grouping}") for grouping in ("true", "false"))
    assert apart(by_version, by_oldest) > 1e-5
    for results, several in ((grouped, True), (pooled, False)):
        rows = results.events[(results.events["kind"] == "update") & (results.events["detail"] != "update")]
        assert bool(rows.groupby("round").size().max() > 1) == several  # groups that were aligned in a merge


def update(member: str, weight: float, staleness: int = 0) -> ClientUpdate:
    return ClientUpdate(0, member, 0, None, None, weight, 0, staleness)  # type: ignore[arg-type]


def test_fair_weights_by_hand() -> None:
    counts = {"a": 6, "b": 3, "c": 1}
    group = [update("a", 10), update("b", 10), update("c", 20)]
    assert fair(group, counts, 0.5, 0.0, 1.0) == pytest.approx([0.25, 0.25, 0.5])
    raw = [10 / 0.6, 10 / 0.3, 20 / 0.1]
    assert fair(group, counts, 0.5, 1.0, 1.0) == pytest.approx([each / sum(raw) for each in raw])
    assert fair(group, counts, 0.5, 1.0, 0.5) == pytest.approx([0.5 * 1 / 3, 0.5 * 2 / 3, 0.5])
    assert fair(group, counts, 0.5, 1.0, 0.1) == pytest.approx([1 / 3] * 3)
    assert fair([update("a", 10, 3), update("a", 10)], counts, 1.0, 0.7, 1.0) == pytest.approx([0.2, 0.8])
    assert fair([update("c", 5, 9)], counts, 0.5, 0.5, 0.4) == [1.0]


def test_an_update_sent_twice_counts_once() -> None:
    found = updates(scripted("kind: fedbuff, rounds: 6, buffer: 2, resend: 1.0"))
    again = found[found["status"] == "aborted"]
    assert len(again) >= 6
    assert again["reason"].eq("it had been counted already").all()
    counted = found[found["status"] == "ok"]
    assert not counted["ticket"].duplicated().any()
    assert set(counted["ticket"]) & set(again["ticket"])


def test_updates_beyond_the_bound_are_rejected_or_waited_for() -> None:
    rejecting = updates(scripted("kind: fedasync, rounds: 20, staleness: {bound: 3}"))
    assert (rejecting[rejecting["status"] == "ok"]["staleness"] <= 3).all()
    assert "versions old; at most 3 are allowed" in rejecting[rejecting["status"] == "aborted"]["reason"].iloc[0]
    free = updates(scripted("kind: fedasync, rounds: 20"))
    assert free["staleness"].max() > 3


def test_who_is_ahead_waits_for_those_behind() -> None:
    """Bound 3: at 2 s there are versions 1 to 3 and client 4 has version 0, so nobody begins again before it has arrived."""
    waiting = updates(scripted("kind: fedasync, rounds: 20, staleness: {bound: 3, beyond: wait}"))
    assert waiting["status"].eq("ok").all()
    told = [(round(row.t_start_s), round(row.t_end_s), row.peer, row.base) for row in waiting.itertuples()]
    assert told[:9] == [
        (1, 1, "client0", 0), (1, 1, "client1", 0), (2, 2, "client2", 0),
        (2, 7, "client0", 2), (2, 7, "client1", 2), (3, 7, "client3", 0), (4, 7, "client2", 3), (7, 7, "client4", 0),
        (8, 8, "client0", 4),
    ]  # fmt: skip
    assert waiting["staleness"].max() == 3


@pytest.mark.parametrize("kind", ["fedbuff, buffer: 1", "alignfed, buffer: 1, fairness: 0, alignment: false, cap: 1.0"])
def test_a_bound_of_zero_is_fedavg(kind: str) -> None:
    """However different the clients are: nobody goes on before everybody has arrived."""
    apart = ("partition={kind: quantity, alpha: 5.0}", "devices.overrides={client1: {slowdown: 3}}",
             "topology={kind: star, clients: 3, access: {up: 10 Mbit/s}}")  # fmt: skip
    expected_run, expected = adapters_of("protocol={kind: fedavg, rounds: 3, local_steps: 2, lr: 5.0e-3}", *apart)
    protocol = f"{{kind: {kind}, rounds: 3, local_steps: 2, lr: 5.0e-3, staleness: {{bound: 0, beyond: wait}}}}"
    run, found = adapters_of(f"protocol={protocol}", *apart)
    for one, two in zip(expected, found, strict=True):
        for name in one:
            torch.testing.assert_close(one[name], two[name], rtol=0, atol=1e-6)
    assert run.summary["sim_time_s"] == pytest.approx(expected_run.summary["sim_time_s"], rel=1e-2)


def test_nobody_waits_for_those_who_will_not_come() -> None:
    """A client that has gone away with an old version, and an edge server whose clients are gone for good."""
    bound = "staleness: {bound: 1, beyond: wait}"
    away = scripted(f"kind: fedasync, rounds: 20, {bound}",
                    "devices.overrides.client4={launch: 7 s, downtimes: [{kind: crash, at: 3 s, duration: 1000 s}]}")  # fmt: skip
    assert away.summary["sim_time_s"] < 100
    gone = {f"client{i}": {"downtimes": [{"kind": "crash", "at": "1 ms"}]} for i in (0, 2)}
    edges = played(f"protocol={{kind: fedasync, rounds: 12, local_steps: 1, tiers: edges, {bound}}}", TIMING,
                   "topology.clients=4", f"devices.overrides={json.dumps(gone)}")  # fmt: skip
    assert set(updates(edges)["peer"]) == {"edge1", "client1", "client3"}
    assert edges.summary["rounds"] == 12


def test_a_timer_merges_what_is_there() -> None:
    never = scripted("kind: fedbuff, rounds: 3, buffer: 5")
    timed = scripted("kind: fedbuff, rounds: 3, buffer: 5, timer: 2 s")
    assert timed.rounds["sim_time_s"].tolist() == pytest.approx([0, 2, 3, 5], abs=1e-3)  # five have come by 3 s
    assert timed.summary["sim_time_s"] < never.summary["sim_time_s"]


@pytest.mark.parametrize(("on_return", "old"), [("restart", False), ("resume", True)])
def test_a_client_that_crashes_comes_back(on_return: str, old: bool) -> None:
    results = scripted(f"kind: fedasync, rounds: 60, on_return: {on_return}",
                       "devices.overrides.client4={launch: 7 s, downtimes: [{kind: crash, at: 3 s, duration: 7 s}]}")  # fmt: skip
    found = updates(results)
    first = found[found["peer"] == "client4"].iloc[0]
    assert first["t_end_s"] == pytest.approx(17.0, abs=1e-2)
    assert (first["base"] == 0) == old
    missing = results.events[(results.events["kind"] == "fault") & (results.events["detail"] == "missing")]
    assert "client4 went away" in missing["metrics"].iloc[0]


def test_versions_are_kept_only_for_those_in_flight() -> None:
    """Over 10,000 updates, a server never holds more versions than members in flight and updates that wait."""
    most = [0]
    hand_out = Server.hand_out

    def watched(self: Server, member: str) -> int:
        ticket = hand_out(self, member)
        most[0] = max(most[0], len(self.versions))
        assert len(self.versions) <= len(self._handed) + len(self.buffer) + 1
        assert len(self._handed) <= 5
        return ticket

    with patch.object(Server, "hand_out", watched):
        results = scripted("kind: fedasync, rounds: 10, evaluate_every: 1000")
    assert len(updates(results)) >= 10_000
    assert 2 <= most[0] <= 6


def test_edge_servers_merge_for_their_clients_and_report_to_the_cloud() -> None:
    results = played(
        "protocol={kind: fedbuff, rounds: 2, local_steps: 1, tiers: edges, edge_merges: 2, buffer: 1}", TIMING
    )
    found = updates(results)
    assert set(found["node"]) == {"cloud", "edge0", "edge1"}
    assert set(found[found["node"] == "cloud"]["peer"]) <= {"edge0", "edge1"}
    sent = transfers(results.events)
    assert set(sent[sent["peer"] == "cloud"]["node"]) <= {"edge0", "edge1"}
    per_report = found[found["node"] == "edge0"].shape[0] / max(1, (found["peer"] == "edge0").sum())
    assert per_report >= 2


def test_split_clients_train_with_their_server() -> None:
    results = played("protocol={kind: fedbuff, rounds: 2, local_steps: 1, clients: split, tiers: edges}", TIMING)
    steps = work(results.events)
    assert set(steps[steps["detail"].str.startswith("part2")]["node"]) <= {"edge0", "edge1"}
    assert len(steps[steps["detail"].str.startswith("part2")])


def test_a_run_that_nobody_can_go_on_with_fails() -> None:
    gone = "devices.client.downtimes=[{kind: crash, at: 1 ms}]"
    results = None
    with pytest.raises(Exception, match="gone for good"):
        results = played("protocol={kind: fedbuff, rounds: 2, local_steps: 1}", TIMING, gone)
    assert results is None
