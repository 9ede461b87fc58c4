"""Progress: steps are counted, and whoever looks on is told of them and of evaluations."""

from __future__ import annotations

from collections.abc import Mapping

import simpy
import torch

from elsa_sim.learning.execution.work import Ref
from elsa_sim.world.progress import Observer, Progress
from elsa_sim.world.round_end import RoundEnd


class Kept(Observer):
    def __init__(self) -> None:
        self.steps: list[tuple[float, int, int]] = []
        self.evaluations: list[tuple[float, int, Mapping[str, float]]] = []

    def progressed(self, now: float, done: int, total: int) -> None:
        self.steps.append((now, done, total))

    def evaluated(self, now: float, round: int, metrics: Mapping[str, float]) -> None:
        self.evaluations.append((now, round, metrics))


def test_steps_are_told_of_with_their_time_and_never_beyond_the_total() -> None:
    env, kept = simpy.Environment(), Kept()
    progress = Progress(env, kept, total=4)
    progress.advance()
    env.run(until=2.0)
    progress.advance(2)
    progress.advance(3)
    assert kept.steps == [(0.0, 1, 4), (2.0, 3, 4), (2.0, 4, 4)]
    assert (progress.done, progress.total) == (6, 4)


def test_evaluations_are_told_of() -> None:
    kept = Kept()
    end = RoundEnd(3, 7.0, Ref.of(torch.ones(1), None), {"loss": 0.5})
    Progress(simpy.Environment(), kept, total=4).ended(end)
    assert kept.evaluations == [(7.0, 3, {"loss": 0.5})]


def test_an_observer_may_look_away() -> None:
    progress = Progress(simpy.Environment(), Observer(), total=1)
    progress.advance()
    progress.ended(RoundEnd(0, 0.0, Ref(None), {}))
