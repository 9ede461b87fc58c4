"""Subgraphs of pending work on several workers: the results are the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from unittest.mock import patch

import pytest
import torch
from in_process import InProcess
from learning.training.test_model import ADAMW, PARTS, close, model, some_batches, split_steps, start, train

from elsa_sim.learning.aggregation.rules.mean import Mean
from elsa_sim.learning.execution.distributed import Distributed, executor
from elsa_sim.learning.execution.executor import Batched, Executor, TimingOnly
from elsa_sim.learning.execution.pools import POOLS, WorkerPool
from elsa_sim.learning.execution.work import Ref


@pytest.fixture(
    scope="module",
    params=["in process", pytest.param("processes", marks=pytest.mark.processes)],
)
def pool(request: pytest.FixtureRequest) -> Iterator[WorkerPool]:
    if request.param == "in process":
        yield InProcess(model().backbone, 3, 1)
        return
    pool = POOLS["local"](model().backbone, 2, 1)  # on Ray: tests/cluster
    yield pool
    pool.close()


def test_any_number_of_workers_gives_the_same(pool: WorkerPool) -> None:
    of = model()
    expected = train(of, Executor(), clients=5, steps=2)
    several = Distributed(of.backbone, pool)
    found = train(of, several, clients=5, steps=2)
    (mean,) = several.finish(of.aggregate(Mean(), [local.adapters for local in found], [1.0] * 5, start(of)))
    (truth,) = Executor().finish(of.aggregate(Mean(), [local.adapters for local in expected], [1.0] * 5, start(of)))
    assert close(mean.value, truth.value)
    for one, two in zip(found, expected, strict=True):
        assert close(one.adapters.value, two.adapters.value)
        assert [float(a.value) for a in one.losses] == pytest.approx([float(a.value) for a in two.losses], rel=1e-5)
        for a, b in zip(one.parts, two.parts, strict=True):
            assert a.moments.value.step == b.moments.value.step == 2
            assert close(a.moments.value.second, b.moments.value.second, 1e-3)


def test_a_second_flush_goes_on_from_the_first(pool: WorkerPool) -> None:
    of = model()
    several = Distributed(of.backbone, pool)
    for executors in (several, Executor()):
        one, two = train(of, executors, clients=2, steps=1)
        (theta,) = executors.finish(of.aggregate(Mean(), [one.adapters, two.adapters], [1.0, 2.0], start(of)))
        _ = theta.value
        *_, third = split_steps(of, executors, theta, some_batches(2, 7))
        *_, fourth = split_steps(of, executors, theta, some_batches(2, 8))
        (theta,) = executors.finish(of.aggregate(Mean(), [third.adapters, fourth.adapters], [1.0, 2.0], start(of)))
        if executors is several:
            found = theta.value
    assert close(found, theta.value)


@dataclass
class Asked:
    mode: str = "real"
    executor: str = "batched"
    workers: int = 1
    cluster: str = "local"
    threads: int = 5
    worker_timeout: float | None = 60.0


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (Asked(), Batched),
        (Asked(executor="serial"), Executor),
        (Asked(executor="serial", workers=2), Executor),
        (Asked(mode="timing"), TimingOnly),
        (Asked(mode="timing", workers=2), TimingOnly),
        (Asked(workers=2), Distributed),
    ],
)
def test_the_executor_is_the_one_that_is_asked_for(asked: Asked, expected: type[Executor]) -> None:
    made = []

    def pool(*what: object) -> InProcess:
        made.append(what)
        return InProcess(*what)  # type: ignore[arg-type]

    with patch.dict(POOLS, local=pool):
        assert type(executor(asked, model().backbone)) is expected
    assert made == ([(model().backbone, 2, 5, 60.0)] if expected is Distributed else [])


def test_what_a_forward_pass_keeps_does_not_leave_the_process(pool: WorkerPool) -> None:
    """Two clients in the middle of a step, whose states somebody reads before their backward passes come."""
    of, batches = model(), some_batches(2, 3)
    bottom = of.take(PARTS[0], start(of))
    stepped = []
    for each in (Distributed(of.backbone, pool), Executor()):
        forward = [each.finish(of.forward(bottom, batch, batch.lengths)) for batch in batches]
        _ = [h1.value for h1, _ in forward]
        for batch, (h1, saved) in zip(batches, forward, strict=True):
            gradient = Ref.of(torch.ones(h1.spec.shape), h1.spec)
            stepped.append(each.finish(of.backward(bottom, saved, gradient, batch.lengths, ADAMW))[1])
    for one, two in zip(stepped[:2], stepped[2:], strict=True):
        assert two.value
        assert close(one.value, two.value)
