"""The network in simulated time: messages travel, share links, and arrive.

A message first waits the sum of its route's latencies, using no bandwidth; then it is a fluid that drains over all
channels of its route at once, at the rate that the link model allots. Rates change only when a flow enters, ends, or a
bandwidth changes; changes at one instant are settled together, after everything else that happens at that instant.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import simpy

from ..errors import InputError
from ..links import MaxMin
from ..topology import Topology
from .channels import Channels, Path
from .fluid import Flow, Fluid, ResolveAll
from .grouped import Grouped
from .options import NetworkOptions

#: SimPy priority of settling: after every ordinary event of the same instant.
_LAST = 2


@dataclass(frozen=True, slots=True)
class Delivery:
    """How a transfer ended. ``sent_bytes`` were carried by the network, all of them if ``status`` is ``ok``.

    Of an aborted message that is stored and forwarded, they are those of the hop it was on.
    """

    src: str
    dst: str
    nbytes: float
    route: tuple[str, ...]
    t_start_s: float
    t_end_s: float
    status: Literal["ok", "aborted"] = "ok"
    reason: str = ""
    sent_bytes: float = 0.0


class Transfer(simpy.Event):  # type: ignore[misc]
    """A message under way; as an event it happens when the message has ended, with its :class:`Delivery` as value."""

    def __init__(self, env: simpy.Environment, path: Path, nbytes: float, order: int) -> None:
        super().__init__(env)
        self.path = path
        self.nbytes = nbytes
        self.order = order
        self.t_start_s: float = env.now
        self.flow: Flow | None = None
        self.hop = 0
        self.sent_bytes = 0.0


class Network:
    """All transfers over one topology, in one SimPy environment."""

    def __init__(self, env: simpy.Environment, topology: Topology, options: NetworkOptions | None = None) -> None:
        self.env = env
        self.topology = topology
        self.options = options or NetworkOptions()
        self.channels = Channels(topology)
        self._fluid: Fluid = (
            Grouped(self.channels.capacities)
            if self.options.resolve == "touched" and isinstance(self.options.model, MaxMin)
            else ResolveAll(self.channels.capacities, self.options.model)
        )
        self._order = itertools.count()
        self._open: dict[Transfer, None] = {}
        self._settling = False
        self._armed = math.inf
        self._ticking = False
        self._entered_bits = 0.0
        self._ended_bits = 0.0
        self._wrong: list[str] = []

    # -- what a user does ---------------------------------------------------------------------------------------------

    def transfer(self, src: str, dst: str, nbytes: float, route: Sequence[str] | None = None) -> Transfer:
        """Send ``nbytes`` from ``src`` to ``dst``; yield the result to wait for its :class:`Delivery`.

        A message to the sender itself arrives at once, one of 0 bytes after the latency of its route.

        Raises:
            InputError: unknown nodes, no route, or a size that is not a finite number of at least 0.
        """
        if not (math.isfinite(nbytes) and nbytes >= 0):
            raise InputError(f"a message has a finite size of at least 0 bytes, got {nbytes!r}")
        message = Transfer(self.env, self.channels.path(src, dst, route), nbytes, next(self._order))
        self._open[message] = None
        self._depart(message)
        return message

    def abort(self, message: Transfer, reason: str) -> None:
        """Give a transfer up; it ends now with status ``aborted``. Nothing happens if it has ended already."""
        if message in self._open:
            if message.flow is not None:
                flow = message.flow
                self._fluid.leave(flow, self.env.now)
                message.sent_bytes = (flow.bits - flow.left) / 8.0
                self._account(message, flow.bits - flow.left)
                self._settle_soon()
            self._end(message, "aborted", reason)

    @property
    def in_flight(self) -> tuple[Transfer, ...]:
        """The transfers that have not ended, in the order they were started."""
        return tuple(self._open)

    @property
    def carried_bytes(self) -> dict[tuple[str, str], float]:
        """Bytes drained so far over each channel (u, v), those of transfers under way included."""
        carried = dict(self.channels.carried_bytes)
        for message in self._open:
            if message.flow is not None:
                done = (message.flow.bits - self._fluid.left(message.flow, self.env.now)) / 8.0
                for pair in self._pairs(message):
                    carried[pair] += done
        return carried

    def sent_bytes(self, message: Transfer) -> float:
        """Bytes of a transfer under way that the network has carried so far, over its current hop."""
        flow = message.flow
        return 0.0 if flow is None else (flow.bits - self._fluid.left(flow, self.env.now)) / 8.0

    def check(self) -> list[str]:
        """The invariants that do not hold: no channel over capacity; what was drained is what ended or is under way."""
        now = self.env.now
        self._settle(None)
        left = [(m.flow, self._fluid.left(m.flow, now)) for m in self._open if m.flow is not None]
        expected = self._ended_bits + math.fsum(flow.bits - rest for flow, rest in left)
        wrong = [*self._wrong, *self._fluid.over]
        if abs(expected - self._fluid.drained) > 1e-6 * max(expected, self._fluid.drained) + 1.0:
            wrong.append(f"bytes are not conserved: links drained {self._fluid.drained / 8:.6g} B, "
                         f"transfers account for {expected / 8:.6g} B")  # fmt: skip
        return wrong

    # -- the life of a message ----------------------------------------------------------------------------------------

    def _pairs(self, message: Transfer) -> Sequence[tuple[str, str]]:
        pairs = message.path.pairs
        return pairs[message.hop : message.hop + 1] if self.options.model.store_and_forward else pairs

    def _depart(self, message: Transfer) -> None:
        """Begin with the latency: of the whole route, or of none yet if the message is stored and forwarded."""
        if not message.path.channels:
            self._end(message)
        elif self.options.model.store_and_forward or not message.path.latency:
            self._enter(message)
        else:
            self._after(message.path.latency, message, self._enter)

    def _after(self, delay: float, message: Transfer, then: Any) -> None:
        timeout = self.env.timeout(delay)
        timeout.callbacks.append(lambda _: then(message) if message in self._open else None)

    def _enter(self, message: Transfer) -> None:
        if message.nbytes == 0:
            self._passed(message)
            return
        path = message.path
        store = self.options.model.store_and_forward
        channels = path.channels[message.hop : message.hop + 1] if store else path.channels
        message.flow = Flow(channels, message.nbytes * 8.0, message.order, message)
        if not self._ticking:
            self._catch_up()
        self._fluid.enter(message.flow, self.env.now)
        self._settle_soon()

    def _passed(self, message: Transfer) -> None:
        """The message has drained: the end, or on to the next hop after this one's latency."""
        if self.options.model.store_and_forward:
            delay = message.path.latencies[message.hop]
            message.hop += 1
            last = message.hop == len(message.path.channels)
            self._after(delay, message, self._end if last else self._enter)
        else:
            self._end(message)

    def _account(self, message: Transfer, bits: float) -> None:
        self._ended_bits += bits
        for pair in self._pairs(message):
            self.channels.carried_bytes[pair] += bits / 8.0
        message.flow = None

    def _end(self, message: Transfer, status: Literal["ok", "aborted"] = "ok", reason: str = "") -> None:
        del self._open[message]
        path = message.path
        sent = message.nbytes if status == "ok" else message.sent_bytes
        message.succeed(Delivery(path.src, path.dst, message.nbytes, path.route, message.t_start_s, self.env.now,
                                 status, reason, sent))  # fmt: skip

    # -- the clock ----------------------------------------------------------------------------------------------------

    def _settle_soon(self) -> None:
        if not self._settling:
            self._settling = True
            self._at(self.env.now, self._settle)

    def _at(self, time: float, callback: Any) -> None:
        event = simpy.Event(self.env)
        event._ok, event._value = True, None
        event.callbacks.append(callback)
        self.env.schedule(event, _LAST, max(0.0, time - self.env.now))

    def _settle(self, _: Any) -> None:
        self._settling = False
        for flow in self._fluid.settle(self.env.now):
            message: Transfer = flow.token
            self._account(message, flow.bits)
            self._passed(message)
        self._arm()

    def _arm(self) -> None:
        """One timer for the earliest completion; a later one waits until the armed one has gone off."""
        time = self._fluid.next_time()
        if time < self._armed:
            self._armed = time
            self._at(time, self._ring)

    def _ring(self, _: Any) -> None:
        if self._armed <= self.env.now + 8.0 * math.ulp(self.env.now):
            self._armed = math.inf
            self._settle(None)

    # -- bandwidth over time ------------------------------------------------------------------------------------------

    def _catch_up(self) -> None:
        """Set every bandwidth to that of now, and wake at the next change as long as flows are under way."""
        for channel, capacity in self.channels.at(self.env.now):
            self._fluid.set_capacity(channel, capacity, self.env.now)
        time = self.channels.next_change(self.env.now)
        self._ticking = time < math.inf
        if self._ticking:
            self._at(time, self._tick)

    def _tick(self, _: Any) -> None:
        self._ticking = False
        if any(message.flow is not None for message in self._open):
            self._catch_up()
            self._settle(None)
