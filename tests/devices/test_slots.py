"""Slots of a device: the order of events is that of `simpy.Resource`, which they stand for, interruptions included."""

from __future__ import annotations

from collections.abc import Generator
from random import Random
from typing import Any

import pytest
import simpy

from elsa_sim.devices.slots import Slots

Process = Generator[simpy.Event, Any, None]


def played(seed: int, count: int, plain: bool) -> list[tuple[float, int, str]]:
    """What many who want a slot see, in order: waits, work and interruptions of whole seconds, so that much happens at once."""
    env, random, seen = simpy.Environment(), Random(seed), list[tuple[float, int, str]]()
    slots: Any = Slots(env, count) if plain else simpy.Resource(env, count)

    def holding(who: int, seconds: float) -> Process:
        if not plain:
            with slots.request() as mine:
                yield mine
                seen.append((env.now, who, "began"))
                yield env.timeout(seconds)
            return
        mine = slots.request()
        try:
            yield mine
            seen.append((env.now, who, "began"))
            yield env.timeout(seconds)
        finally:
            slots.give_back(mine)

    def member(who: int, plan: list[tuple[int, int]]) -> Process:
        for wait, seconds in plan:
            try:
                yield env.timeout(wait)
                yield from holding(who, seconds)
                seen.append((env.now, who, "ended"))
            except simpy.Interrupt:
                seen.append((env.now, who, "interrupted"))

    def disturber(members: list[simpy.Process]) -> Process:
        while True:
            yield env.timeout(random.randint(0, 3))
            alive = [each for each in members if each.is_alive]
            if not alive:
                return
            random.choice(alive).interrupt()

    plans = [[(random.randint(0, 2), random.randint(0, 3)) for _ in range(6)] for _ in range(8)]
    members = [env.process(member(who, plan)) for who, plan in enumerate(plans)]
    env.process(disturber(members))
    env.run()
    return seen


@pytest.mark.parametrize("count", [1, 2, 5])
def test_events_come_in_the_order_of_a_resource(count: int) -> None:
    for seed in range(60):
        found = played(seed, count, plain=True)
        assert found == played(seed, count, plain=False)
        assert {what for _, _, what in found} == {"began", "ended", "interrupted"} or seed
