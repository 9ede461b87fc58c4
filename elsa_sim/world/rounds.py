"""Who takes part in a round: waiting for all, for the first m, or until a deadline; going on without those who are gone.

A *task* is one participant's share of a round, as a process of the world. It ends with its result, or it is missing: its
device went away, the network gave a message up, or the round closed before it was done. Work of those who are late is
discarded (no stale updates); the event table says who was missing from which round, and why.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import simpy
from pydantic import Field

from ..base.errors import Lost, RunFailed
from ..base.listing import listed
from ..base.registry import Options
from ..base.units import MOST_COUNT
from ..learning.execution.work import Work
from ..topology.limits import MeanTime
from .world import Verb, World


class WaitOptions(Options):
    """When a synchronous round closes; by default when everyone has arrived or is gone."""

    first: int | None = Field(default=None, ge=1, le=MOST_COUNT)
    """Close when this many have arrived."""
    deadline: MeanTime | None = None
    """Close this long after the server was ready for the round."""


def present(world: World, node: str) -> bool:
    """Whether a node's device is there now."""
    return world.devices[node].available


def wait_until_online(world: World, nodes: Sequence[str]) -> Verb:
    """Wait until one of ``nodes`` is there.

    Raises:
        Lost: all of them are gone for good.
    """
    while nodes:
        back = _first_back(world, nodes, world.now)
        if back <= world.now:
            return
        if back == math.inf:
            raise Lost(f"at {world.now:g} s, all who could go on are gone for good: {listed(nodes)}")
        yield world.env.timeout(back - world.now)


def _insist_on_clients(world: World, round: int) -> None:
    """A deadline ends a round in which nobody is, but a run of such rounds has no result."""
    if all(world.devices[client.name].presence.back(world.now) == math.inf for client in world.clients):
        names = [client.name for client in world.clients]
        raise RunFailed(
            f"at {world.now:g} s, all clients are gone for good: {listed(names)}; nothing is left to train in round {round}"
        )


def run_round(
    world: World,
    tasks: Mapping[str, Callable[[], Verb]],
    wait: WaitOptions,
    *,
    round: int,
    at: str,
    behind: Mapping[str, Sequence[str]] | None = None,
    choose: Callable[[], Mapping[str, Callable[[], Verb]]] | None = None,
) -> Verb:
    """Run one task per participant side by side for the server ``at``; returns the results of those who arrived in time.

    The tasks begin when the server and at least one participant are there. A participant that is away then is missing
    from the round; a task is interrupted when its own node goes away. If the server goes away, the round is lost: all
    are missing, and nothing is returned once the server is back. With a participant, those ``behind`` it are missing
    too. A deadline counts from when the server was there, whether or not anybody else was; it is met by what arrives
    before it. ``choose`` is asked when the round begins, and gives the tasks of those who take part after all,
    in the place of theirs in ``tasks``.

    Raises:
        Lost: the server is gone for good, or every participant is and no deadline ends the wait.
        RunFailed: all clients of the world are gone for good, so that no round will ever change anything.
    """
    _insist_on_clients(world, round)
    begin, arrived = (yield from _opened(world, tuple(tasks), wait, at)), dict[str, Any]()
    running: dict[str, simpy.Process] = {}
    closing = world.env.event()
    if choose is not None:
        tasks = choose()

    def missing(name: str, reason: str) -> None:
        for each in (name, *(behind or {}).get(name, ())):
            world.missing(each, begin, reason, round=round)

    def task(name: str) -> Verb:
        try:
            result = yield from tasks[name]()
        except Lost as error:
            missing(name, str(error))
        except simpy.Interrupt as interrupt:
            if interrupt.cause is not None:
                missing(name, str(interrupt.cause))
        else:
            if closing.triggered:  # at the same instant, after the one that closed the round
                missing(name, f"the round closed: {closing.value}")
            else:
                arrived[name] = result
        del running[name]
        if len(arrived) == wait.first:
            close(f"the first {wait.first} had arrived")
        elif not running:
            close("all had arrived or were gone")

    def close(reason: str) -> None:
        if not closing.triggered:
            closing.succeed(reason)

    def stop(name: str, reason: str | None) -> None:
        if name in running and running[name].is_alive:
            running[name].interrupt(reason)

    for name in tasks:
        if present(world, name):
            running[name] = world.spawn(task(name))
            _at(world, world.devices[name].presence.leaves(world.now), partial(stop, name, f"{name} went away"))
        else:
            missing(name, "away when the round began")
    if not running:
        close("nobody was there")
    if wait.deadline is not None:
        _at(world, begin + wait.deadline, partial(close, f"the deadline of {wait.deadline:g} s had passed"))
    lost = f"{at} went away"
    _at(world, world.devices[at].presence.leaves(world.now), partial(close, lost))
    try:
        reason = yield closing
    except simpy.Interrupt:  # whoever waits for this round says who is missing from it
        for name in tuple(running):
            stop(name, None)
        raise
    late = lost if reason == lost else f"the round closed: {reason}"
    for name in tuple(running):
        stop(name, late)
    if reason != lost:
        return {name: arrived[name] for name in tasks if name in arrived}
    for name in arrived:
        missing(name, lost)
    yield from wait_until_online(world, (at,))
    return {}


def _opened(world: World, names: Sequence[str], wait: WaitOptions, at: str) -> Verb:
    """Wait for the server and the first participant, or until the deadline; returns when the round began (s)."""
    while names:
        yield from wait_until_online(world, (at,))
        begin = world.now
        back = _first_back(world, names, begin)
        if wait.deadline is None:
            if back <= begin:
                return begin
            yield from wait_until_online(world, names)
            continue
        until = min(back, begin + wait.deadline)
        if until < world.devices[at].presence.leaves(begin):
            yield from _until(world, until)
            return begin
        yield from _until(world, world.devices[at].presence.leaves(begin))
    return world.now


def _first_back(world: World, names: Sequence[str], now: float) -> float:
    """When the first of ``names`` is there (s), ``now`` if one of them is."""
    first = math.inf
    for name in names:
        back = world.devices[name].presence.back(now)
        if back <= now:
            return back
        first = min(first, back)
    return first


def _until(world: World, time: float) -> Verb:
    """Wait until a time (s), never less."""
    while world.now < time:
        yield world.env.timeout(time - world.now)


def run_while_online(world: World, node: str, share: Verb) -> Verb:
    """Run ``share`` for as long as the device of ``node`` is there; returns its result.

    Raises:
        Lost: the device went away meanwhile, or the share was lost for another reason.
    """

    def run() -> Verb:
        try:
            result = yield from share
        except Lost as error:
            return None, error
        except simpy.Interrupt as interrupt:
            return None, Lost(str(interrupt.cause))
        return result, None

    process = world.spawn(run())

    def stop() -> None:
        if process.is_alive:
            process.interrupt(f"{node} went away")

    _at(world, world.devices[node].presence.leaves(world.now), stop)
    result, error = yield process
    if error is not None:
        raise error
    return result


def retry(world: World, node: str, work: Work, *, round: int) -> Verb:
    """Aggregate on ``node``; if the device goes away meanwhile, again when it is back.

    Raises:
        Lost: the device is gone for good.
    """
    while True:
        try:
            result = yield from world.compute(node, work, round=round, kind="aggregation")
        except Lost:
            yield from wait_until_online(world, (node,))
        else:
            return result


def _at(world: World, time: float, action: Callable[[], Any]) -> None:
    """Call ``action`` at a simulated time, never before it, if it ever comes."""

    def ring(_: Any) -> None:
        if world.now < time:
            _at(world, time, action)
        else:
            action()

    if time < math.inf:
        world.env.timeout(max(0.0, time - world.now)).callbacks.append(ring)
