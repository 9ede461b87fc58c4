"""Who takes part in a round: waiting for all, for the first m, or until a deadline; going on without those who are gone.

A *task* is one participant's share of a round, as a process of the world. It ends with its result, or it is missing: its
device went away, the network gave a message up, or the round closed before it was done. Work of those who are late is
discarded (no stale updates); the event table says who was missing from which round, and why.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import simpy
from pydantic import Field

from .errors import Lost
from .learning.work import Work
from .registry import Options
from .units import Seconds
from .world import Verb, World


class WaitOptions(Options):
    """When a synchronous round closes; by default when everyone has arrived or is gone."""

    first: int | None = Field(default=None, ge=1)
    """Close when this many have arrived."""
    deadline: Seconds | None = Field(default=None, gt=0)
    """Close this long after the round began."""


def present(world: World, node: str) -> bool:
    """Whether a node's device is there now."""
    return world.devices[node].available


def gather(world: World, tasks: Mapping[str, Callable[[], Verb]], wait: WaitOptions, *, round: int, at: str) -> Verb:
    """Run one task per participant side by side for the server ``at``; returns the results of those who arrived.

    A participant that is away when the round begins is missing from it; if all are away, the round begins when the first
    of them is back. A task is interrupted when its own node goes away, and all are when the server does.

    Raises:
        Lost: the server went away, or every participant is gone for good.
    """
    yield from _someone(world, tuple(tasks))
    begin, arrived = world.now, dict[str, Any]()
    closed = world.env.event()
    running: dict[str, simpy.Process] = {}

    def task(name: str) -> Verb:
        try:
            arrived[name] = yield from tasks[name]()
        except Lost as error:
            world.missing(name, begin, str(error), round=round)
        except simpy.Interrupt as interrupt:
            world.missing(name, begin, str(interrupt.cause), round=round)
        running.pop(name)
        if not closed.triggered and (not running or len(arrived) == wait.first):
            closed.succeed("enough others had arrived")

    for name in tasks:
        if present(world, name):
            running[name] = world.spawn(task(name))
        else:
            world.missing(name, begin, "away when the round began", round=round)
    for name, process in list(running.items()):
        _at(world, world.devices[name].presence.leaves(begin), partial(_stop, process, f"{name} went away"))
    if wait.deadline is not None:
        _at(world, begin + wait.deadline, lambda: closed.triggered or closed.succeed("the deadline had passed"))
    _at(
        world,
        world.devices[at].presence.leaves(begin),
        lambda: closed.triggered or closed.fail(Lost(f"{at} went away")),
    )
    try:
        reason = yield closed
    except (Lost, simpy.Interrupt) as end:
        for process in list(running.values()):
            _stop(process, str(end.cause) if isinstance(end, simpy.Interrupt) else str(end))
        raise
    for process in list(running.values()):
        _stop(process, f"the round closed: {reason}")
    return {name: arrived[name] for name in tasks if name in arrived}


def insist(world: World, node: str, work: Work, *, round: int) -> Verb:
    """Aggregate on ``node``; if the device goes away meanwhile, again when it is back.

    Raises:
        Lost: the device is gone for good.
    """
    while True:
        try:
            result = yield from world.compute(node, work, round=round, kind="aggregation")
        except Lost:
            yield from _someone(world, (node,))
        else:
            return result


def _someone(world: World, nodes: tuple[str, ...]) -> Verb:
    """Wait until one of the nodes is there."""
    back = min((world.devices[node].presence.back(world.now) for node in nodes), default=world.now)
    if back == math.inf:
        raise Lost(f"{', '.join(nodes[:5])}{', ...' if len(nodes) > 5 else ''} went away for good")
    if back > world.now:
        yield world.env.timeout(back - world.now)


def _at(world: World, time: float, action: Callable[[], Any]) -> None:
    """Call ``action`` at a simulated time, if it ever comes."""
    if time < math.inf:
        world.env.timeout(max(0.0, time - world.now)).callbacks.append(lambda _: action())


def _stop(process: simpy.Process, reason: str) -> None:
    if process.is_alive:
        process.interrupt(reason)
