"""The batched executor with worker processes, and which executor a scenario asks for."""

from __future__ import annotations

import typing
from collections import Counter
from collections.abc import Sequence

from .executor import EXECUTORS, Batched, Executor
from .journal import Journal
from .partitioning import waves, weight
from .pools import POOLS, WorkerPool
from .scheduler import play
from .serialisation import deserialised, serialised
from .work import LOCAL, Node, Ref

if typing.TYPE_CHECKING:
    from ..backbone.model import Backbone


class Options(typing.Protocol):
    """What a scenario says of its execution."""

    @property
    def mode(self) -> str: ...
    @property
    def executor(self) -> str: ...
    @property
    def workers(self) -> int: ...
    @property
    def cluster(self) -> str: ...
    @property
    def threads(self) -> int: ...
    @property
    def worker_timeout(self) -> float | None: ...


def executor(options: Options, backbone: Backbone, journal: Journal | None = None) -> Executor:
    """The executor that ``options`` ask for; ``journal`` as in :class:`.executor.Executor`.

    Raises:
        InputError: its workers need a package that is not installed.
    """
    if options.mode == "real" and options.executor == "batched" and options.workers > 1:
        pool = POOLS[options.cluster](backbone, options.workers, options.threads, options.worker_timeout)
        return Distributed(backbone, pool, journal)
    return EXECUTORS["timing" if options.mode == "timing" else options.executor](journal)


class Distributed(Batched):
    """Independent subgraphs of pending work run side by side on the workers of a pool, batched on each."""

    def __init__(self, backbone: Backbone, pool: WorkerPool, journal: Journal | None = None) -> None:
        super().__init__(journal)
        self.backbone, self.pool = backbone, pool

    @property
    def notes(self) -> Sequence[str]:
        """What happened to the workers."""
        return self.pool.notes

    def play(self, nodes: Sequence[Node]) -> None:
        """Run ``nodes``: wave by wave, what joins subgraphs here, the subgraphs on the workers."""
        for wave in waves(nodes):
            play(wave.prelude)
            here = wave.subgraphs if len(wave.subgraphs) == 1 else [each for each in wave.subgraphs if _stays(each)]
            for subgraph in here:
                play(subgraph)
            if len(here) < len(wave.subgraphs):
                self._send([subgraph for subgraph in wave.subgraphs if subgraph not in here])

    def _send(self, subgraphs: Sequence[Sequence[Node]]) -> None:
        shares: list[list[Node]] = [[] for _ in range(min(self.pool.size, len(subgraphs)))]
        loads = [0.0] * len(shares)
        for subgraph in sorted(subgraphs, key=weight, reverse=True):  # the largest first, each to the least loaded
            least = loads.index(min(loads))
            shares[least].extend(subgraph)
            loads[least] += weight(subgraph)
        names = [_named(share) for share in shares]
        tasks, waiting = zip(*(serialised(share, self.backbone) for share in shares), strict=True)
        for refs, result in zip(waiting, self.pool.work(tasks, names), strict=True):
            for ref, value in zip(refs, deserialised(result, self.backbone), strict=True):
                ref.fulfil(value)
        for share in shares:
            for node in share:
                node.function, node.outputs = None, ()

    def close(self) -> None:
        """End the workers."""
        self.pool.close()


def _stays(subgraph: Sequence[Node]) -> bool:
    """Whether it reads a local value that is here, or makes one that others will read: such a value cannot be sent."""
    inputs = [item for node in subgraph for item in node.inputs if isinstance(item, Ref) and item.spec is LOCAL]
    if any(item.ready for item in inputs):
        return True
    read = {id(item) for item in inputs}
    refs = (output() for node in subgraph if node.local for output in node.outputs)
    return any(ref is not None and ref.spec is LOCAL and id(ref) not in read for ref in refs)


def _named(share: Sequence[Node]) -> str:
    """What a share of work is, in words: how many of what, as the event table names them."""
    count = Counter(node.label or type(node.function).__name__ for node in share)
    return ", ".join(f"{number} x {label}" for label, number in count.most_common(6))
