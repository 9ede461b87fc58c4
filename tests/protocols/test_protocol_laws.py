"""Laws of every registered protocol; one that is added is held to them, too."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest
from protocol_laws import LAWS, TIMING
from small_runs import drawn_batches, known, loaded, played, same_rows, transfers, work

from elsa_sim.base.registry import discover
from elsa_sim.protocols.base import Protocol

discover("elsa_sim.protocols")
KINDS = sorted(kind for kind, member in Protocol.members.items() if member.__module__.startswith("elsa_sim."))
SPLIT = [kind for kind in KINDS if Protocol.members[kind]().server is not None]
#: Protocols whose one-client run is on purpose not centralised training: their server takes steps of its own.
UNLIKE_CENTRALIZED = frozenset({"fedadam", "fedams"})
#: Options with which a protocol is centralised training if it has one client.
NEUTRAL = {"fedprox": ", mu: 0.0", "fedasync": ", mixing: 1.0"}
#: Protocols in which what is learned depends on who comes first.
IN_TURN = frozenset({"splitfed_v2"})
#: Protocols in which the cut decides what clients have in common: the server's layers see all batches as one.
JOINT = frozenset({"sflllm"})


def small(kind: str) -> str:
    return f"{{kind: {kind}, rounds: 2, local_steps: 2, lr: 5.0e-3}}"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", LAWS)
def test_law(kind: str, name: str, tmp_path: Path) -> None:
    needs = {"folder": tmp_path} if "folder" in inspect.signature(LAWS[name]).parameters else {}
    LAWS[name](small(kind), **needs)


def test_all_protocols_are_here() -> None:
    assert {"elsa", "splitfed_v1", "splitfed_v2", "hierfavg", "centralized"} <= set(KINDS)
    assert {"fedavg", "fedprox", "fedadam", "fedams"} <= set(KINDS)


ONE = ("topology={kind: tree, clients: 1, edges: 1, access: {up: 10 Mbit/s}, backhaul: {up: 10 Mbit/s}}", "seed=4",
       "backbone.config.num_hidden_layers=4", "task.train_size=50")  # fmt: skip


def cut(kind: str, p: int) -> str:
    """A cut after ``p`` layers, and before the last one where clients have the head."""
    return f"split={{policy: fixed, p: {p}{', q: 1' if Protocol.members[kind].head == 'client' else ''}}}"


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "centralized" and kind not in UNLIKE_CENTRALIZED])
def test_one_client_is_centralised_training(kind: str, p: int) -> None:
    more = NEUTRAL.get(kind, "")
    protocol = f"protocol={{kind: {kind}, rounds: 3, local_steps: 2, lr: 5.0e-3, weight_decay: 0.01{more}}}"
    steps = loaded(protocol, *ONE).scenario.protocol.steps(1) // 3
    central = f"protocol={{kind: centralized, rounds: 3, local_steps: {steps}, lr: 5.0e-3, weight_decay: 0.01}}"
    with drawn_batches() as mine:
        one = played(protocol, cut(kind, p), *ONE)
    with drawn_batches() as theirs:
        all_in_one = played(central, *ONE)
    assert mine.keys() == theirs.keys()
    for a, b in zip(mine.values(), theirs.values(), strict=True):
        assert [x.tokens.tolist() for x in a] == [x.tokens.tolist() for x in b]
    assert len(one.rounds) == 4
    for column in ("loss", "train_loss"):
        np.testing.assert_allclose(one.rounds[column], all_in_one.rounds[column], rtol=1e-5)
    assert (one.rounds["accuracy"] == all_in_one.rounds["accuracy"]).all()
    assert one.rounds["loss"].iloc[-1] != one.rounds["loss"].iloc[0]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("centralized", *UNLIKE_CENTRALIZED)])
def test_moments_that_are_not_kept_make_a_difference(kind: str) -> None:
    protocol = f"kind: {kind}, rounds: 3, local_steps: 2, lr: 5.0e-3"
    kept, fresh = (known(f"protocol={{{protocol}, keep_optimizer: {keep}}}", *ONE) for keep in ("true", "false"))
    assert kept.rounds["loss"].iloc[1:].tolist() != fresh.rounds["loss"].iloc[1:].tolist()


@pytest.mark.parametrize("kind", [kind for kind in SPLIT if kind not in IN_TURN | JOINT])
def test_the_cut_moves_work_not_what_is_learned(kind: str) -> None:
    one, two = (
        played(
            f"protocol={small(kind)}",
            cut(kind, p),
            "backbone.config.num_hidden_layers=4",
            "seed=2",
        )
        for p in (1, 2)
    )
    np.testing.assert_allclose(one.rounds["loss"], two.rounds["loss"], rtol=1e-4)

    def client_flops(events: object) -> float:
        rows = work(events)  # type: ignore[arg-type]
        return float(rows.loc[rows["node"].str.startswith("client"), "flops"].sum())

    assert client_flops(two.events) > 1.2 * client_flops(one.events)


@pytest.mark.parametrize("kind", SPLIT)
def test_a_split_step_crosses_the_cut_four_times_or_twice(kind: str) -> None:
    results = known(f"protocol={small(kind)}")
    protocol = loaded(f"protocol={small(kind)}").scenario.protocol
    each = protocol.steps(3) * (2 if protocol.head == "client" else 1)
    assert len(transfers(results.events, "activation")) == len(transfers(results.events, "gradient")) == each


def test_only_adapters_cross_for_whole_models_and_nothing_for_centralised() -> None:
    assert set(known(f"protocol={small('fedavg')}").summary["bytes"]["by_kind"]) == {"adapters"}
    assert known(f"protocol={small('centralized')}").summary["bytes"]["total"] == 0


def test_elsa_aggregates_at_edges_and_at_the_cloud() -> None:
    results = played("protocol={kind: elsa, rounds: 2, edge_rounds: 3, local_steps: 1}", TIMING)
    rows = results.events[results.events["kind"] == "aggregation"]
    assert rows.groupby("node", observed=True).size().to_dict() == {"edge0": 6, "edge1": 6, "cloud": 2}


def test_results_do_not_depend_on_the_folder(tmp_path: Path) -> None:
    written = played(f"protocol={small('elsa')}", folder=tmp_path / "run")
    assert same_rows(written.events, known(f"protocol={small('elsa')}").events)
