"""One host of an emulation plays its part of a plan of messages and pauses. A script of its own: standard library only.

First line of stdin: ``{"node", "address": {node: address}, "port": the first, "actions": [...], "patience_s",
"connections": {key: [opener, other]}}``. It answers ``ready`` when its connections are made, reads ``{"begin_ns": ...}`` (of the
wall clock, which all hosts share), plays, and says ``played``; at the next line it writes ``{"times": {id: s}, "starts": {id: s},
"again": {id: n}, "lacking": [...]}``. ``again`` are the segments that a connection had sent again up to the next message of this
node on it, or the end.

An action is ``{"id", "node", "after": [ids], "pause_s", "key", "to", "bytes", "fresh", "device"}``. It starts when all of
``after`` have ended, which are actions of this node or messages to it; at once without any. It ends ``pause_s`` later; an action
with a ``key`` then sends ``bytes`` bytes on that connection, and as a message ends where it arrives, when the kernel has its last
byte. Actions with ``device`` are done one at a time, in the order in which they could start. What comes of what is reckoned with
the times at which things were due, so that late wake-ups do not add up. Messages of a connection and direction are sent in the
order of the plan. ``fresh`` connects when it sends; its start is the call of ``connect``, all others are those of ``send``.
"""

from __future__ import annotations

import contextlib
import heapq
import json
import os
import selectors
import socket
import struct
import sys
import time
from typing import Any

CHUNK = memoryview(bytes(1 << 20))
TIMESTAMP = getattr(socket, "SO_TIMESTAMPNS", 35)
RETRANSMISSIONS_AT = 100  # tcpi_total_retrans in struct tcp_info


def prepared(sock: socket.socket) -> socket.socket:
    """A TCP socket with cubic, without Nagle's algorithm, and with times of arrival."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic")
    sock.setsockopt(socket.SOL_SOCKET, TIMESTAMP, 1)
    return sock


class Connection:
    """One end of a connection: what is to be sent, in order, and what is still to come."""

    def __init__(self, key: str, incoming: list[dict[str, Any]]) -> None:
        self.key = key
        self.sock: socket.socket | None = None
        self.outgoing: list[tuple[str, int]] = []
        self.unsent = 0
        self.incoming = incoming
        self.lacking = incoming[0]["bytes"] if incoming else 0


class Player:
    """Plays the actions of one node."""

    def __init__(self, task: dict[str, Any]) -> None:
        self.node, self.addresses = task["node"], task["address"]
        self.ports = {key: task["port"] + i for i, key in enumerate(task["connections"])}
        self.selector = selectors.SelectSelector()  # epoll would wait in whole milliseconds
        self.actions = {a["id"]: a for a in task["actions"] if a["node"] == self.node}
        self.waiting = {i: len(a["after"]) for i, a in self.actions.items()}
        self.dependents: dict[str, list[str]] = {}
        for i, action in self.actions.items():
            for cause in action["after"]:
                self.dependents.setdefault(cause, []).append(i)
        self.due_ns = dict.fromkeys(self.actions, 0)
        self.timers: list[tuple[int, int, str]] = []
        self.order = {a["id"]: k for k, a in enumerate(task["actions"])}
        self.free_ns = 0
        self.times: dict[str, int] = {}
        self.starts: dict[str, int] = {}
        self.connections: dict[str, Connection] = {}
        self.turns: dict[str, list[str]] = {}
        self.postponed: dict[str, int] = {}
        self.again: dict[str, int] = {}
        self.last: dict[str, str] = {}
        for key, ends in task["connections"].items():
            if self.node in ends:
                mine = [a for a in task["actions"] if a.get("key") == key and a["to"] == self.node]
                self.connections[key] = Connection(key, mine)
                self.turns[key] = [i for i, a in self.actions.items() if a.get("key") == key]
        self.ends = task["connections"]
        self.fresh = {a["key"] for a in task["actions"] if a.get("fresh")}
        self.open = len(self.actions) + sum(len(c.incoming) for c in self.connections.values())

    def connect(self) -> None:
        """Make the connections that this node opens, and take those that it is to accept; each has a port of its own."""
        listeners = {}
        for key, (_, other) in self.ends.items():
            if other == self.node:
                listeners[key] = prepared(socket.socket())
                listeners[key].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listeners[key].bind(("0.0.0.0", self.ports[key]))
                listeners[key].listen()
        for key, (opener, other) in self.ends.items():
            if opener == self.node and key not in self.fresh:
                self.adopt(key, self.dialled(other, key))
        for key, listener in listeners.items():
            if key in self.fresh:
                self.selector.register(listener, selectors.EVENT_READ, key)
            else:
                self.adopt(key, listener.accept()[0])

    def dialled(self, other: str, key: str) -> socket.socket:
        """A connection to another node, as soon as it listens."""
        while True:
            sock = prepared(socket.socket())
            try:
                sock.connect((self.addresses[other], self.ports[key]))
            except (ConnectionRefusedError, TimeoutError):
                sock.close()
                time.sleep(0.02)
                continue
            return sock

    def adopt(self, key: str, sock: socket.socket) -> None:
        """A connection is there."""
        prepared(sock).setblocking(False)
        self.connections[key].sock = sock
        self.selector.register(sock, selectors.EVENT_READ, self.connections[key])

    def play(self, begin_ns: int, patience_s: float) -> None:
        """Play until all actions have been done and all messages have come, or patience ends."""
        self.begin_ns = begin_ns
        for i, left in self.waiting.items():
            if not left:
                self.plan(i)
        end = begin_ns + int(patience_s * 1e9)
        while self.open and (now := time.time_ns()) < end:
            while self.timers and self.timers[0][0] <= now:
                due, _, i = heapq.heappop(self.timers)
                self.perform(i, due)
            wake = min(end, self.timers[0][0]) if self.timers else end
            for ready, events in self.selector.select(max(0.0, (wake - time.time_ns()) * 1e-9) if self.open else 0):
                if isinstance(ready.data, str):
                    assert isinstance(ready.fileobj, socket.socket)
                    self.adopt(ready.data, ready.fileobj.accept()[0])
                    continue
                if events & selectors.EVENT_WRITE:
                    self.send(ready.data)
                if events & selectors.EVENT_READ:
                    self.receive(ready.data)

    def plan(self, i: str) -> None:
        """All causes of an action have happened."""
        action = self.actions[i]
        due = max(self.due_ns[i], self.begin_ns, self.free_ns if action["device"] else 0) + int(action["pause_s"] * 1e9)
        if action["device"]:
            self.free_ns = due
        heapq.heappush(self.timers, (due, self.order[i], i))

    def perform(self, i: str, due: int) -> None:
        """The pause of an action is over."""
        key = self.actions[i].get("key")
        if key is None:
            self.open -= 1
            self.ended(i, due)
            return
        self.postponed[i] = due
        while self.turns[key] and self.turns[key][0] in self.postponed:
            first = self.turns[key].pop(0)
            connection = self.connections[key]
            connection.outgoing.append((first, self.actions[first]["bytes"]))
            if len(connection.outgoing) == 1:
                self.send(connection)

    def ended(self, i: str, at: int) -> None:
        """An action of this node, or a message to it, has ended."""
        self.times[i] = at
        for dependent in self.dependents.get(i, ()):
            self.due_ns[dependent] = max(self.due_ns[dependent], at)
            self.waiting[dependent] -= 1
            if not self.waiting[dependent]:
                self.plan(dependent)

    def send(self, connection: Connection) -> None:
        """Hand the kernel what it takes."""
        if connection.sock is None:
            self.starts[connection.outgoing[0][0]] = time.time_ns()
            self.last[connection.key] = connection.outgoing[0][0]
            sock = prepared(socket.socket())
            sock.setblocking(False)
            sock.connect_ex((self.addresses[self.ends[connection.key][1]], self.ports[connection.key]))
            connection.sock = sock
            self.selector.register(sock, selectors.EVENT_WRITE | selectors.EVENT_READ, connection)
            return
        while connection.outgoing:
            i, nbytes = connection.outgoing[0]
            if i not in self.starts:
                self.count(connection)
                self.last[connection.key] = i
                self.starts[i] = time.time_ns()
            left = connection.unsent or nbytes
            try:
                left -= connection.sock.send(CHUNK[: min(left, len(CHUNK))])
            except BlockingIOError:
                connection.unsent = left
                break
            connection.unsent = left
            if not left:
                connection.outgoing.pop(0)
                self.open -= 1
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if connection.outgoing else 0)
        self.selector.modify(connection.sock, events, connection)

    def receive(self, connection: Connection) -> None:
        """Take what has come, at most to the end of a message, whose time is the kernel's for its last byte."""
        assert connection.sock is not None
        while connection.incoming:
            try:
                data, extra, _, _ = connection.sock.recvmsg(min(connection.lacking, 1 << 18), 64)
            except (BlockingIOError, ConnectionRefusedError):
                return
            if not data:
                self.selector.unregister(connection.sock)
                return
            connection.lacking -= len(data)
            if connection.lacking:
                continue
            stamps = [
                struct.unpack("qq", value)
                for level, kind, value in extra
                if (level, kind) == (socket.SOL_SOCKET, TIMESTAMP)
            ]
            at = stamps[-1][0] * 10**9 + stamps[-1][1] if stamps else time.time_ns()
            done = connection.incoming.pop(0)
            connection.lacking = connection.incoming[0]["bytes"] if connection.incoming else 0
            self.open -= 1
            self.ended(done["id"], at)

    def count(self, connection: Connection) -> None:
        """Note what the last message took."""
        if connection.key in self.last:
            assert connection.sock is not None
            info = connection.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
            self.again[self.last[connection.key]] = struct.unpack_from("I", info, RETRANSMISSIONS_AT)[0]

    def report(self) -> dict[str, Any]:
        """What happened, in s from the beginning."""
        for connection in self.connections.values():
            self.count(connection)
        seconds = {
            kind: {i: (t - self.begin_ns) * 1e-9 for i, t in getattr(self, kind).items()}
            for kind in ("times", "starts")
        }
        return {
            **seconds,
            "again": self.again,
            "lacking": [a["id"] for c in self.connections.values() for a in c.incoming],
        }


def main() -> None:
    """Do as told."""
    with contextlib.suppress(OSError, AttributeError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))  # behind the emulator, before everybody else
    task = json.loads(sys.stdin.readline())
    player = Player(task)
    player.connect()
    print("ready", flush=True)  # noqa: T201
    player.play(json.loads(sys.stdin.readline())["begin_ns"], task["patience_s"])
    print("played", flush=True)  # noqa: T201
    sys.stdin.readline()  # when all have played: what a sender has handed over may have to be sent again until it arrives
    print(json.dumps(player.report()), flush=True)  # noqa: T201
    sys.stdin.readline()  # connections stay until all have reported


if __name__ == "__main__":
    main()
