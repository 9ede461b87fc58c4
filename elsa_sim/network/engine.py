"""The network in simulated time: messages travel, share links, and arrive.

A message first waits the sum of its route's latencies, using no bandwidth; then it is a fluid that drains over all
channels of its route at once, at the rate that the link model allots, as far as its connection lets it go (see
:mod:`.connections`).
Messages over lossy links drain more than their size (see :class:`.options.NetworkOptions`); those that stall or take
too long are given up and sent again from their first byte, as often as the options say.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Literal

import simpy

from ..base.errors import InputError
from ..base.streams import Streams
from ..topology import Topology
from .airtime import AirtimeCounter
from .channels import Bandwidths, Channels
from .connections import Connections, Flights
from .drain import Drain
from .fluid import Flow, Fluid, ResolveAll
from .incremental import IncrementalMaxMin
from .options import NetworkOptions
from .transfer import Tally, Transfer


class Network:
    """All transfers over one topology, in one SimPy environment.

    Raises:
        InputFaults: the options name nodes or links that the topology does not have.
    """

    def __init__(self, env: simpy.Environment, topology: Topology, options: NetworkOptions | None = None,
                 streams: Streams | None = None) -> None:  # fmt: skip
        self.env = env
        self.topology = topology
        self.options = options or NetworkOptions()
        self.options.check(topology)
        self.tally = Tally()
        self.channels = Channels(topology, self.options, streams or Streams(0))
        model = self.options.model
        self._whole = not model.store_and_forward
        fast = self.options.resolve == "touched" and model.max_min
        capacities = self.channels.capacities
        fluid: Fluid = IncrementalMaxMin(capacities) if fast else ResolveAll(capacities, model)
        self._drain = Drain(env, self.channels, fluid, self._flow_ended, self._fallen, self._busy)
        self._connections = Connections(self.options.transport, self.channels)
        self._order = itertools.count()
        self._sending: defaultdict[str, AirtimeCounter] = defaultdict(AirtimeCounter)
        self._receiving: defaultdict[str, AirtimeCounter] = defaultdict(AirtimeCounter)
        self._open: dict[Transfer, None] = {}
        self._ended_bits = 0.0

    # -- what a user does ---------------------------------------------------------------------------------------------

    def transfer(self, src: str, dst: str, nbytes: float, route: Sequence[str] | None = None) -> Transfer:
        """Send ``nbytes`` from ``src`` to ``dst``; yield the result to wait for its :class:`.transfer.Delivery`.

        A message to the sender itself arrives at once, one of 0 bytes after the latency of its route.

        Raises:
            InputError: unknown nodes, no route, or a size that is not a finite number of at least 0.
        """
        if not (math.isfinite(nbytes) and nbytes >= 0):
            raise InputError(f"a message has a finite size of at least 0 bytes, got {nbytes!r}")
        message = Transfer(self.env, self.channels.path(src, dst, route), nbytes)
        self.tally.transfers += 1
        self._open[message] = None
        self._depart(message)
        return message

    def abort(self, message: Transfer, reason: str) -> None:
        """Give a transfer up, without a retry; it ends now. Nothing happens if it has ended already."""
        if message in self._open:
            self._stop(message)
            self._end(message, "aborted", reason)

    def disconnect(self, node: str) -> None:
        """Take all links of a node down, from now until :meth:`reconnect`; a node may be disconnected several times.

        Raises:
            InputError: there is no such node.
        """
        self._drain.change(self.channels.disconnect(node, self.env.now))

    def reconnect(self, node: str) -> None:
        """Undo one :meth:`disconnect` of a node."""
        self._drain.change(self.channels.reconnect(node, self.env.now))

    def follow(self, source: Bandwidths) -> None:
        """Take the bandwidth of some channels from ``source`` from now on, asked whenever it changes by itself."""
        self.channels.follow(source)
        self.refresh()

    def refresh(self) -> None:
        """Ask the sources of bandwidths anew: something has changed that they had not foretold."""
        self._drain.catch_up()
        self._drain.settle_soon()

    @property
    def in_flight(self) -> tuple[Transfer, ...]:
        """The transfers that have not ended, in the order they were started."""
        return tuple(self._open)

    @property
    def carried_bytes(self) -> dict[tuple[str, str], float]:
        """Bytes drained so far over each channel (u, v), those of transfers under way and of failed attempts included."""
        carried = dict(self.channels.carried_bytes)
        for message in self._open:
            for pair in self._pairs(message):
                carried[pair] += self._drained_bits(message) / 8.0
        return carried

    def sent_bytes(self, message: Transfer) -> float:
        """Bytes that the sender of a transfer under way has put on its wire so far."""
        now = message.nbytes * message.path.inflation if message.hop else self._drained_bits(message) / 8.0
        return message.failed_bytes + now

    def check(self) -> list[str]:
        """The invariants that do not hold: no channel over capacity; what was drained is what ended or is under way."""
        self._drain.settle()
        expected = self._ended_bits + math.fsum(map(self._drained_bits, self._open))
        drained = self._drain.fluid.drained
        wrong = list(self._drain.fluid.over)
        if abs(expected - drained) > 1e-6 * max(expected, drained) + 1.0:
            wrong.append(f"bytes are not conserved: links drained {drained / 8:.6g} B, "
                         f"transfers account for {expected / 8:.6g} B")  # fmt: skip
        tally = self.tally
        if tally.transfers != tally.delivered + tally.aborted + len(self._open):
            wrong.append(f"of {tally.transfers} transfers, {tally.delivered} were delivered, {tally.aborted} aborted, "
                         f"and {len(self._open)} are under way")  # fmt: skip
        return wrong

    # -- the life of a message ----------------------------------------------------------------------------------------

    def _pairs(self, message: Transfer) -> Sequence[tuple[str, str]]:
        pairs = message.path.pairs
        return pairs if self._whole else pairs[message.hop : message.hop + 1]

    def _drained_bits(self, message: Transfer) -> float:
        return 0.0 if message.flow is None else self._drain.drained(message.flow)

    def _depart(self, message: Transfer) -> None:
        """Begin an attempt with the latency: of the whole route, or of none yet if messages are stored and forwarded."""
        path = message.path
        message.attempt += 1
        if not path.channels:
            self._end(message)
            return
        if self.options.attempt_timeout is not None:
            after = self.options.attempt_timeout
            self._after(after, message, lambda late: self._fail(late, f"not delivered after {after:g} s"))
        message.latency_s = message.travel_s = self.channels.latency(path) if self._whole else 0.0
        message.line = self._connections.join(message, self.env.now) if message.nbytes else None
        if message.line is not None:
            message.latency_s += max(0.0, message.line.opens - self.env.now)
        if message.latency_s:
            self._after(message.latency_s, message, self._enter)
        else:
            self._enter(message)

    def _after(self, delay: float, message: Transfer, then: Callable[[Transfer], None]) -> None:
        """Call ``then`` later, unless the message has ended or this attempt has failed by then."""
        epoch = message.epoch
        timeout = self.env.timeout(delay)
        timeout.callbacks.append(lambda _: then(message) if message.epoch == epoch else None)

    def _enter(self, message: Transfer) -> None:
        if message.nbytes == 0:
            self._passed(message)
            return
        path, line = message.path, message.line
        if line is not None and (wait := line.turn(message, self.env.now)) > 0.0:
            if wait < math.inf:
                message.latency_s = message.travel_s + line.connection.setup
                self._after(wait, message, self._enter)
            return
        channels = path.channels if self._whole else path.hops[message.hop]
        latency = path.latency if self._whole else path.latencies[message.hop]
        self._drain.wake()
        first, last = message.hop == 0, self._whole or message.hop == len(path.hops) - 1
        counters = self._sending[path.src] if first else None, self._receiving[path.dst] if last else None
        bits = message.nbytes * 8.0 * path.inflation
        flow = message.flow = Flow(channels, bits, next(self._order), message, path.cap, counters, latency)
        if line is not None:
            flow.flights = Flights(line.connection, bits, 8.0 * path.inflation)
        if line is None or flow.goes_on(self.env.now):
            self._drain.enter(flow)
        else:
            self._stall(message)
        if self.options.stall_timeout is not None and self.channels.down.keys() & channels:
            self._after(self.options.stall_timeout, message, self._give_up_if_stalled)

    def _stall(self, message: Transfer) -> None:
        """The next flight of a message waits for an acknowledgement."""
        assert message.flow is not None
        assert message.flow.flights is not None
        self._after(message.flow.flights.resume - self.env.now, message, self._go_on)

    def _go_on(self, message: Transfer) -> None:
        flow = message.flow
        assert flow is not None
        assert flow.flights is not None
        flow.left = flow.flights.go()
        self._drain.enter(flow)

    def _flow_ended(self, flow: Flow) -> None:
        message: Transfer = flow.token
        if flow.stalled:
            self._stall(message)
        else:
            self._account(message, flow.bits)
            self._passed(message)

    def _yield_line(self, message: Transfer, whole: bool) -> None:
        """A message leaves its connection to the next one."""
        line, message.line = message.line, None
        if line is None:
            return
        following = self._connections.leave(line, message, self.env.now, whole)
        if following is not None:
            self._enter(following)

    def _passed(self, message: Transfer) -> None:
        """The message has drained: the end, or on to the next hop after this one's latency."""
        if self._whole:
            self._end(message)
        else:
            delay = self.channels.latency(message.path, message.hop)
            message.latency_s += delay
            message.hop += 1
            last = message.hop == len(message.path.hops)
            self._after(delay, message, self._end if last else self._enter)

    def _stop(self, message: Transfer) -> None:
        """Take a message out of the network; what it has sent in this attempt is wasted."""
        message.failed_bytes = self.sent_bytes(message)
        flow = message.flow
        if flow is not None:
            self._drain.leave(flow)
            self._account(message, flow.bits - flow.held_back - flow.left)
        message.hop = 0
        self._yield_line(message, False)

    def _fail(self, message: Transfer, reason: str) -> None:
        """An attempt has failed: wait and try again, or give up."""
        self._stop(message)
        if message.attempt > self.options.retries:
            self._end(message, "aborted", f"{reason}, attempt {message.attempt}")
        else:
            self.tally.retries += 1
            message.epoch += 1
            self._after(self.options.wait(message.attempt), message, self._depart)

    def _busy(self) -> bool:
        return any(message.flow is not None for message in self._open)

    def _fallen(self, channels: set[int]) -> None:
        """Watch the messages over channels that are down from now on."""
        if self.options.stall_timeout is not None:
            for message in self._open:
                if message.flow is not None and not channels.isdisjoint(message.flow.channels):
                    self._after(self.options.stall_timeout, message, self._give_up_if_stalled)

    def _give_up_if_stalled(self, message: Transfer) -> None:
        timeout, flow = self.options.stall_timeout, message.flow
        if timeout is None or flow is None:
            return
        since = [self.channels.down[c] for c in flow.channels if c in self.channels.down]
        if since and min(since) <= self.env.now - timeout * (1.0 - 1e-9):
            self._fail(message, f"stalled for {timeout:g} s")

    def _account(self, message: Transfer, bits: float) -> None:
        self._ended_bits += bits
        if message.flow is not None:
            sending, receiving = message.flow.spent
            message.sending_s += sending
            message.receiving_s += receiving
        carried = self.channels.carried_bytes
        for pair in self._pairs(message):
            carried[pair] += bits / 8.0
        message.flow = None

    def _end(self, message: Transfer, status: Literal["ok", "aborted"] = "ok", reason: str = "") -> None:
        del self._open[message]
        message.epoch += 1
        self._yield_line(message, True)
        self.tally.count(message.end(status, reason))
