"""The world a protocol lives in, and its verbs: compute, send, evaluate, now.

Here the two wings meet: work from the learning wing takes time on devices, encoded bytes take time on the network, and
every fact goes into the event table. A protocol is a SimPy generator over these verbs::

    h, saved = yield from world.compute(client.name, model.forward(bottom, batch, batch))
    h = yield from world.send(client.name, edge, h, kind="activation")
"""

from __future__ import annotations

import time
import typing
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import simpy

from ..base.errors import Divergence, Lost
from ..base.tiers import TIER
from ..devices import Device, Execution
from ..learning.aggregation.mean import distance
from ..network import Network
from ..results.event_table import Recorder
from ..topology import Topology
from .availability import Availability
from .client import Client, SplitClient
from .codec_pipeline import CodecPipeline
from .event_log import EventLog
from .replica import Lineage
from .transport import Transport

if TYPE_CHECKING:
    from ..learning.execution.executor import Executor
    from ..learning.execution.work import Ref, Work
    from ..learning.tasks.data import Batch
    from ..learning.training.model import Model
    from ..wireless import Radio

#: The generator type of a verb: it yields SimPy events and returns a value.
Verb = Generator[simpy.Event, Any, Any]


class Stop(typing.Protocol):
    """When training ends before its rounds are over; ``None``: never for this reason."""

    @property
    def rounds(self) -> int | None: ...
    @property
    def target_accuracy(self) -> float | None: ...
    @property
    def host_time(self) -> float | None: ...
    @property
    def adapter_change(self) -> float | None: ...


class Observer:
    """Is told what happens while a run goes on; the default does nothing."""

    def progressed(self, now: float, done: int, total: int) -> None:
        """``done`` of ``total`` local steps are over at simulated time ``now`` (s)."""

    def evaluated(self, now: float, round: int, metrics: Mapping[str, float]) -> None:
        """An evaluation of ``round`` gave ``metrics``."""


class World:
    """Everything a protocol can see and do."""

    def __init__(
        self,
        env: simpy.Environment,
        topology: Topology,
        network: Network,
        devices: Mapping[str, Device],
        clients: Sequence[Client],
        pool: Client,
        model: Model,
        executor: Executor,
        pipeline: CodecPipeline,
        recorder: Recorder,
        test: Callable[[Ref, int], Mapping[str, float]],
        *,
        stop: Stop,
        observer: Observer,
        total_steps: int,
        radio: Radio | None = None,
        public: Callable[[int], Batch] | None = None,
        audit: Callable[[Any, int], list[dict[str, Any]]] | None = None,
    ) -> None:
        self.env, self.topology, self.network, self.devices = env, topology, network, devices
        self.clients, self.pool, self.model = tuple(clients), pool, model
        self.executor, self.pipeline, self.recorder = executor, pipeline, recorder
        self.stop, self.observer, self.radio = stop, observer, radio
        self.event_log = EventLog(env, recorder)
        self.lineage = Lineage()
        self._transport = Transport(self.event_log, network, devices, radio)
        self._availability = Availability(self.event_log, topology, network, devices, radio)
        self._test, self._total_steps, self._public = test, total_steps, public
        self._audit = audit
        self._roles = {node.name: node.role for node in topology.nodes}
        self._losses: list[Ref] = []
        self._notes: list[tuple[Ref, str, int, str]] = []
        self._last: Ref | None = None
        self._last_round = 0
        self._steps = 0
        self._begin = time.perf_counter()
        self.cloud: str = topology.names("cloud")[0]
        self.edge_servers: tuple[str, ...] = topology.names("edge")

    @property
    def now(self) -> float:
        """Simulated time, in s."""
        return float(self.env.now)

    @property
    def split_clients(self) -> tuple[SplitClient, ...]:
        """The clients of a protocol that cuts the model.

        Raises:
            TypeError: the protocol's step pattern does not cut it.
        """
        found = tuple(client for client in self.clients if isinstance(client, SplitClient))
        if len(found) < len(self.clients):
            raise TypeError("these clients train the whole model: the protocol's step pattern does not cut it")
        return found

    def members(self, edge: str) -> tuple[Client, ...]:
        """The clients that belong to an edge server."""
        return self.homes(failover=False).get(edge, ())

    def homes(self, *, failover: bool) -> dict[str, tuple[Client, ...]]:
        """Edge server -> the clients it serves now.

        With ``failover``, clients whose edge server is away go to the next best one; see :meth:`.Availability.home`.
        """
        homes: dict[str, list[Client]] = {edge: [] for edge in self.edge_servers}
        for client in self.clients:
            home = self._availability.home(client.name, client.edge, failover=failover, given=client.assigned)
            homes[home].append(client)
        return {edge: tuple(clients) for edge, clients in homes.items() if clients}

    def assign(self, client: str, edge: str) -> None:
        """Have the edge server ``edge`` serve ``client`` from the next round on."""
        (found,) = (each for each in self.clients if each.name == client)
        found.edge, found.assigned = edge, True

    def public(self, count: int) -> Batch:
        """The first ``count`` of the texts that the task sets apart as public."""
        assert self._public is not None
        return self._public(count)

    def compute(
        self,
        node: str,
        work: Work,
        *,
        round: int = 0,
        step: int = 0,
        kind: Literal["compute", "aggregation"] = "compute",
    ) -> Verb:
        """Run ``work`` on the device of ``node``; returns a handle on its output, or a tuple of several.

        The device is held for launch + FLOPs / speed x slowdown seconds, in the order of requests.

        Raises:
            Lost: the device went away, and the work with it.
        """
        entry = self.event_log.begin(kind=kind, node=node, round=round, step=step, flops=work.flops, detail=work.label)
        execution, interrupt = yield from self._hold(self.devices[node], work.flops)
        spent: dict[str, Any] = {"t_start_s": execution.t_start_s, "energy_j": execution.energy_j}
        if interrupt is not None:
            self.event_log.end(entry, **spent, status="aborted", metrics={"reason": str(interrupt.cause)})
            raise interrupt
        if execution.status != "ok":
            self.event_log.end(entry, **spent, status="aborted", metrics={"reason": "the device went away"})
            raise Lost(f"{node} went away at {self.now:g} s and lost its work {work.label}")
        outputs = self.executor.finish(work)
        self.lineage.ended(node, work, self.now)
        self.event_log.end(entry, **spent)
        return outputs[0] if len(outputs) == 1 else outputs

    def _hold(self, device: Device, flops: float) -> Verb:
        """Hold the device for some work; returns the :class:`Execution`, and the interruption that ended it early."""
        held = device.compute(flops)
        event = next(held)
        while True:
            try:
                value = yield event
            except simpy.Interrupt as interrupt:
                queued, before = self.now, device.busy_s
                with suppress(simpy.Interrupt):
                    held.throw(interrupt)
                start = max(0.0, self.now - (device.busy_s - before))  # the slot is given back, and its time booked
                energy = (self.now - start) * device.options.power.working / device.options.slots
                return Execution(queued, start, self.now, energy, "lost"), interrupt
            try:
                event = held.send(value)
            except StopIteration as end:
                return end.value, None

    def send(
        self,
        source: str,
        target: str,
        value: Ref,
        kind: str,
        *,
        round: int = 0,
        step: int = 0,
        attached: npt.NDArray[np.int64] | None = None,
    ) -> Verb:
        """Send ``value`` through the codecs of its ``kind`` and the network; returns the receiver's handle on it.

        Bytes are those of the encoded buffers, plus the network's header, plus 4 for each of the ``attached`` integers
        (sequence lengths). Encoding and decoding take time on the two devices where a codec states FLOPs.

        Raises:
            Lost: the network gave the message up.
        """
        up = TIER[self._roles[source]] < TIER[self._roles[target]]
        extra = 0 if attached is None else 4 * attached.size
        message = self.pipeline.pack(source, target, value, kind, up=up, round=round, attached=extra)
        payload = value
        if message.encode is not None:
            outputs = yield from self._apply(source, message.encode, round, step)
            payload = self.pipeline.encoded(message, outputs)
        try:
            yield from self._transport.carry(source, target, message.payload_bytes, kind, round, step)
            if message.encode is None:
                return payload
            outputs = yield from self._apply(target, self.pipeline.unpack(message, payload), round, step)
        except (Lost, simpy.Interrupt):
            self.pipeline.lost(message)
            raise
        return self.pipeline.decoded(message, outputs)

    def _apply(self, node: str, work: Work, round: int, step: int) -> Verb:
        """Codec work: free work takes no time and leaves no row."""
        if work.flops == 0:
            return self.executor.finish(work)
        outputs = yield from self.compute(node, work, round=round, step=step)
        return outputs

    def evaluate(self, adapters: Ref, *, round: int) -> bool:
        """Evaluate ``adapters`` on the test data; returns whether the run should stop.

        An evaluation is an instrument, not part of the system: it takes no simulated time.
        """
        self.pipeline.refer(adapters, round)
        metrics = dict(self._test(adapters, round))
        if self._losses and metrics:
            metrics["train_loss"] = float(np.mean([float(loss.value) for loss in self._losses]))
        self._losses.clear()
        for found, node, version, detail in self._notes:
            facts = found.value if found.ready or found.node else {}
            self.recorder.add("update", self.now, self.now, node, round=version, detail=detail, metrics=facts)
        self._notes.clear()
        self.recorder.add("evaluation", self.now, self.now, self.cloud, round=round, detail="test", metrics=metrics)
        self.recorder.flush()
        broken = [name for name, value in metrics.items() if not np.isfinite(value)]
        if broken:
            what = f"{broken[0]} is {metrics[broken[0]]} after round {round}"
            raise Divergence(f"{what}: training diverged; lower protocol.lr")
        before, self._last, self._last_round = self._last, adapters, round
        self.observer.evaluated(self.now, round, metrics)
        if self.radio is not None and round:
            self.radio.reallocate()
        stop = self.stop
        return (
            (stop.target_accuracy is not None and metrics.get("accuracy", -1.0) >= stop.target_accuracy)
            or (stop.rounds is not None and round >= stop.rounds)
            or (stop.host_time is not None and time.perf_counter() - self._begin >= stop.host_time)
            or (before is not None and self._still(before, adapters))
        )

    def _still(self, before: Ref, after: Ref) -> bool:
        """Whether adapters have moved less than the run is to go on for; never where there is no arithmetic."""
        limit = self.stop.adapter_change
        if limit is None or not (after.ready or after.node):
            return False
        return distance(before.value, after.value) < limit

    def audited(self) -> list[dict[str, Any]]:
        """What an attacker recovers with the adapters last evaluated, a row per codec chain; empty if nobody asked."""
        if self._audit is None or self._last is None:
            return []
        audit, last = self._audit, self._last
        return self.executor.time(lambda: audit(last.value, self._last_round))

    def stepped(self, loss: Ref) -> None:
        """Count one finished local step and keep its loss for the next evaluation's mean."""
        self._losses.append(loss)
        self._steps += 1
        self.observer.progressed(self.now, min(self._steps, self._total_steps), self._total_steps)

    def note(self, found: Ref, node: str, *, round: int, detail: str) -> None:
        """Have the event table tell what ``node`` found out (a mapping of names to numbers), at the next evaluation."""
        self._notes.append((found, node, round, detail))

    def skipped(self, steps: int) -> None:
        """Count local steps that a client leaves out."""
        self._steps += steps
        self.observer.progressed(self.now, self._steps, self._total_steps)

    def spawn(self, generator: Verb) -> simpy.Process:
        """Start a concurrent process."""
        return self.env.process(generator)

    def missing(self, who: str, since_s: float, reason: str, *, round: int) -> None:
        """Record that ``who`` is missing from a round, and why."""
        self.recorder.add("fault", since_s, self.now, who, round=round, status="aborted", detail="missing",
                          metrics={"reason": reason})  # fmt: skip

    def all(self, generators: Iterable[Verb]) -> Verb:
        """Run processes side by side; returns their results in order when the last one has ended."""
        processes = [self.spawn(generator) for generator in generators]
        yield self.env.all_of(processes)
        return [process.value for process in processes]

    @property
    def broken(self) -> list[str]:
        """The adapters last evaluated that are not finite, as violated invariants."""
        if self._last is None or not self._last.ready:
            return []
        return [f"adapter {name} is not finite" for name, t in self._last.value.items() if not bool(t.isfinite().all())]

    def end(self) -> None:
        """Close the log: list what is still under way, and the energy of idle time."""
        self.event_log.close(self.devices)
