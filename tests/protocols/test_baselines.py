"""What each baseline is, against closed forms and against the protocols that it equals in a limit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from small_runs import known, loaded, played, transfers

from elsa_sim.base.errors import ScenarioError
from elsa_sim.protocols.splitfed_v2 import SharedTrainer
from elsa_sim.run import checks

#: Two rounds, so that the state of a server matters.
TWO = "rounds: 2, local_steps: 2, lr: 5.0e-3"


def adapters(*changes: str) -> list[dict[str, torch.Tensor]]:
    """The adapters that each evaluation of a run gets, from round 0 on."""
    seen: list[Any] = []
    with patch("elsa_sim.world.world.World.evaluate", autospec=True) as evaluate:
        evaluate.side_effect = lambda world, theta, *, round: bool(seen.append(theta))
        played(*changes)
    return [theta.value for theta in seen]


def far(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    """||a - b||."""
    return sum(float(((a[name] - b[name]) ** 2).sum()) for name in a) ** 0.5


# -- FedProx -----------------------------------------------------------------------------------------------------------


def test_fedprox_without_the_term_is_fedavg() -> None:
    prox, plain = known(f"protocol={{kind: fedprox, {TWO}, mu: 0.0}}"), known(f"protocol={{kind: fedavg, {TWO}}}")
    assert prox.rounds["loss"].tolist() == plain.rounds["loss"].tolist()
    assert prox.summary["timeline_sha256"] == plain.summary["timeline_sha256"]


def test_the_proximal_term_holds_clients_near_where_they_began() -> None:
    moved = []
    for mu in (0.0, 0.3, 3.0, 300.0):
        first, second, *_ = adapters(f"protocol={{kind: fedprox, rounds: 1, local_steps: 12, lr: 5.0e-3, mu: {mu}}}")
        moved.append(far(first, second))
    assert moved == sorted(moved, reverse=True)
    assert moved[-1] < 0.5 * moved[0]


# -- adaptive servers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["fedadam", "fedams"])
def test_the_first_step_of_the_cloud(kind: str) -> None:
    """theta_1 from the clients' mean of the first round, which is FedAvg's."""
    start, mean = (
        {name: t.double() for name, t in theta.items()} for theta in adapters(f"protocol={{kind: fedavg, {TWO}}}")[:2]
    )
    options = "server_lr: 0.02, beta1: 0.8, beta2: 0.9, tau: 0.005"
    after = adapters(f"protocol={{kind: {kind}, {TWO}, {options}}}")[1]
    for name, theta in start.items():
        delta = mean[name] - theta
        v = 0.9 * 0.005**2 + 0.1 * delta**2
        scale = v.sqrt() + 0.005 if kind == "fedadam" else v.clamp(min=0.005**2).sqrt()
        torch.testing.assert_close(after[name].double(), theta + 0.02 * 0.2 * delta / scale, rtol=1e-4, atol=1e-7)


def test_a_server_step_is_work_of_the_cloud() -> None:
    rows = known(f"protocol={{kind: fedams, {TWO}}}").events
    rows = rows[rows["detail"] == "server step"]
    assert rows["node"].astype(str).tolist() == ["cloud", "cloud"]
    assert (rows["kind"] == "aggregation").all()
    assert (rows["flops"] > 0).all()


# -- HierFAVG ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rounds", [1, 3])
def test_hierfavg_learns_what_elsa_without_codecs_learns(rounds: int) -> None:
    """Split training is the same computation as unsplit training, and both aggregate at edges and the cloud."""
    whole, split = (
        known(f"protocol={{kind: {kind}, {TWO}, edge_rounds: {rounds}}}", "topology.clients=5")
        for kind in ("hierfavg", "elsa")
    )
    np.testing.assert_allclose(whole.rounds["loss"], split.rounds["loss"], rtol=1e-4)
    assert set(whole.summary["bytes"]["by_kind"]) == {"adapters"}


def test_hierfavg_with_one_edge_and_one_edge_round_is_fedavg() -> None:
    one = ("topology.edges=1", "partition={kind: quantity, alpha: 1.0}")
    hier, plain = (known(f"protocol={{kind: {kind}, {TWO}{more}}}", *one) for kind, more in
                   (("hierfavg", ", edge_rounds: 1"), ("fedavg", "")))  # fmt: skip
    np.testing.assert_allclose(hier.rounds["loss"], plain.rounds["loss"], rtol=1e-6)
    assert len(transfers(hier.events)) == len(transfers(plain.events)) + 2 * 2


@pytest.mark.parametrize("kind", ["hierfavg", "elsa"])
def test_a_hierarchy_needs_an_edge_server(kind: str) -> None:
    star = "topology={kind: star, clients: 3, access: {up: 10 Mbit/s}}"
    with pytest.raises(ScenarioError, match=f"protocol {kind} needs an edge server"):
        checks.check(loaded(f"protocol={{kind: {kind}}}", star))


# -- SplitFed V2 -------------------------------------------------------------------------------------------------------


@contextmanager
def trainers() -> Iterator[list[SharedTrainer]]:
    """The trainers that are made meanwhile."""
    made: list[SharedTrainer] = []
    begin = SharedTrainer.__init__

    def kept(self: SharedTrainer, *args: Any) -> None:
        begin(self, *args)
        made.append(self)

    with patch.object(SharedTrainer, "__init__", kept):
        yield made


@pytest.mark.parametrize("slots", [1, 4])
def test_no_update_of_the_shared_part_is_lost(slots: int) -> None:
    """With a cloud so slow that messages queue, the one server part makes a step for every batch of every client."""
    with trainers() as made:
        played(f"protocol={{kind: splitfed_v2, {TWO}}}", "topology.clients=4",
               f"devices.cloud={{speed: 50 MFLOP/s, slots: {slots}}}")  # fmt: skip
    (trained,) = [replica.trained for trainer in made for replica in trainer._replicas.values()]
    assert trained.moments is not None
    assert int(trained.moments.value.step) == 2 * 2 * 4


def test_the_server_part_is_not_averaged() -> None:
    """What the cloud holds at the end of a round is what it goes on from, whoever's batch came last."""
    with trainers() as made:
        theta = adapters(f"protocol={{kind: splitfed_v2, {TWO}}}")[-1]
    (replica,) = made[0]._replicas.values()
    for name, tensor in replica.trained.adapters.value.items():
        torch.testing.assert_close(theta[name], tensor)


def test_the_server_part_has_a_learning_rate_of_its_own() -> None:
    """Next to none: Part 2 stays where it began, while the clients' parts move as far as they do otherwise."""
    moved = {}
    for rate in ("", ", server_lr: 1.0e-12"):
        with trainers() as made:
            begin, *_, end = adapters(f"protocol={{kind: splitfed_v2, {TWO}{rate}}}")
        served = set(next(iter(made[0]._replicas.values())).trained.adapters.value)
        far = {name: float((end[name] - begin[name]).abs().max()) for name in end}
        moved[rate] = [max(far[name] for name in far if (name in served) == part) for part in (True, False)]
    (both, ours), (still, alone) = moved.values()
    assert both > 1e-3 > 1e-7 > still
    assert alone == pytest.approx(ours, rel=0.2)


def test_who_comes_first_matters() -> None:
    slow = "devices.overrides.client0={slowdown: 30}"
    kinds = {kind: [known(f"protocol={{kind: {kind}, {TWO}}}", *change).rounds["loss"].tolist()
                    for change in ((), (slow,))] for kind in ("splitfed_v1", "splitfed_v2")}  # fmt: skip
    assert kinds["splitfed_v1"][0] == kinds["splitfed_v1"][1]
    assert kinds["splitfed_v2"][0][1:] != kinds["splitfed_v2"][1][1:]


def test_one_copy_of_part_2_needs_less_memory() -> None:
    needs = {}
    for kind in ("splitfed_v1", "splitfed_v2"):
        with pytest.raises(ScenarioError) as fault:
            checks.check(loaded(f"protocol={{kind: {kind}}}", "devices.cloud.memory=1 KiB"))
        needs[kind] = str(fault.value)
    assert "3 copies of Part 2" in needs["splitfed_v1"]
    assert "1 copy of Part 2" in needs["splitfed_v2"]
