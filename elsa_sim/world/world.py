"""The world a protocol lives in, and its verbs: compute, send, evaluate, now.

Here the two wings meet: work from the learning wing takes time on devices, encoded bytes take time on the network, and
every fact goes into the event table. A protocol is a SimPy generator over these verbs::

    h, saved = yield from world.compute(client.name, model.forward(bottom, batch, batch))
    h = yield from world.send(client.name, edge, h, kind="activation")
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt
import simpy

from ..devices import Device
from ..network import Network
from ..results.event_table import Recorder
from ..topology import Topology
from .availability import Availability
from .carrier import Carrier
from .channel import Channel
from .client import Client, SplitClient
from .codec_pipeline import CodecPipeline
from .computing import Computing
from .event_log import EventLog
from .progress import Progress
from .round_end import (
    DivergenceCheck,
    EvaluationRow,
    Latest,
    Notes,
    Reallocation,
    RoundObserver,
    RoundObservers,
    TrainingLoss,
)
from .verb import Verb as Verb

if TYPE_CHECKING:
    from ..learning.execution.executor import Executor
    from ..learning.execution.work import Ref, Work
    from ..learning.tasks.data import Batch
    from ..learning.training.model import Model
    from ..wireless import Radio


T = TypeVar("T")
#: What is asked for at the end of a round; see :meth:`World.read`.
EVALUATION = "evaluation"


@dataclass(frozen=True, eq=False)
class Infrastructure:
    """Where a run takes place: nodes and links in simulated time, and the air between them if there is any."""

    env: simpy.Environment
    topology: Topology
    network: Network
    devices: Mapping[str, Device]
    radio: Radio | None = None


@dataclass(frozen=True, eq=False)
class Federation:
    """Who learns what: the clients, one client with all samples (``pool``), the model, and what does its arithmetic."""

    clients: Sequence[Client]
    pool: Client
    model: Model
    executor: Executor
    public: Callable[[int], Batch]
    """The first so many of the texts that the task sets apart as public."""
    tokenizer: Any = None
    """What made the batches of texts."""


@dataclass(frozen=True, eq=False)
class Instruments:
    """What looks at a run and is no part of the system: it takes no simulated time."""

    recorder: Recorder
    test: Callable[[Ref, int], Mapping[str, float]]
    """(adapters, round) -> metrics on the test data; none where there is no arithmetic."""
    audit: Callable[[Any, int], list[dict[str, Any]]] | None = None
    """(adapters, round) -> what an attacker recovers, a row per codec chain."""


class World:
    """Everything a protocol can see and do."""

    def __init__(
        self,
        infrastructure: Infrastructure,
        federation: Federation,
        pipeline: CodecPipeline,
        instruments: Instruments,
        progress: Progress,
        observers: Iterable[RoundObserver] = (),
    ) -> None:
        """``observers`` are told of the end of a round after the world's own; see :mod:`.round_end`."""
        self.env, self.topology, self.network = infrastructure.env, infrastructure.topology, infrastructure.network
        self.devices, self.radio = infrastructure.devices, infrastructure.radio
        self.clients, self.pool, self.model = tuple(federation.clients), federation.pool, federation.model
        self._named = {client.name: client for client in self.clients}
        self.executor, self.public, self.tokenizer = federation.executor, federation.public, federation.tokenizer
        self.pipeline, self.recorder, self.progress = pipeline, instruments.recorder, progress
        self.cloud: str = self.topology.names("cloud")[0]
        self.edge_servers: tuple[str, ...] = self.topology.names("edge")
        self.event_log = EventLog(self.env, self.recorder)
        self.computing = Computing(self.event_log, self.devices, self.executor)
        carrier = Carrier(self.event_log, self.network, self.devices, self.radio)
        roles = {node.name: node.role for node in self.topology.nodes}
        self.channel = Channel(pipeline, carrier, self.computing, roles)
        self._availability = Availability(self.event_log, self.topology, self.network, self.devices, self.radio)
        self._instruments = instruments
        self._losses, self._notes, self.latest = TrainingLoss(self.read), Notes(self.recorder, self.read), Latest()
        self._told: list[Callable[[str, Ref], None]] = []
        told: list[RoundObserver] = [self._losses, self._notes, EvaluationRow(self.recorder, self.cloud)]
        told += [DivergenceCheck(), self.latest, progress]
        told += [] if self.radio is None else [Reallocation(self.radio)]
        self._observers = RoundObservers([*told, *observers])

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
        found = self._named[client]
        found.edge, found.assigned = edge, True

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
        outputs = yield from self.computing.compute(node, work, round=round, step=step, kind=kind)
        return outputs[0] if len(outputs) == 1 else outputs

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
            Lost: the network gave the message up, or a device went away with its share of the work.
        """
        extra = 0 if attached is None else 4 * attached.size
        return self.channel.send(source, target, value, kind, round=round, step=step, attached=extra)

    def evaluate(self, adapters: Ref, *, round: int) -> bool:
        """End ``round``: measure its aggregated ``adapters`` on the test data, and tell all who observe.

        Returns whether the run should stop. An evaluation is an instrument, not part of the system: it takes no simulated
        time.

        Raises:
            Divergence: what was measured is not finite.
        """
        self.pipeline.refer(adapters, round)
        metrics = self.read(EVALUATION, lambda: self._instruments.test(adapters, round)) or {}
        return self._observers.end(round, self.now, adapters, metrics, live=self.executor.live)

    def read(self, what: str, function: Callable[[], T]) -> T | None:
        """What ``function`` finds in the values of handles, as JSON can say it; ``None`` where there is no arithmetic.

        Whatever decides how the run goes on, or ends up in its tables, must be asked for in this way and not otherwise: a
        resumed run plays what came before without values, and is told here what was found the first time.
        """
        return self.executor.read(what, function)

    def audited(self) -> list[dict[str, Any]]:
        """What an attacker recovers with the adapters last evaluated, a row per codec chain; empty if nobody asked."""
        audit, last = self._instruments.audit, self.latest.end
        if audit is None or last is None:
            return []
        return self.executor.time(lambda: audit(last.adapters.value, last.round))

    def trained(self, client: str, *adapters: Ref) -> None:
        """Tell those who observe what ``client`` has trained: mappings of disjoint names, before they are sent."""
        self._observers.trained(client, adapters)

    def stepped(self, loss: Ref, client: str | None = None) -> None:
        """Count one finished local step and keep its loss for the next evaluation's mean; ``client`` is whose loss it is."""
        self._losses.add(loss)
        self.progress.advance()
        if client is not None:
            for told in self._told:
                told(client, loss)

    def on_step(self, told: Callable[[str, Ref], None]) -> None:
        """Have ``told`` be called with the client and the loss of every local step that is one client's."""
        self._told.append(told)

    def skipped(self, steps: int) -> None:
        """Count local steps that a client leaves out."""
        self.progress.advance(steps)

    def note(self, found: Ref, node: str, *, round: int, detail: str) -> None:
        """Have the event table tell what ``node`` found out (a mapping of names to numbers), at the next evaluation."""
        self._notes.add(found, node, round, detail)

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

    def end(self) -> None:
        """Close the log: list what is still under way, and the energy of idle time."""
        self.event_log.close(self.devices)
