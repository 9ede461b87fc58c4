"""SflLLM: its joint batch against unsplit training, who sends what to whom, and its delay in closed form."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from small_runs import drawn_batches, framed, known, loaded, played, transfers, work, world_of

from elsa_sim.base.errors import ScenarioError
from elsa_sim.learning.execution.work import Ref
from elsa_sim.learning.tasks.data import joined
from elsa_sim.learning.training.optim import Optimizer, update
from elsa_sim.learning.training.reference import learn
from elsa_sim.run import checks
from elsa_sim.world.world import World

LR = 5.0e-3
ONE_STEP = f"protocol={{kind: sflllm, rounds: 1, local_steps: 1, lr: {LR}}}"
#: A main server and a federated one, with an uplink from each of three clients to both.
TWO_SERVERS = (
    "topology={kind: tree, clients: 3, edges: 1, access: {up: 10 Mbit/s, latency: 3 ms}, backhaul: {up: 1 Gbit/s}}",
    "wireless={stations: [cloud, edge0], association: all, subchannels: 7, bandwidth: 200 kHz, downlink: 20 Mbit/s, "
    "nodes: {edge0: {subchannels: 5}}}",
)


def two(protocol: str) -> tuple[str, ...]:
    return (f"protocol={{kind: sflllm, federated: edge0, {protocol}}}", *TWO_SERVERS)


def adapters_of(*changes: str) -> tuple[World, list[dict[str, torch.Tensor]]]:
    seen: list[dict[str, torch.Tensor]] = []
    evaluate = World.evaluate

    def kept(world: World, theta: Ref, *, round: int) -> bool:
        seen.append(dict(theta.value))
        return evaluate(world, theta, round=round)

    with patch.object(World, "evaluate", kept):
        _, world = world_of(*changes)
    return world, seen


def test_a_joint_step_is_a_step_on_the_batch_of_all_clients() -> None:
    """After one step, the server's adapters are those of unsplit training on the joined batch; clients' are their mean."""
    with drawn_batches() as drawn:
        world, (start, after) = adapters_of(ONE_STEP)
    backbone, model = world.model.backbone, world.model
    batches = [drawn[client.samples.tobytes()][0] for client in world.clients]
    batch = joined(batches)
    tokens, labels = torch.from_numpy(batch.tokens), torch.from_numpy(batch.labels)
    _, _, gradients = learn(backbone, model.whole, start, tokens, batch.lengths, tokens, labels)
    unsplit, _ = update(start, gradients, None, Optimizer(LR, 0.0, 0.0), None)
    bottom, rest = world.split_clients[0].parts
    for name in backbone.names(rest):
        torch.testing.assert_close(after[name], unsplit[name], rtol=1e-5, atol=1e-7)
    weights = np.array([client.weight for client in world.clients])
    means = {name: torch.zeros_like(after[name]) for name in backbone.names(bottom)}
    for number, weight in enumerate(weights / weights.sum()):  # each client's gradient is its share of the joint one
        start_row = sum(len(each.lengths) for each in batches[:number])
        rows = slice(start_row, start_row + len(batches[number].lengths))
        _, _, own = learn(backbone, model.whole, start, tokens[rows], batch.lengths[rows], tokens[rows], labels[rows])
        share = len(batches[number].lengths) / len(batch.lengths)
        scaled = {name: gradient * share for name, gradient in own.items()}
        mine, _ = update(start, scaled, None, Optimizer(LR, 0.0, 0.0), None)
        for name in means:
            means[name] += float(weight) * mine[name]
    for name, mean in means.items():
        torch.testing.assert_close(after[name], mean, rtol=1e-4, atol=1e-6)


def test_labels_cross_and_the_last_layers_do_not() -> None:
    """A message up: a float32 row per token, a length and a class per text of 4 bytes each, and their framing."""
    results, world = world_of(*two("rounds: 1, local_steps: 2"))
    up = transfers(results.events, "activation")
    computed = work(results.events)
    assert set(up["peer"].astype(str)) == {"cloud"}
    down = transfers(results.events, "gradient")
    assert sorted(up["bytes"] - 4 * 2 * 4) == sorted(down["bytes"])
    handed = transfers(results.events, "adapters")
    assert set(handed["node"].astype(str)) | set(handed["peer"].astype(str)) == {
        "edge0", "client0", "client1", "client2"}  # fmt: skip
    own = sum(world.model.backbone.specs[n].nbytes for n in world.model.names(world.split_clients[0].own))
    assert set(handed["bytes"]) == {framed(own)}
    learned = computed[computed["detail"] == "part2.learn"]
    assert learned["node"].astype(str).tolist() == ["cloud"] * 2  # one step of the server, whoever many clients
    assert computed[computed["kind"] == "aggregation"]["node"].astype(str).tolist() == ["edge0"]


def test_the_main_server_never_waits_for_who_is_gone() -> None:
    """A client that leaves in mid-round is missing from the joint batches that follow; the others end the round."""
    base = known(f"protocol={{kind: sflllm, rounds: 2, local_steps: 3, lr: {LR}}}")
    gone = base.summary["sim_time_s"] * 0.3
    change = f"devices.overrides.client1={{downtimes: [{{kind: crash, at: {gone}, duration: 1000}}]}}"
    left = played(f"protocol={{kind: sflllm, rounds: 2, local_steps: 3, lr: {LR}}}", change)
    assert left.summary["invariants"] == "hold"
    assert left.summary["rounds"] == 2
    rows = left.events[left.events["detail"] == "part2.learn"]
    sizes = rows["flops"].tolist()
    assert len(sizes) == 6
    assert sizes[-1] < 0.8 * sizes[0]
    assert "client1" in set(left.events[left.events["kind"] == "fault"]["node"].astype(str))


def test_free_riders_are_not_waited_for() -> None:
    rows = played(f"protocol={{kind: sflllm, rounds: 1, local_steps: 2, lr: {LR}}}",
                  "unreliable={share: 0.4, kinds: [free_rider]}").events  # fmt: skip
    sent = transfers(rows, "activation")["node"].astype(str)
    assert len(set(sent)) == 2
    assert len(sent) == 4


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ((*two("rounds: 1"), "protocol.federated=edge7"), "there is no server 'edge7'; valid: cloud, edge0"),
        ((*two("rounds: 1"), "split={policy: fixed, p: 1, q: 1}"), "there is no Part 3; leave q out"),
        ((*two("rounds: 1"), "split={policy: fixed, p: 3}"), "valid: p \\+ q <= 2"),
        ((*two("rounds: 1"), "split={policy: score}",
          "split.weights={memory: 0, rate: 0}", "devices.overrides.client1={speed: 0.1 GFLOP/s}"), "or give all clients one cut"),
    ],
)  # fmt: skip
def test_what_cannot_be(changes: tuple[str, ...], said: str) -> None:
    with pytest.raises(ScenarioError, match=said):
        checks.check(loaded(*changes))


def test_who_waits_for_whom() -> None:
    """With a barrier nobody begins a pass before all have ended the one before; without, the run is no longer."""
    slow = "devices.overrides.client1={slowdown: 4}"
    together, alone = (
        played(*two(f"rounds: 1, local_steps: 3, barrier: {barrier}"), slow) for barrier in ("true", "false")
    )

    def passes(results: Any, which: str) -> Any:
        rows = work(results.events)
        return rows[(rows["detail"] == which) & rows["node"].str.startswith("client")]

    forward, backward = passes(together, "part1.forward"), passes(together, "part1.backward")
    for step in (1, 2):
        ended = backward[backward["step"] == step]["t_end_s"].max()
        begun = forward[forward["step"] == step + 1]["t_start_s"]
        np.testing.assert_allclose(begun, ended, rtol=1e-12)
    assert alone.summary["sim_time_s"] < together.summary["sim_time_s"]
    assert alone.rounds["loss"].tolist() == together.rounds["loss"].tolist()
