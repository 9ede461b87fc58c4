"""The verbs: what crosses the wire is weighed, what is computed takes its time, and a step is what it is on paper."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest
from small_runs import HIDDEN, drawn_batches, framed, known, loaded, played, transfers, work, world_of

from elsa_sim.base.errors import Divergence, RunFailed
from elsa_sim.learning.tasks.data import Batch
from elsa_sim.results.metrics import Results
from elsa_sim.run.simulation import run
from elsa_sim.world.progress import Observer

#: Bytes of the adapters of a layer (rank 2 on query and value) and of the head (3 classes).
LAYER = 4 * 2 * (2 * HIDDEN + HIDDEN * 2)
HEAD = 4 * (3 * HIDDEN + 3)
ONE = ("topology={kind: tree, clients: 1, edges: 1, access: {up: 10 Mbit/s, down: 40 Mbit/s, latency: 10 ms}, "
       "backhaul: {up: 200 Mbit/s, down: 100 Mbit/s, latency: 5 ms}}")  # fmt: skip
STEP = "protocol={kind: elsa, rounds: 1, edge_rounds: 1, local_steps: 1}"


@cache
def one_step(*changes: str) -> tuple[Results, Batch]:
    """One client's only step, and its batch."""
    with drawn_batches() as drawn:
        results = played(STEP, ONE, *changes)
    (batch,) = next(iter(drawn.values()))
    return results, batch


def sizes(events: pd.DataFrame, kind: str) -> list[int]:
    return [int(size) for size in transfers(events, kind)["bytes"]]


def test_each_crossing_of_a_step_is_a_transfer_and_is_weighed() -> None:
    results, batch = one_step()
    states = int(batch.lengths.sum()) * HIDDEN * 4
    assert len(set(batch.lengths.tolist())) > 1  # no padding crosses
    assert sizes(results.events, "activation") == [framed(states + 4 * len(batch.lengths)), framed(states)]
    assert sizes(results.events, "gradient") == [framed(states), framed(states)]
    everything, own = framed(3 * LAYER + HEAD), framed(2 * LAYER + HEAD)
    assert sizes(results.events, "adapters") == [everything, own, own, everything]
    ways = [(row.node, row.peer) for row in transfers(results.events).itertuples() if row.detail != "adapters"]
    up, down = ("client0", "edge0"), ("edge0", "client0")
    assert ways == [up, down, up, down]


def test_the_framing_is_the_scenarios() -> None:
    """66 bytes for each 1,448 of payload begun; none if so stated; the same of every transport."""
    plain, _ = one_step()
    bare, _ = one_step("network.transport={kind: tcp, framing: 0 B}")
    assert transfers(plain.events)["bytes"].tolist() == [framed(size) for size in transfers(bare.events)["bytes"]]
    fluid, _ = one_step("network.transport=fluid")
    assert transfers(plain.events)["bytes"].tolist() == transfers(fluid.events)["bytes"].tolist()


def matrix_products(tokens: int, width: int) -> int:
    """FLOPs of the forward pass of a layer on padded tokens: projections, adapters, attention, feed-forward."""
    adapters = 2 * (2 * HIDDEN * 2 + 2 * 2 * HIDDEN)
    return tokens * (4 * 2 * HIDDEN**2 + adapters + 2 * 2 * HIDDEN * width + 2 * 2 * HIDDEN * 48)


def test_flops_of_a_forward_pass() -> None:
    results, batch = one_step()
    rows = work(results.events).set_index("detail")
    tokens, width = batch.tokens.size, batch.tokens.shape[1]
    assert rows.loc["part1.forward", "flops"] == matrix_products(tokens, width)
    assert rows.loc["part2.forward", "flops"] == matrix_products(tokens, width)


def test_the_timeline_of_a_step_is_what_it_is_on_paper() -> None:
    results, batch = one_step()
    states = int(batch.lengths.sum()) * HIDDEN * 4
    everything, own = framed(3 * LAYER + HEAD), framed(2 * LAYER + HEAD)
    flops = work(results.events).set_index("detail")["flops"]

    def access_up(size: int) -> float:
        return 0.010 + 8 * size / 10e6

    def access_down(size: int) -> float:
        return 0.010 + 8 * size / 40e6

    expected = [
        ("adapters", "cloud", 0.005 + 8 * everything / 100e6),
        ("adapters", "edge0", access_down(own)),
        ("part1.forward", "client0", flops["part1.forward"] / 2e9),
        ("activation", "client0", access_up(framed(states + 4 * len(batch.lengths)))),
        ("part2.forward", "edge0", flops["part2.forward"] / 20e9),
        ("activation", "edge0", access_down(framed(states))),
        ("part3.learn", "client0", flops["part3.learn"] / 2e9),
        ("gradient", "client0", access_up(framed(states))),
        ("part2.backward", "edge0", flops["part2.backward"] / 20e9),
        ("gradient", "edge0", access_down(framed(states))),
        ("part1.backward", "client0", flops["part1.backward"] / 2e9),
        ("adapters", "client0", access_up(own)),
        ("aggregate", "edge0", 2 * (3 * LAYER + HEAD) / 4 / 20e9),
        ("adapters", "edge0", 0.005 + 8 * everything / 200e6),
        ("aggregate", "cloud", 2 * (3 * LAYER + HEAD) / 4 / 10e12),
    ]
    rows = work(results.events)
    assert list(zip(rows["detail"], rows["node"], strict=True)) == [(detail, node) for detail, node, _ in expected]
    ends = np.cumsum([duration for _, _, duration in expected])
    np.testing.assert_allclose(rows["t_end_s"], ends, rtol=1e-9)
    np.testing.assert_allclose(rows["t_start_s"], np.concatenate([[0.0], ends[:-1]]), rtol=1e-9, atol=1e-15)
    assert results.summary["sim_time_s"] == pytest.approx(ends[-1], rel=1e-9)


def test_launch_cost_and_slowdown_lengthen_work() -> None:
    plain, _ = one_step()
    slow, _ = one_step("devices.client={speed: 2 GFLOP/s, launch: 3 ms, slowdown: 4}")
    for a, b in zip(work(plain.events).itertuples(), work(slow.events).itertuples(), strict=True):
        took, takes = a.t_end_s - a.t_start_s, b.t_end_s - b.t_start_s
        on_client = a.node == "client0" and a.kind == "compute"
        assert takes == pytest.approx(0.003 + 4 * took if on_client else took, rel=1e-6)


def test_energy_of_work_and_of_messages() -> None:
    """Defaults: a client works at 6 W and sends at 1 W, an edge server receives at 5 W."""
    results, _ = one_step()
    rows = work(results.events)
    forward = rows[rows["detail"] == "part1.forward"].iloc[0]
    assert forward["energy_j"] == pytest.approx(6.0 * (forward["t_end_s"] - forward["t_start_s"]))
    message = rows[rows["detail"] == "activation"].iloc[0]
    took = message["t_end_s"] - message["t_start_s"] - 0.01  # while it is on its way, nobody sends
    assert message["energy_j"] == pytest.approx(6.0 * took)
    assert message["peer_energy_j"] == pytest.approx(5.0 * took)
    idle = results.events[results.events["kind"] == "idle"].set_index("node")["energy_j"]
    busy = rows[(rows["node"] == "client0") & (rows["kind"] == "compute")]
    asleep = results.summary["sim_time_s"] - (busy["t_end_s"] - busy["t_start_s"]).sum()
    assert idle["client0"] == pytest.approx(2.0 * asleep)
    assert results.summary["energy_j"]["total"] == pytest.approx(results.events["energy_j"].sum())


def test_a_codec_that_halves_the_buffers_shortens_the_time() -> None:
    plain, batch = one_step()
    half, _ = one_step("codec={activation: [float16], gradient: [float16]}")
    states = int(batch.lengths.sum()) * HIDDEN * 2
    assert sizes(half.events, "activation") == [framed(states + 4 * len(batch.lengths)), framed(states)]
    assert sizes(half.events, "gradient") == [framed(states)] * 2
    rows = work(half.events)
    casts = rows[rows["detail"].str.endswith("code")]
    assert len(casts) == 2 * 4
    spent = (casts["t_end_s"] - casts["t_start_s"]).sum()
    before = [framed(2 * states + 4 * len(batch.lengths)), *[framed(2 * states)] * 3]
    after = [framed(states + 4 * len(batch.lengths)), *[framed(states)] * 3]
    saved = sum((x - y) * 8 / rate for x, y, rate in zip(before, after, (10e6, 40e6, 10e6, 40e6), strict=True))
    assert half.summary["sim_time_s"] == pytest.approx(plain.summary["sim_time_s"] - saved + spent, rel=1e-9)
    assert half.summary["sim_time_s"] < plain.summary["sim_time_s"]


def test_codec_work_is_charged_to_both_ends() -> None:
    results, _ = one_step("codec={activation: [{kind: sketch, columns: 8}]}")
    rows = work(results.events)
    rows = rows[rows["detail"].str.startswith(("part", "activation"))]
    assert list(zip(rows["detail"], rows["node"], strict=True))[:8] == [
        ("part1.forward", "client0"), ("activation.encode", "client0"), ("activation", "client0"),
        ("activation.decode", "edge0"), ("part2.forward", "edge0"), ("activation.encode", "edge0"),
        ("activation", "edge0"), ("activation.decode", "client0"),
    ]  # fmt: skip
    coding = rows[rows["detail"].str.endswith("code")]
    assert (coding["flops"] > 0).all()
    took = coding["t_end_s"] - coding["t_start_s"]
    np.testing.assert_allclose(took, coding["flops"] / np.where(coding["node"] == "client0", 2e9, 20e9), rtol=1e-6)


def test_adapters_go_through_their_codec() -> None:
    plain, _ = one_step()
    half, _ = one_step("codec={adapters: [float16]}")
    everything, own = 3 * LAYER + HEAD, 2 * LAYER + HEAD
    assert sizes(plain.events, "adapters") == [framed(n) for n in (everything, own, own, everything)]
    assert sizes(half.events, "adapters") == [framed(n // 2) for n in (everything, own, own, everything)]
    assert half.summary["loss"] != plain.summary["loss"]


def test_messages_that_share_a_link_share_its_bandwidth() -> None:
    """Two clients behind one edge server send over links of their own; both download over the backhaul at once."""
    change = "topology={kind: tree, clients: 2, edges: 1, access: {up: 10 Mbit/s}, backhaul: {up: 1 Mbit/s}}"
    results = known("protocol={kind: fedavg, rounds: 1, local_steps: 1}", change)
    everything = framed(3 * LAYER + HEAD)
    first = transfers(results.events).iloc[:2]
    assert first["route"].tolist() == ["cloud>edge0>client0", "cloud>edge0>client1"]
    np.testing.assert_allclose(first["t_end_s"], 2 * 8 * everything / 1e6, rtol=1e-9)


def test_work_waits_for_its_device() -> None:
    """Two clients ask one slow edge server at nearly one time: one thing per slot."""
    change = "topology={kind: tree, clients: 2, edges: 1, access: {up: 10 Mbit/s}, backhaul: {up: 1 Mbit/s}}"
    for slots in (1, 2):
        results = known("protocol={kind: elsa, rounds: 1, edge_rounds: 1, local_steps: 1}", change,
                        f"devices.edge={{speed: 10 MFLOP/s, slots: {slots}}}")  # fmt: skip
        rows = work(results.events)
        rows = rows[(rows["node"] == "edge0") & rows["detail"].str.startswith("part2")].sort_values("t_start_s")
        overlap = (rows["t_start_s"].to_numpy()[1:] < rows["t_end_s"].to_numpy()[:-1] - 1e-12).any()
        assert overlap == (slots == 2)


def test_the_edge_server_of_a_client_is_the_nearest() -> None:
    _, world = world_of("execution.mode=timing")
    assert {client.name: client.edge for client in world.clients} == {
        "client0": "edge0", "client1": "edge1", "client2": "edge0",
    }  # fmt: skip
    assert [client.name for client in world.members("edge0")] == ["client0", "client2"]
    assert sum(client.weight for client in world.clients) == 90 == len(world.pool.samples)


def test_a_straggler_holds_up_its_round_only() -> None:
    plain = known()
    late = known("devices.overrides.client1={slowdown: 50}")
    rows = work(late.events)
    own = rows[(rows["node"] == "client1") & (rows["kind"] == "compute")]
    others = rows[(rows["node"] == "client0") & (rows["kind"] == "compute")]
    np.testing.assert_allclose(
        (own["t_end_s"] - own["t_start_s"]).sum() / own["flops"].sum(),
        50 * (others["t_end_s"] - others["t_start_s"]).sum() / others["flops"].sum(),
    )
    assert late.summary["sim_time_s"] > plain.summary["sim_time_s"]
    assert late.rounds["loss"].tolist() == plain.rounds["loss"].tolist()  # synchronous: time changes, results do not


class Steps(Observer):
    def __init__(self) -> None:
        self.seen: list[tuple[float, int, int]] = []
        self.rounds: list[int] = []

    def progressed(self, now: float, done: int, total: int) -> None:
        self.seen.append((now, done, total))

    def evaluated(self, now: float, round: int, metrics: object) -> None:
        self.rounds.append(round)


def test_observers_are_told() -> None:
    observer = Steps()
    run(loaded("execution.mode=timing"), observer=observer)
    assert [done for _, done, _ in observer.seen] == list(range(1, 25))
    assert {total for _, _, total in observer.seen} == {24}
    assert [now for now, _, _ in observer.seen] == sorted(now for now, _, _ in observer.seen)
    assert observer.rounds == [0, 1, 2]


def test_training_that_diverges_fails_the_run() -> None:
    with pytest.raises(Divergence, match=r"loss is nan after round 1: training diverged; lower protocol\.lr"):
        played("protocol.lr=1e30")


def test_a_network_that_stalls_for_good_fails_the_run() -> None:
    with pytest.raises(RunFailed, match=r"nothing happens any more.*not ended; under way: transfer"):
        played("topology.access={up: 10 Mbit/s, profile: [[0, 1 Mbit/s], [0.05 s, 0]]}", "execution.mode=timing")


def test_a_stalled_run_may_end_by_the_clock() -> None:
    results = played("topology.access={up: 10 Mbit/s, profile: [[0, 1 Mbit/s], [0.05 s, 0]]}", "stop.sim_time=9 s",
                     "execution.mode=timing")  # fmt: skip
    assert results.summary["sim_time_s"] == 9.0
    assert results.summary["rounds"] == 0
    assert "in_flight" in set(transfers(results.events)["status"])
