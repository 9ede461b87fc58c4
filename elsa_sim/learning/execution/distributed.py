"""The batched executor with worker processes, and which executor a scenario asks for."""

from __future__ import annotations

import typing
from collections import Counter
from collections.abc import Sequence

from .executor import EXECUTORS, Batched, Executor
from .partitioning import waves, weight
from .pools import POOLS, WorkerPool
from .scheduler import play
from .serialisation import deserialised, serialised
from .work import Node

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


def executor(options: Options, backbone: Backbone) -> Executor:
    """The executor that ``options`` ask for.

    Raises:
        InputError: its workers need a package that is not installed.
    """
    if options.mode == "real" and options.executor == "batched" and options.workers > 1:
        pool = POOLS[options.cluster](backbone, options.workers, options.threads, options.worker_timeout)
        return Distributed(backbone, pool)
    return EXECUTORS["timing" if options.mode == "timing" else options.executor]()


class Distributed(Batched):
    """Independent subgraphs of pending work run side by side on the workers of a pool, batched on each."""

    def __init__(self, backbone: Backbone, pool: WorkerPool) -> None:
        super().__init__()
        self.backbone, self.pool = backbone, pool

    def play(self, nodes: Sequence[Node]) -> None:
        """Run ``nodes``: wave by wave, what joins subgraphs here, the subgraphs on the workers."""
        for wave in waves(nodes):
            play(wave.prelude)
            if len(wave.subgraphs) == 1:
                play(wave.subgraphs[0])
            elif wave.subgraphs:
                self._send(wave.subgraphs)

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


def _named(share: Sequence[Node]) -> str:
    """What a share of work is, in words: how many of what, as the event table names them."""
    count = Counter(node.label or type(node.function).__name__ for node in share)
    return ", ".join(f"{number} x {label}" for label, number in count.most_common(6))
