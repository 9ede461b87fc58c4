"""The end of a round: who is told, in which order, of what."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from small_runs import played, worlds

from elsa_sim.base.errors import Divergence
from elsa_sim.learning.execution.executor import Executor, TimingOnly
from elsa_sim.learning.execution.work import Ref
from elsa_sim.results.event_table import Recorder
from elsa_sim.run import builder
from elsa_sim.world.round_end import (
    DivergenceCheck,
    EvaluationRow,
    Latest,
    Notes,
    Reallocation,
    RoundEnd,
    RoundObserver,
    RoundObservers,
    TrainingLoss,
)
from elsa_sim.world.world import World

THETA = Ref.of({"a": torch.ones(2)}, None)
#: A value that will never be there: the run does no arithmetic.
BARE = Ref(None)


def end(round: int = 1, now: float = 5.0, adapters: Ref = THETA, **metrics: float) -> RoundEnd:
    return RoundEnd(round, now, adapters, metrics)


class Spy(RoundObserver):
    """Writes down what it is told; measures and stops as it should."""

    def __init__(
        self, log: list[Any], name: str, measures: Mapping[str, float] | None = None, stop: bool = False
    ) -> None:
        self.log, self.name, self.more, self.stop = log, name, measures or {}, stop

    def measures(self) -> Mapping[str, float]:
        self.log.append((self.name, "measures"))
        return self.more

    def ended(self, end: RoundEnd) -> None:
        self.log.append((self.name, dict(end.metrics)))

    def stops(self, end: RoundEnd) -> bool:
        self.log.append((self.name, "stops"))
        return self.stop


def test_all_measure_before_any_is_told() -> None:
    log: list[Any] = []
    observers = RoundObservers([Spy(log, "a", {"x": 1.0}), Spy(log, "b", {"y": 2.0})])
    assert observers.end(1, 5.0, THETA, {"loss": 0.5}) is False
    whole = {"loss": 0.5, "x": 1.0, "y": 2.0}
    assert log == [("a", "measures"), ("b", "measures"), ("a", whole), ("b", whole), ("a", "stops"), ("b", "stops")]


@pytest.mark.parametrize("which", [0, 1])
def test_one_that_stops_is_enough(which: int) -> None:
    log: list[Any] = []
    observers = RoundObservers([Spy(log, str(i), stop=i == which) for i in range(2)])
    assert observers.end(1, 5.0, THETA, {}) is True


def test_an_observer_of_ones_own_is_told_last(monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[Any] = []
    build = builder.build

    def with_mine(*args: Any, **options: Any) -> World:
        return build(*args[:-1], [*args[-1], Spy(log, "mine")], **options)

    monkeypatch.setattr(builder, "build", with_mine)
    results = played("protocol={kind: elsa, rounds: 2, local_steps: 1}")
    told = [metrics for _, metrics in log if isinstance(metrics, dict)]
    assert [each["accuracy"] for each in told] == results.rounds["accuracy"].tolist()
    assert [each.get("train_loss") for each in told[1:]] == results.rounds["train_loss"].tolist()[1:]
    assert "train_loss" not in told[0]


def test_the_training_loss_is_the_mean_since_the_last_round() -> None:
    losses = TrainingLoss(Executor().read)
    assert losses.measures() == {}
    for value in (1.0, 2.0, 6.0):
        losses.add(Ref.of(torch.tensor(value), None))
    assert losses.measures() == {"train_loss": 3.0}
    assert losses.measures() == {}


def test_without_arithmetic_there_is_no_loss() -> None:
    losses = TrainingLoss(TimingOnly().read)
    losses.add(BARE)
    assert losses.measures() == {}


def test_notes_keep_their_facts() -> None:
    recorder = Recorder()
    notes, bare = Notes(recorder, Executor().read), Notes(recorder, TimingOnly().read)
    notes.add(Ref.of({"staleness": 3.0}, None), "edge0", 7, "align")
    bare.add(BARE, "edge1", 8, "align")
    assert recorder.rows == 0
    for each in (notes, bare):
        each.ended(end(now=5.0))
        each.ended(end(now=6.0))
    table = recorder.close().to_pylist()
    assert [(row["kind"], row["t_end_s"], row["node"], row["round"], row["detail"]) for row in table] == [
        ("update", 5.0, "edge0", 7, "align"), ("update", 5.0, "edge1", 8, "align")]  # fmt: skip
    assert [json.loads(row["metrics"]) for row in table] == [{"staleness": 3.0}, {}]


def test_an_evaluation_has_a_row() -> None:
    recorder = Recorder()
    EvaluationRow(recorder, "cloud").ended(end(3, 5.0, loss=0.5))
    (row,) = recorder.close().to_pylist()
    assert (row["kind"], row["node"], row["round"], row["t_start_s"], row["t_end_s"], row["detail"]) == (
        "evaluation", "cloud", 3, 5.0, 5.0, "test")  # fmt: skip
    assert json.loads(row["metrics"]) == {"loss": 0.5}


def test_what_was_recorded_of_a_round_is_on_the_disk(tmp_path: Any) -> None:
    from elsa_sim.results import event_table

    recorder = Recorder(tmp_path)
    EvaluationRow(recorder, "cloud").ended(end())
    assert event_table.read_events(tmp_path).num_rows == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_metrics_that_are_not_finite_fail_the_run(value: float) -> None:
    DivergenceCheck().ended(end(loss=1.0))
    with pytest.raises(Divergence, match=rf"loss is {value} after round 4: training diverged; lower protocol\.lr"):
        DivergenceCheck().ended(end(4, accuracy=0.1, loss=value))
    with pytest.raises(Divergence, match=rf"loss is {value} at the first evaluation: nothing was trained yet"):
        DivergenceCheck().ended(end(0, accuracy=0.1, loss=value))


def test_a_round_that_diverges_is_recorded_and_nobody_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    with worlds() as made, pytest.raises(Divergence):
        played("protocol.lr=1e30")
    table = made[0].recorder.close().to_pylist()
    assert [row["round"] for row in table if row["kind"] == "evaluation"] == [0, 1]
    last = made[0].latest.end
    assert last is not None
    assert last.round == 0


def test_the_latest_adapters_must_be_finite() -> None:
    latest = Latest()
    assert latest.broken == []
    for adapters in (THETA, BARE):
        latest.ended(end(adapters=adapters))
        assert latest.broken == []
    latest.ended(end(adapters=Ref.of({"a": torch.ones(2), "b": torch.tensor([1.0, float("nan")])}, None)))
    assert latest.broken == ["adapter b is not finite"]


def test_the_air_is_given_out_anew_after_every_round_but_not_before_the_first() -> None:
    class Radio:
        times = 0

        def reallocate(self) -> None:
            self.times += 1

    radio = Radio()
    observer = Reallocation(radio)  # type: ignore[arg-type]
    for round, times in ((0, 0), (1, 1), (2, 2)):
        observer.ended(end(round))
        assert radio.times == times
