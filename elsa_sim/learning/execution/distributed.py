"""The batched executor with worker processes, and which executor a scenario asks for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ..backbone.model import Backbone
from .executor import EXECUTORS, Batched, Executor
from .partitioning import waves, weight
from .pools import CREWS, Crew
from .scheduler import play
from .serialisation import packed, unpacked
from .work import Node


class Options(Protocol):
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


def executor(options: Options, backbone: Backbone) -> Executor:
    """The executor that ``options`` ask for.

    Raises:
        InputError: its workers need a package that is not installed.
    """
    if options.mode == "real" and options.executor == "batched" and options.workers > 1:
        return Workers(backbone, CREWS[options.cluster](backbone, options.workers, options.threads))
    return EXECUTORS["timing" if options.mode == "timing" else options.executor]()


class Workers(Batched):
    """Independent strands of pending work run side by side on the workers of a crew, in lockstep on each."""

    def __init__(self, backbone: Backbone, crew: Crew) -> None:
        super().__init__()
        self.backbone, self.crew = backbone, crew

    def play(self, nodes: Sequence[Node]) -> None:
        """Run ``nodes``: wave by wave, what joins strands here, the strands on the workers."""
        for wave in waves(nodes):
            play(wave.prelude)
            if len(wave.strands) == 1:
                play(wave.strands[0])
            elif wave.strands:
                self._send(wave.strands)

    def _send(self, strands: Sequence[Sequence[Node]]) -> None:
        shares: list[list[Node]] = [[] for _ in range(min(self.crew.size, len(strands)))]
        loads = [0.0] * len(shares)
        for strand in sorted(strands, key=weight, reverse=True):  # the largest first, each to the least loaded
            least = loads.index(min(loads))
            shares[least].extend(strand)
            loads[least] += weight(strand)
        tasks, waiting = zip(*(packed(share, self.backbone) for share in shares), strict=True)
        for refs, result in zip(waiting, self.crew.work(tasks), strict=True):
            for ref, value in zip(refs, unpacked(result, self.backbone), strict=True):
                ref.fulfil(value)
        for share in shares:
            for node in share:
                node.function, node.outputs = None, ()

    def close(self) -> None:
        """End the workers."""
        self.crew.close()
