"""Plans of messages and pauses, and their playing by real processes over real TCP (see player.py)."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

from delay_lab import DelayLab, Lateness

PORT = 5000


@dataclass(frozen=True)
class Action:
    """A pause at ``node`` after the ends of ``after``; with ``key``, a message to ``to`` on that connection when it is over.

    Pauses with ``device`` are one after another at a node, in the order in which their turns come: its computing. ``after``
    are ids of actions of this node and of messages to it. A message ends when its last byte arrives.
    """

    id: str
    node: str
    after: tuple[str, ...] = ()
    pause_s: float = 0.0
    key: str | None = None
    to: str = ""
    bytes: int = 0
    fresh: bool = False
    device: bool = False


@dataclass(frozen=True)
class Played:
    """Ends of all actions and starts of the messages (s from the beginning), and how late the emulator was.

    ``again`` are the segments that a message's connection had sent again up to the next message on it, or the end.
    """

    ends: Mapping[str, float]
    starts: Mapping[str, float]
    again: Mapping[str, int]
    lateness: Lateness

    def took(self, message: str) -> float:
        """Seconds from the call that sends a message to its last byte's arrival."""
        return self.ends[message] - self.starts[message]


def play(
    lab: DelayLab, actions: Sequence[Action], connections: Mapping[str, tuple[str, str]], patience_s: float = 120.0
) -> Played:
    """Play a plan; ``connections`` are key -> (who opens it, the other end).

    Raises:
        RuntimeError: a host broke off, or messages have not arrived in time.
    """
    hosts = _hosts(actions, connections)
    task = {
        "address": {host: lab.address(host) for host in hosts}, "port": PORT, "patience_s": patience_s,
        "actions": [asdict(action) for action in actions], "connections": connections,
    }  # fmt: skip
    players = {host: lab.start(host, "player.py") for host in hosts}
    try:
        for host in hosts:
            _tell(players[host], json.dumps({**task, "node": host}))
        for host in hosts:
            if _hear(players[host]) != "ready":
                raise RuntimeError(f"{host} broke off before it was connected")
        lab.lateness()
        begin = json.dumps({"begin_ns": time.time_ns() + 100_000_000})
        for host in hosts:
            _tell(players[host], begin)
        for host in hosts:
            if _hear(players[host]) != "played":
                raise RuntimeError(f"{host} broke off")
        lateness = lab.lateness()
        for host in hosts:
            _tell(players[host], "report")
        told = {host: json.loads(_hear(players[host])) for host in hosts}
    finally:
        for player in players.values():
            player.communicate()
    lacking = [i for answer in told.values() for i in answer["lacking"]]
    if lacking:
        raise RuntimeError(f"{len(lacking)} messages did not arrive within {patience_s:g} s, {lacking[0]} first")
    ends, starts, again = (
        {i: value for answer in told.values() for i, value in answer[kind].items()}
        for kind in ("times", "starts", "again")
    )
    return Played(ends, starts, again, lateness)


def _tell(player: subprocess.Popen[str], line: str) -> None:
    assert player.stdin is not None
    print(line, file=player.stdin, flush=True)


def _hear(player: subprocess.Popen[str]) -> str:
    assert player.stdout is not None
    return player.stdout.readline().strip()


def _hosts(actions: Iterable[Action], connections: Mapping[str, tuple[str, str]]) -> list[str]:
    nodes = [node for action in actions for node in (action.node, action.to) if node]
    return list(dict.fromkeys([*nodes, *(end for ends in connections.values() for end in ends)]))
