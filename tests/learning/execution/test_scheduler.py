"""Batched chains: which run together, in which order, and how many at a time."""

from __future__ import annotations

from unittest.mock import patch

import pytest
from graphs import NUMBER, Sum, work

from elsa_sim.learning.execution.executor import Batched
from elsa_sim.learning.execution.work import Ref


@pytest.mark.parametrize("reads", [1, 2], ids=["chain", "diamonds"])
def test_a_chain_of_thousands_is_run_without_recursion(reads: int) -> None:
    executor, calls = Batched(), []

    def add(*values: int) -> tuple[int]:
        calls.append(1)
        return (values[0] + 1,)

    ref = Ref.of(0, NUMBER)
    for _ in range(5000):
        (ref,) = executor.finish(work(add, *[ref] * reads))
    assert ref.value == 5000
    assert len(calls) == 5000


def test_calls_of_one_kernel_are_one_computation() -> None:
    executor, log = Batched(), []
    ends = []
    for client in range(6):
        (ref,) = executor.finish(work(Sum("forward", log), client))
        (ref,) = executor.finish(work(lambda x: (x,), ref))
        (ref,) = executor.finish(work(Sum("backward", log), ref, 1))
        ends.append(ref)
    assert [ref.value for ref in ends] == [1, 2, 3, 4, 5, 6]
    assert log == [("forward", 6), ("backward", 6)]


@pytest.mark.parametrize("early", [2, 4])
def test_chains_of_different_kernels_wait_for_each_other(early: int) -> None:
    """The largest group goes first, so that stragglers catch up and later steps are shared."""
    executor, log = Batched(), []
    ends = []
    for client in range(6):
        (ref,) = executor.finish(work(Sum("early" if client < early else "late", log), client))
        ends += executor.finish(work(Sum("last", log), ref))
    _ = ends[0].value
    first, second = ("late", "early") if early == 2 else ("early", "late")
    assert log == [(first, 4), ("last", 4), (second, 2), ("last", 2)]


@pytest.mark.parametrize("in_turn", [True, False], ids=["client by client", "all forwards first"])
def test_chains_under_way_are_bounded_by_what_they_keep(in_turn: bool) -> None:
    """In whatever order work has been enlisted, a chain that has begun comes before one that has not."""
    executor, log, ends = Batched(), list[tuple[str, int]](), list[Ref]()

    def forward(client: int) -> Ref:
        return executor.finish(work(Sum("forward", log, footprint=100.0), client))[0]

    begun = [] if in_turn else [forward(client) for client in range(7)]
    for client in range(7):
        read = forward(client) if in_turn else begun[client]
        ends += executor.finish(work(Sum("backward", log, footprint=100.0), read))
    with patch("elsa_sim.learning.execution.scheduler.BUDGET", 300):
        assert ends[-1].value == 6
    assert log == [("forward", 3), ("backward", 3), ("forward", 3), ("backward", 3), ("forward", 1), ("backward", 1)]
