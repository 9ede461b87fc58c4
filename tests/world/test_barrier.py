"""The barrier: who waits for whom, and what is done when all are there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import simpy

from elsa_sim.base.errors import Lost
from elsa_sim.world.barrier import Barrier
from elsa_sim.world.verb import Verb
from elsa_sim.world.world import World


class Stage:
    """What a barrier sees of a world: a clock and processes; members that arrive at stated times."""

    spawn = World.spawn

    def __init__(self) -> None:
        self.env = simpy.Environment()
        self.seen: list[tuple[float, str, Any]] = []
        self.served: list[tuple[float, Mapping[str, Any]]] = []
        self.loses = False

    def serve(self, brought: Mapping[str, Any]) -> Verb:
        """Takes 10 s; everybody is given what he has brought, tenfold."""
        self.served.append((self.env.now, dict(brought)))
        yield self.env.timeout(10)
        if self.loses:
            raise Lost("the server went away")
        return {name: 10 * value for name, value in brought.items()}

    def member(self, barrier: Barrier, name: str, *times: float, leaves: float | None = None) -> None:
        """Joins now, is there at each of these times (or when it is through the last one), and leaves."""
        barrier.join(name)

        def run() -> Verb:
            for number, time in enumerate(times):
                yield self.env.timeout(max(0.0, time - self.env.now))
                try:
                    found = yield from barrier.wait(name, number + 1)
                except Lost as error:
                    found = str(error)
                self.seen.append((self.env.now, name, found))
            if leaves is not None:
                yield self.env.timeout(leaves - self.env.now)
                barrier.leave(name)

        self.env.process(run())


def test_all_go_on_when_the_last_is_there() -> None:
    stage = Stage()
    barrier = Barrier(stage)  # type: ignore[arg-type]
    for name, time in (("a", 3.0), ("b", 1.0), ("c", 2.0)):
        stage.member(barrier, name, time)
    stage.env.run()
    assert sorted(stage.seen) == [(3.0, "a", None), (3.0, "b", None), (3.0, "c", None)]


def test_what_is_served_takes_its_time_and_goes_to_each() -> None:
    stage = Stage()
    barrier = Barrier(stage, stage.serve)  # type: ignore[arg-type]
    stage.member(barrier, "a", 3.0, 4.0)
    stage.member(barrier, "b", 1.0, 20.0)
    stage.env.run()
    assert stage.served == [(3.0, {"a": 1, "b": 1}), (20.0, {"a": 2, "b": 2})]
    assert sorted(stage.seen) == [(13.0, "a", 10), (13.0, "b", 10), (30.0, "a", 20), (30.0, "b", 20)]


def test_nobody_waits_for_one_who_has_left() -> None:
    stage = Stage()
    barrier = Barrier(stage, stage.serve)  # type: ignore[arg-type]
    stage.member(barrier, "a", 1.0, leaves=15.0)
    stage.member(barrier, "b", 2.0, 14.0)
    stage.env.run()
    assert stage.served == [(2.0, {"a": 1, "b": 1}), (15.0, {"b": 2})]
    assert stage.seen[-1] == (25.0, "b", 20)


def test_one_who_leaves_while_waiting_is_not_served() -> None:
    stage = Stage()
    barrier = Barrier(stage, stage.serve)  # type: ignore[arg-type]
    for name in ("a", "b"):
        barrier.join(name)
    waiting = barrier.wait("a", 1)
    next(waiting)
    barrier.leave("a")
    stage.env.process(barrier.wait("b", 2))
    stage.env.run()
    assert stage.served == [(0.0, {"b": 2})]


def test_when_all_have_left_nothing_is_served() -> None:
    stage = Stage()
    barrier = Barrier(stage, stage.serve)  # type: ignore[arg-type]
    barrier.join("a")
    barrier.leave("a")
    barrier.leave("a")
    stage.env.run()
    assert stage.served == []


def test_all_lose_what_the_server_loses() -> None:
    stage = Stage()
    stage.loses = True
    barrier = Barrier(stage, stage.serve)  # type: ignore[arg-type]
    for name in ("a", "b"):
        stage.member(barrier, name, 1.0)
    stage.env.run()
    assert sorted(stage.seen) == [(11.0, "a", "the server went away"), (11.0, "b", "the server went away")]


def test_interrupted_waiting_ends_at_once() -> None:
    stage = Stage()
    barrier = Barrier(stage)  # type: ignore[arg-type]
    for name in ("a", "b"):
        barrier.join(name)
    waiting = stage.env.process(barrier.wait("a"))

    def interrupt() -> Verb:
        yield stage.env.timeout(2)
        waiting.interrupt("gone")

    stage.env.process(interrupt())
    with pytest.raises(simpy.Interrupt):
        stage.env.run(waiting)
    assert stage.env.now == 2
