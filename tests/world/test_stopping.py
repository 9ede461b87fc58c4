"""The rules to stop: each at its limit, not before; protocols obey them in ``protocol_laws``."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from elsa_sim.learning.execution.executor import Executor, TimingOnly
from elsa_sim.learning.execution.work import Ref
from elsa_sim.world.round_end import RoundEnd, RoundObserver
from elsa_sim.world.stopping import AfterHostTime, AfterRounds, AtAccuracy, WhenStill, stopping_rules


@dataclass(frozen=True)
class Stop:
    rounds: int | None = None
    target_accuracy: float | None = None
    host_time: float | None = None
    adapter_change: float | None = None


READ = Executor().read


def rules_of(stop: Stop) -> list[RoundObserver]:
    return stopping_rules(stop, READ, lambda: 0.0)


def at(*values: float) -> Ref:
    return Ref.of({"a": torch.tensor(values)}, None)


def stopped(rule: RoundObserver, round: int = 1, adapters: Ref | None = None, **metrics: float) -> bool:
    end = RoundEnd(round, 0.0, at(0.0) if adapters is None else adapters, metrics)
    rule.ended(end)
    return rule.stops(end)


def test_rounds() -> None:
    assert [stopped(AfterRounds(2), round) for round in (0, 1, 2, 3)] == [False, False, True, True]


def test_accuracy() -> None:
    rule = AtAccuracy(0.5)
    assert [stopped(rule, accuracy=value) for value in (0.49, 0.5, 0.51)] == [False, True, True]
    assert not stopped(AtAccuracy(0.0), loss=1.0)  # a language model has none
    assert not stopped(AtAccuracy(0.0))


def test_host_time_not_in_what_is_played_again() -> None:
    now = [0.0]
    rule = AfterHostTime(3.0, lambda: now[0])
    seen = []
    for now[0] in (0.0, 2.9, 3.0, 200.0):
        seen.append(stopped(rule))
    assert seen == [False, False, True, True]
    assert not rule.stops(RoundEnd(1, 0.0, at(0.0), {}, live=False))


def test_adapters_that_have_come_to_rest() -> None:
    rule = WhenStill(5.0, READ)
    places = [(0.0, 0.0), (3.0, 4.0), (3.0, 4.1), (30.0, 4.1), (30.0, 9.0)]
    assert [stopped(rule, adapters=at(*place)) for place in places] == [False, False, True, False, True]


def test_without_arithmetic_nothing_is_known_to_rest() -> None:
    rule = WhenStill(5.0, TimingOnly().read)
    assert not any(stopped(rule, adapters=Ref(None)) for _ in range(3))


def test_only_the_rules_that_are_asked_for() -> None:
    assert rules_of(Stop()) == []
    kinds = [type(rule) for rule in rules_of(Stop(1, 0.5, 3.0, 0.1))]
    assert kinds == [AtAccuracy, AfterRounds, AfterHostTime, WhenStill]
    assert [type(rule) for rule in rules_of(Stop(target_accuracy=0.0))] == [AtAccuracy]
    assert [type(rule) for rule in rules_of(Stop(host_time=0.0))] == [AfterHostTime]
