"""A barrier: who is waited for, and what is done for all of them when the last one is there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest
from small_runs import world_of

from elsa_sim.world.barrier import Barrier


def test_a_barrier_opens_when_the_last_one_missing_leaves() -> None:
    _, world = world_of("protocol={kind: sflllm, rounds: 1, local_steps: 1}", "execution.mode=timing")
    served: list[dict[str, int]] = []

    def serve(here: Mapping[str, int]) -> Iterator[object]:
        served.append(dict(here))
        yield world.env.timeout(1.0)
        return {name: 10 * brought for name, brought in here.items()}

    each, found = Barrier(world, serve), {}
    for name in "abc":
        each.join(name)

    def member(name: str, brought: int, arrives: float) -> Iterator[object]:
        yield world.env.timeout(arrives)
        found[name] = yield from each.wait(name, brought)

    def missing() -> Iterator[object]:
        yield world.env.timeout(5.0)
        each.leave("c")

    begin = world.env.now
    for process in (member("a", 1, 1.0), member("b", 2, 2.0), missing()):
        world.env.process(process)
    world.env.run()
    assert served == [{"a": 1, "b": 2}]
    assert found == {"a": 10, "b": 20}
    assert world.env.now - begin == pytest.approx(6.0)
