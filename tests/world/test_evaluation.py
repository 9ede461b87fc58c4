"""Evaluations: the system as it is deployed beside the clean model, whom it serves badly, and no trace of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import played, world_of

from elsa_sim.learning.execution.work import Ref
from elsa_sim.world.evaluation import Evaluation, RelativeError
from elsa_sim.world.world import World

SKETCH = "codec={activation: [{kind: sketch, rows: 1, columns: 4}]}"
SHORT = "protocol={kind: elsa, rounds: 1, edge_rounds: 1, local_steps: 2, lr: 5.0e-2}"


def evaluation_of(world: World) -> Evaluation:
    test = world._instruments.test
    assert isinstance(test, Evaluation)
    return test


def last(world: World) -> Ref:
    assert world.latest.end is not None
    return world.latest.end.adapters


def test_without_codecs_at_the_cut_there_is_one_model() -> None:
    for codec in ((), ("codec={adapters: [float16], gradient: [float16]}",)):
        row = played(SHORT, *codec).rounds.iloc[-1]
        assert not [name for name in row.index if name.startswith("clean_")]


def test_what_is_deployed_passes_the_codecs_and_the_clean_model_does_not() -> None:
    results, world = world_of(SHORT, SKETCH)
    row, adapters = results.rounds.iloc[-1], last(world)
    assert row["loss"] != row["clean_loss"]
    model, batches = world.model, evaluation_of(world)._whole
    clean = [world.executor.finish(model.evaluate_batch(model.whole, adapters, b, b)) for b in batches]
    for name, value in model.score(clean, batches).items():
        assert row[f"clean_{name}"] == pytest.approx(value, abs=1e-6)


def test_codecs_that_lose_little_change_little() -> None:
    row = played(SHORT, "codec={activation: [float16]}").rounds.iloc[-1]
    assert row["loss"] == pytest.approx(row["clean_loss"], rel=1e-3)


def test_an_evaluation_leaves_no_trace() -> None:
    _, world = world_of(SHORT, "codec={activation: [{kind: ssop, rank: 4}, int8], adapters: [feedback, int8]}")
    pipeline, evaluate, adapters = world.pipeline, evaluation_of(world), last(world)
    before = {node: dict(states) for node, states in pipeline.endpoints.states.items()}, dict(pipeline.counts)
    first, second = (evaluate(adapters, 1) for _ in range(2))
    assert first == second
    assert (pipeline.endpoints.states, pipeline.counts) == before
    rows = world.recorder.rows
    evaluate(adapters, 1)
    assert world.recorder.rows == rows


def test_every_test_sample_is_used_once_and_every_client_has_its_share() -> None:
    _, world = world_of(SHORT, SKETCH)
    evaluate = evaluation_of(world)
    for batches in (evaluate._whole, evaluate._dealt):
        assert sum(len(batch.lengths) for batch in batches) == 30
    assert len(evaluate._dealt) >= len(world.clients)


class Marks:
    """A model of which only the accuracy on each class is known."""

    def __init__(self, *by_class: float) -> None:
        self.by_class = by_class

    def accuracy_by_class(self, evaluated: Sequence[Any], batches: Sequence[Any], classes: int) -> np.ndarray:
        assert classes == len(self.by_class)
        return np.array(self.by_class)


def per_client(mix: list[list[float]] | None, *by_class: float) -> dict[str, float]:
    evaluation = object.__new__(Evaluation)
    evaluation.model = Marks(*by_class)  # type: ignore[assignment]
    evaluation._mix = None if mix is None else np.array(mix)
    return evaluation._per_client([], [])


def test_clients_are_served_as_their_mix_of_classes_is() -> None:
    found = per_client([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]], 0.8, 0.2)
    each = np.array([0.8, 0.5, 0.2])
    assert found == pytest.approx({
        "client_accuracy_mean": 0.5, "client_accuracy_std": each.std(), "client_accuracy_min": 0.2,
        "client_accuracy_jain": 1.5**2 / (3 * (0.64 + 0.25 + 0.04)),
    })  # fmt: skip


def test_classes_without_a_test_sample_say_nothing() -> None:
    """A client with such classes only is left out; of one with both, the rest counts."""
    found = per_client([[0.5, 0.5], [0.0, 1.0], [1.0, 0.0]], 0.4, float("nan"))
    assert (found["client_accuracy_mean"], found["client_accuracy_min"], found["client_accuracy_std"]) == (
        0.4,
        0.4,
        0.0,
    )


def test_if_all_is_wrong_nobody_is_served_better() -> None:
    assert per_client([[1.0, 0.0], [0.0, 1.0]], 0.0, 0.0)["client_accuracy_jain"] == 0.0


def test_one_client_or_no_classes_have_no_such_column() -> None:
    assert per_client(None) == {}
    one = "topology={kind: tree, clients: 1, edges: 1, access: {up: 10 Mbit/s}, backhaul: {up: 10 Mbit/s}}"
    for changes in ((one,), ("backbone={name: tiny-gpt2, lora: {targets: [c_attn]}}", "task.objective=causal_lm")):
        names = played(SHORT, *changes).rounds.columns
        assert not [name for name in names if name.startswith("client_accuracy")]


def test_the_mean_over_clients_is_the_accuracy_where_all_have_the_mix_of_the_test_data() -> None:
    results, world = world_of(SHORT)
    evaluate, row = evaluation_of(world), results.rounds.iloc[-1]
    labels = np.concatenate([batch.labels for batch in evaluate._whole if batch.labels is not None])
    evaluate._mix = np.tile(np.bincount(labels) / len(labels), (3, 1))
    found = evaluate(last(world), 1)
    assert found["client_accuracy_mean"] == pytest.approx(row["accuracy"])
    assert found["client_accuracy_std"] == pytest.approx(0.0, abs=1e-12)


def test_the_relative_error_of_codecs_is_measured() -> None:
    """float16 rounds to 11 bits, int8 rows to 1/254 of their largest; without codecs nothing is measured."""
    row = played(SHORT, "codec={activation: [float16], adapters: [int8]}").rounds.iloc[-1]
    assert 1e-5 < row["activation_error"] < 2.0**-11
    assert 1e-4 < row["adapters_error"] < 0.05
    results = played(SHORT, SKETCH)
    error = results.rounds.iloc[-1]["activation_error"]
    assert error > 1.0  # one row of four buckets for 32 coordinates
    assert results.summary["training"]["codec_error"] == {"activation": error}
    assert [line for line in results.summary["warnings"] if "relative error of activation messages" in line]
    assert not [name for name in played(SHORT).rounds.columns if name.endswith("_error")]


def test_the_error_that_a_fit_expects_is_recorded_beside_the_one_that_is_met() -> None:
    """At the first cut; behind it, Part 2's states vary less than those of text that crossed no codec."""
    codec = "{kind: subspace, rank: 6, cut: first}"
    rounds = played(SHORT, "task.public=60", f"codec.activation=[{codec}]").rounds
    met = rounds["activation_error"].iloc[0] * 2**0.5  # as much crosses the second cut, without a loss
    assert rounds["activation_expected"].iloc[0] == pytest.approx(met, rel=0.05)
    codec = "{kind: sketch, rows: 2, columns: 6, decoder: linear}"
    anew = played("task.public=60", f"codec.activation=[{codec[:-1]}, refresh_every: 1}}]").rounds
    assert anew["activation_expected"].nunique() > 1, "every fit has its own"
    assert "activation_expected" not in played(SHORT, "codec.activation=[{kind: sketch}]").rounds


def test_a_secret_turn_is_no_error() -> None:
    """What an edge server sees turned is turned back; the rest of the chain loses what it loses without the turn."""
    assert "activation_error" not in played(SHORT, "codec.activation=[ssop]").rounds
    turned = played(SHORT, "codec.activation=[ssop, float16]").rounds["activation_error"].iloc[-1]
    assert 1e-5 < turned < 2.0**-11


def test_relative_error_is_that_of_all_tensors_together() -> None:
    found = RelativeError()
    found.add(torch.tensor([3.0, 4.0]), torch.tensor([3.0, 0.0]))
    assert found.value == pytest.approx(4.0 / 5.0)
    found.add({"a": torch.tensor([0.0, 12.0])}, {"a": torch.tensor([0.0, 0.0])})
    assert found.value == pytest.approx((160.0 / 169.0) ** 0.5)
    assert RelativeError().value == 0.0
