"""Subgraphs as bytes: what comes back is what somebody holds, and every value survives the way."""

from __future__ import annotations

from typing import Any

import torch
from graphs import NUMBER, Heavy, heavy, light
from in_process import InProcess
from learning.training.test_model import model, start, train

from elsa_sim.learning.execution.distributed import Distributed
from elsa_sim.learning.execution.serialisation import deserialised
from elsa_sim.learning.execution.work import Work


def test_only_what_somebody_holds_comes_back() -> None:
    of, pool = model(), InProcess(model().backbone, 2, 1)
    found = train(of, Distributed(of.backbone, pool), clients=2, steps=3)
    ends = [local.adapters for local in found]
    losses = [local.losses[-1] for local in found]
    del found
    _ = ends[0].value
    adapters = sum(spec.nbytes for spec in of.specs.values())
    frozen = of.backbone.bytes(of.whole)
    assert max(map(len, pool.tasks)) < frozen / 2, "the backbone goes with the work"
    assert sum(map(len, pool.results)) < 2 * (
        3 * adapters + 20_000
    )  # no states, saved activations or adapters of earlier steps
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


def test_functions_of_a_script_survive_the_way_too() -> None:
    pool = InProcess(model().backbone, 2, 1)
    executor = Distributed(model().backbone, pool)
    ends = [light(executor, heavy(executor, client), 100) for client in range(2)]
    assert [ref.value for ref in ends] == [100, 101]
    assert len(pool.tasks) == 2


def test_the_largest_subgraphs_go_first_each_to_the_least_loaded_worker() -> None:
    pool = InProcess(model().backbone, 2, 1)
    executor = Distributed(model().backbone, pool)
    refs = [executor.finish(Work("sized", Sized(size), (size,), (NUMBER,)))[0] for size in (2, 2, 3, 2)]
    assert [ref.value for ref in refs] == [2, 2, 3, 2]
    assert [deserialised(result, model().backbone) for result in pool.results] == [[3, 2], [2, 2]]


def test_one_subgraph_is_computed_at_home() -> None:
    pool = InProcess(model().backbone, 2, 1)
    executor = Distributed(model().backbone, pool)
    assert light(executor, heavy(executor, 1), 2).value == 3
    assert not pool.tasks


class Sized(Heavy):
    """A kernel of a given size."""

    def __init__(self, footprint: float) -> None:
        self.footprint = footprint


class Odd(Heavy):
    """A kernel that carries a value."""

    def __init__(self, value: torch.Tensor) -> None:
        self.value = value

    def __call__(self, *inputs: Any) -> tuple[Any, ...]:
        return (self.value,)
