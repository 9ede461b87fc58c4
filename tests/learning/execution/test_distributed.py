"""Subgraphs of pending work on several workers: what is parted, what never is, and that the results are the same."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from in_process import InProcess
from learning.training.test_model import close, model, some_batches, split_steps, start, train

from elsa_sim.base.errors import RunFailed
from elsa_sim.learning.aggregation.rules.mean import Mean
from elsa_sim.learning.execution.distributed import Distributed
from elsa_sim.learning.execution.executor import Batched, Executor
from elsa_sim.learning.execution.partitioning import waves
from elsa_sim.learning.execution.pools import POOLS, WorkerPool
from elsa_sim.learning.execution.work import LOCAL, Kernel, Node, Ref, TensorSpec, Work

NUMBER = TensorSpec((), "int64")


class Heavy(Kernel):
    """A kernel of some size; the sum of what it reads."""

    key, footprint = "heavy", 1.0

    def __call__(self, *inputs: Any) -> tuple[Any, ...]:
        return (sum(item for item in inputs if isinstance(item, int)),)

    def together(self, calls: Any) -> list[Any]:
        return [kernel(*inputs) for kernel, inputs in calls]


class Taped(Heavy):
    """One that leaves something behind for a later one."""

    def __call__(self, *inputs: Any) -> tuple[Any, ...]:
        return *super().__call__(*inputs), "tape"


class Keeper(Batched):
    """Remembers its pending nodes."""

    @property
    def nodes(self) -> list[Node]:
        return self._pending


def heavy(executor: Executor, *inputs: Any) -> Ref:
    return executor.finish(Work("heavy", Heavy(), inputs, (NUMBER,)))[0]


def light(executor: Executor, *inputs: Any) -> Ref:
    return executor.finish(Work("light", lambda *values: (sum(values),), inputs, (NUMBER,)))[0]


def sizes(executor: Keeper) -> list[tuple[int, list[int]]]:
    """Per wave: how many nodes at home, and in each subgraph."""
    return [(len(wave.prelude), [len(subgraph) for subgraph in wave.subgraphs]) for wave in waves(executor.nodes)]


def test_clients_are_strands_until_they_are_aggregated() -> None:
    executor = Keeper()
    kept = []
    for _ in range(2):
        first = light(executor, 1)
        ends = [light(executor, heavy(executor, heavy(executor, first, client))) for client in range(3)]
        kept.append(light(executor, *ends))
    assert sizes(executor) == [(2, [3] * 6), (2, [])]
    again = [heavy(executor, kept[0]), heavy(executor, kept[0]), heavy(executor, kept[1])]
    assert sizes(executor) == [(2, [3] * 6), (2, [1, 1, 1])]
    assert [ref.value for ref in again] == [6, 6, 6]


def test_a_tape_and_all_between_stay_with_the_pass_that_made_it() -> None:
    """Two clients that share a server's part are one subgraph: each needs the other's between its own two passes."""
    executor = Keeper()
    kept = [executor.finish(Work("taped", Taped(), (client,), (NUMBER, LOCAL))) for client in range(2)]
    server = Ref.of(0, NUMBER)
    answers = []
    for states, _ in kept:
        server = heavy(executor, server, states)
        answers.append(server)
    ends = [heavy(executor, saved, server, answer) for (_, saved), answer in zip(kept, answers, strict=True)]
    assert sizes(executor) == [(0, [1, 5])] or sizes(executor) == [(0, [6])]
    alone = executor.finish(Work("taped", Taped(), (5,), (NUMBER, LOCAL)))
    kept = heavy(executor, alone[1])
    for wave in waves(executor.nodes):
        for subgraph in wave.subgraphs:
            inside = {id(node) for node in subgraph}
            for node in subgraph:
                assert all(id(i.node) in inside for i in node.inputs if isinstance(i, Ref) and i.spec is LOCAL)
    assert len(ends) + bool(kept) == 3


@pytest.fixture(scope="module", params=["in process", "processes", "ray"])
def pool(request: pytest.FixtureRequest) -> Iterator[WorkerPool]:
    if request.param == "in process":
        yield InProcess(model().backbone, 3, 1)
        return
    if request.param == "ray" and importlib.util.find_spec("ray") is None:
        pytest.skip("ray is not installed")
    pool = POOLS["ray" if request.param == "ray" else "local"](model().backbone, 2, 1)
    yield pool
    pool.close()


def test_any_number_of_workers_gives_the_same(pool: WorkerPool) -> None:
    of = model()
    expected = train(of, Executor(), clients=5, steps=2)
    executor = Distributed(of.backbone, pool)
    found = train(of, executor, clients=5, steps=2)
    (mean,) = executor.finish(of.aggregate(Mean(), [local.adapters for local in found], [1.0] * 5, start(of)))
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
    executor = Distributed(of.backbone, pool)
    for executors in (executor, Executor()):
        one, two = train(of, executors, clients=2, steps=1)
        (theta,) = executors.finish(of.aggregate(Mean(), [one.adapters, two.adapters], [1.0, 2.0], start(of)))
        _ = theta.value
        *_, third = split_steps(of, executors, theta, some_batches(2, 7))
        *_, fourth = split_steps(of, executors, theta, some_batches(2, 8))
        (theta,) = executors.finish(of.aggregate(Mean(), [third.adapters, fourth.adapters], [1.0, 2.0], start(of)))
        if executors is executor:
            found = theta.value
    assert close(found, theta.value)


def test_only_what_somebody_holds_comes_back() -> None:
    of, pool = model(), InProcess(model().backbone, 2, 1)
    found = train(of, Distributed(of.backbone, pool), clients=2, steps=3)
    ends = [local.adapters for local in found]
    losses = [local.losses[-1] for local in found]
    del found
    _ = ends[0].value
    adapters = sum(spec.nbytes for spec in of.specs.values())
    assert sum(map(len, pool.results)) < 2 * (3 * adapters + 20_000)  # no states, tapes or adapters of earlier steps
    assert all(loss.ready for loss in losses)
    assert start(of).ready


def test_values_of_every_type_survive_the_way() -> None:
    pool = InProcess(model().backbone, 2, 1)
    executor = Distributed(model().backbone, pool)
    big = torch.arange(10.0)
    values = [big[2:4], torch.tensor(3), torch.ones(2, 3, dtype=torch.bfloat16), torch.empty(0, 4), big[:, None].T]
    refs = [executor.finish(Work("odd", Odd(value), (1,), (None,)))[0] for value in values]
    for ref, value in zip(refs, values, strict=True):
        assert torch.equal(ref.value, value)
        assert (ref.value.dtype, ref.value.shape) == (value.dtype, value.shape)
        ref.value.add_(1)  # it may be written to
    assert max(map(len, pool.tasks)) < 4000


class Odd(Heavy):
    """A kernel that carries a value."""

    def __init__(self, value: torch.Tensor) -> None:
        self.value = value

    def __call__(self, *inputs: Any) -> tuple[Any, ...]:
        return (self.value,)


class Deadly(Heavy):
    """One that ends the process it runs in."""

    def __call__(self, *inputs: Any) -> tuple[Any, ...]:
        import os

        os._exit(9)


def test_a_worker_that_dies_fails_the_run() -> None:
    of = model()
    pool = POOLS["local"](of.backbone, 2, 1)
    executor = Distributed(of.backbone, pool)
    refs = [executor.finish(Work("deadly", Deadly(), (i,), (NUMBER,)))[0] for i in range(2)]
    with pytest.raises(RunFailed, match="a worker process died"):
        _ = refs[0].value
    executor.close()
