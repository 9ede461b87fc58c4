"""Replicas: one step at a time, in the order of asking; and a step that was lost is told of."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from functools import partial
from typing import Any, Literal
from unittest.mock import patch

import pytest
import simpy
from small_runs import played

from elsa_sim.base.errors import InvariantViolation, Lost
from elsa_sim.learning.splits.pattern import head_at
from elsa_sim.protocols.base import Protocol
from elsa_sim.world.replica import Replica, Turn
from elsa_sim.world.rounds import WaitOptions, run_round
from elsa_sim.world.world import Verb, World

Process = Generator[simpy.Event, Any, Any]


def taking(env: simpy.Environment, seconds: float, part: int) -> Process:
    """A step that adds one to what it found when it began."""
    yield env.timeout(seconds)
    return part, part + 1


def test_steps_come_one_after_another() -> None:
    env = simpy.Environment()
    replica: Any = Replica(env, 0)  # type: ignore[arg-type]
    ended: list[tuple[float, int]] = []

    def client(begin: float, seconds: float) -> Process:
        yield env.timeout(begin)
        found = yield from replica.step(partial(taking, env, seconds))
        ended.append((env.now, found))

    for begin, seconds in ((0.0, 5.0), (2.0, 1.0), (1.0, 1.0)):
        env.process(client(begin, seconds))
    env.run()
    assert ended == [(5.0, 0), (6.0, 1), (7.0, 2)]  # in the order of asking, each on what the one before left
    assert replica.trained == 3


def test_reading_waits_for_a_step_and_changes_nothing() -> None:
    env = simpy.Environment()
    replica: Any = Replica(env, 7)  # type: ignore[arg-type]
    seen: list[tuple[float, int]] = []

    def reading(part: int) -> Process:
        yield env.timeout(1.0)
        return part

    def reader() -> Process:
        found = yield from replica.read(reading)
        seen.append((env.now, found))

    env.process(replica.step(partial(taking, env, 3.0)))
    env.process(reader())
    env.run()
    assert seen == [(4.0, 8)]
    assert replica.trained == 8


def test_lost_work_leaves_the_part_and_gives_the_turn_on() -> None:
    env = simpy.Environment()
    replica: Any = Replica(env, 0)  # type: ignore[arg-type]

    def failing(part: int) -> Process:
        yield env.timeout(1.0)
        raise Lost("the device went away")

    def first() -> Process:
        with pytest.raises(Lost):
            yield from replica.step(failing)

    env.process(first())
    env.process(replica.step(partial(taking, env, 1.0)))
    env.run()
    assert (env.now, replica.trained) == (2.0, 1)


@pytest.mark.parametrize("when", [0.5, 2.0])
def test_who_is_interrupted_while_waiting_is_waited_for_no_more(when: float) -> None:
    """Also at the very instant at which its turn comes."""
    env = simpy.Environment()
    turn = Turn(env)
    order: list[str] = []

    def work(name: str, seconds: float) -> Process:
        order.append(name)
        yield env.timeout(seconds)

    def member(name: str, seconds: float) -> Process:
        try:
            yield from turn.during(partial(work, name, seconds))
        except simpy.Interrupt:
            order.append(f"{name} gave up")

    env.process(member("a", 2.0))
    waiting = env.process(member("b", 1.0))
    env.process(member("c", 1.0))

    def stop() -> Process:
        yield env.timeout(when)
        waiting.interrupt()

    env.process(stop())
    env.run()
    assert order == ["a", "b gave up", "c"]
    assert env.now == 3.0


def first_of(world: World) -> Any:
    (first,) = world.split_clients[0].own
    return first


SLOW = ("devices.cloud.speed=0.2 GFLOP/s", "split={policy: fixed, p: 1}")  # the main server has a queue


@pytest.fixture(autouse=True, scope="module")
def _first_try() -> Iterator[None]:
    """A protocol of this module only: it is registered while its tests run."""

    class Split(Protocol):
        """Clients in parallel, one server part; as an author may write it at first, or with a replica."""

        kind: Literal["first_try"] = "first_try"
        pattern = head_at("cloud", shared=True)
        exclusive: bool = False
        """Whether its server's part is a replica."""

        def run(self, world: World) -> Verb:
            theta = world.model.initial()
            if world.evaluate(theta, round=0):
                return
            part = world.split_clients[0].served
            self_rest = [world.model.take(part, theta)]
            replica = Replica(world.env, self_rest[0])
            optimizer = world.model.optimizer(self.lr, 0.0)

            def learn(rest: Any, h: Any, batch: Any) -> Verb:
                work = world.model.learn(rest, h, batch, optimizer)
                _, *after, loss = yield from world.compute(world.cloud, work, round=1, step=1)
                world.stepped(loss)
                return loss, rest.stepped(*after)

            def train(client: Any) -> Verb:
                (first,) = client.own
                for _ in range(self.local_steps):
                    batch = next(client.batches)
                    bottom = world.model.take(first, theta)
                    h, _ = yield from world.compute(client.name, world.model.forward(bottom, batch, batch.lengths))
                    h = yield from world.send(client.name, world.cloud, h, "activation", round=1)
                    if self.exclusive:
                        yield from replica.step(partial(learn, h=h, batch=batch))
                    else:
                        _, self_rest[0] = yield from learn(self_rest[0], h, batch)

            tasks = {client.name: partial(train, client) for client in world.split_clients}
            yield from run_round(world, tasks, WaitOptions(), round=1, at=world.cloud)
            done = replica.trained if self.exclusive else self_rest[0]
            world.evaluate(theta.merge([theta.pick(world.model.names([first_of(world)])), done.adapters]), round=1)

    yield
    del Protocol.members["first_try"]


def test_a_step_from_a_copy_that_another_replaced_fails_the_run() -> None:
    with pytest.raises(
        InvariantViolation, match=r"a step was lost: part2\.learn on cloud, ended at .*replica\.Replica\.step"
    ):
        played("protocol={kind: first_try, rounds: 1, local_steps: 3}", *SLOW)


@pytest.mark.parametrize("mode", ["real", "timing"])
def test_with_a_replica_no_step_is_lost(mode: str) -> None:
    results = played(
        "protocol={kind: first_try, rounds: 1, local_steps: 3, exclusive: true}", f"execution.mode={mode}", *SLOW
    )
    assert results.summary["invariants"] == "hold"
    assert (results.events["detail"] == "part2.learn").sum() == 9


def test_the_invariant_sees_shipped_protocols_without_their_turns() -> None:
    """SplitFed V2 with a turn that lets everybody in at once."""

    def at_once(self: Turn, work: Callable[[], Verb]) -> Verb:
        return (yield from work())

    change = ("protocol={kind: splitfed_v2, rounds: 1, local_steps: 4}", "devices.cloud.speed=0.2 GFLOP/s")
    assert played(*change).summary["invariants"] == "hold"
    with patch.object(Turn, "during", at_once), pytest.raises(InvariantViolation, match="a step was lost"):
        played(*change)
