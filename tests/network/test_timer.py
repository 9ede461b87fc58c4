"""Timers: after everything else of an instant, at the earliest time asked for, once."""

from __future__ import annotations

import math

import pytest
import simpy

from elsa_sim.network.timer import Timer, at


def test_at_is_after_every_ordinary_event_of_its_instant() -> None:
    env = simpy.Environment(1.0)
    seen: list[str] = []
    at(env, 2.0, lambda _: seen.append("at 2"))
    at(env, 0.5, lambda _: seen.append("past, so now"))
    for name, delay in (("now", 0.0), ("in a second", 1.0)):
        env.timeout(delay).callbacks.append(lambda _, name=name: seen.append(name))
    env.run()
    assert seen == ["now", "past, so now", "in a second", "at 2"]
    assert env.now == 2.0


def test_the_earliest_time_counts_and_it_rings_once() -> None:
    env = simpy.Environment()
    rung: list[float] = []
    timer = Timer(env, lambda: rung.append(env.now))
    assert timer.time == math.inf
    for time in (5.0, 3.0, 3.0, 4.0):
        timer.by(time)
    assert timer.time == 3.0
    env.run()
    assert rung == [3.0]
    assert timer.time == math.inf


def test_it_can_be_set_again_when_it_rings() -> None:
    env = simpy.Environment()
    rung: list[float] = []

    def again() -> None:
        rung.append(env.now)
        if env.now < 3.0:
            timer.by(env.now + 1.0)

    timer = Timer(env, again)
    timer.by(1.0)
    env.run()
    assert rung == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("start", [0.0, 1.0 / 3.0, 12345.678, 1e9 / 7.0])
def test_rounding_of_the_clock_does_not_silence_it(start: float) -> None:
    """What is scheduled after ``time - now`` may come up a rounding error early."""
    env = simpy.Environment(start)
    rung: list[float] = []
    timer = Timer(env, lambda: rung.append(env.now))
    for i in range(1, 50):
        timer.by(start + i / 7.0)
        env.run()
        assert len(rung) == i
        assert rung[-1] == pytest.approx(start + i / 7.0, rel=1e-15)
