"""Executors: when the arithmetic of finished work runs. Timeline and bytes do not depend on it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from .journal import Journal
from .scheduler import play
from .work import LOCAL, Node, Ref, Spec, Work

T = TypeVar("T")
#: Pending pieces of work at which the arithmetic begins although nobody has asked, so that they do not pile up.
MANY = 100_000


class Executor:
    """The reference, ``serial``: the arithmetic of each piece of work runs when its simulated time ends.

    With a ``journal``, what is made and read is written down, so that a later run can go on from it.
    """

    def __init__(self, journal: Journal | None = None) -> None:
        self.journal = journal
        #: Host seconds spent in arithmetic.
        self.math_s = 0.0
        self._depth = 0

    def finish(self, work: Work) -> tuple[Ref, ...]:
        """Handles on the outputs of ``work``, whose simulated time has passed."""
        node, outputs = Node.made(work.function, work.inputs, work.outputs, self, work.label)
        if self._plays(node, outputs):
            self.enlist(node)
        return outputs

    def derive(self, function: Callable[..., Sequence[Any]], sources: Sequence[Ref], spec: Spec) -> Ref:
        """A handle on what ``function`` makes of handles, such as a part of their values; it takes no simulated time."""
        node, outputs = Node.made(function, sources, (spec,), self)
        if self._plays(node, outputs):
            if all(source.ready for source in sources):
                node.run()
            else:
                self.enlist(node)
        return outputs[0]

    def _plays(self, node: Node, outputs: Sequence[Ref]) -> bool:
        return self.journal is None or self.journal.enter(node, outputs)

    def read(self, what: str, function: Callable[[], T]) -> T | None:
        """What ``function`` finds in values: numbers and texts, as JSON has them; ``None`` where there is no arithmetic.

        Whatever decides how a run goes on, or is told of it, must ask in this way: where a run was resumed, it is told what
        was found the first time.
        """
        return function() if self.journal is None else self.journal.read(what, function)

    @property
    def live(self) -> bool:
        """Whether there are values; not in the part that a resumed run plays again."""
        return self.journal is None or not self.journal.replays

    @property
    def pending(self) -> Sequence[Node]:
        """What was left for later, in order."""
        return ()

    @property
    def notes(self) -> Sequence[str]:
        """What happened to the arithmetic that the user should know."""
        return ()

    def take_up(self, nodes: Sequence[Node]) -> None:
        """Go on with what another run had pending."""
        for node in nodes:
            self.enlist(node)

    def enlist(self, node: Node) -> None:
        """Run ``node`` at once."""
        self.time(node.run)

    def run(self, node: Node) -> None:
        """Run a node whose arithmetic failed before, again."""
        self.time(node.run)

    def time(self, function: Callable[[], T]) -> T:
        """Call ``function``, counting its host seconds as arithmetic (once, where such calls are nested)."""
        begin = time.perf_counter()
        self._depth += 1
        try:
            return function()
        finally:
            self._depth -= 1
            if not self._depth:
                self.math_s += time.perf_counter() - begin

    def close(self) -> None:
        """Let go of what the executor holds."""


class Batched(Executor):
    """Defers: a chain of work stays pending while its timeline plays.

    When a value is first read, all chains that are pending then run batched, as one computation over the shared
    backbone; see :mod:`.scheduler`. Left pending is only work whose share that stays in the process (a forward pass's
    saved activations) nobody has asked for yet, so that such shares do not exist for all that is under way.
    """

    def __init__(self, journal: Journal | None = None) -> None:
        super().__init__(journal)
        self._pending: list[Node] = []

    @property
    def pending(self) -> Sequence[Node]:
        return tuple(self._pending)

    def take_up(self, nodes: Sequence[Node]) -> None:
        self._pending = [*self._pending, *nodes]

    def enlist(self, node: Node) -> None:
        """Keep ``node`` for later."""
        self._pending.append(node)
        if len(self._pending) >= MANY:
            self._flush(None)

    def run(self, node: Node) -> None:
        """Run all chains that are pending, that of ``node`` among them."""
        self._flush(node)

    def _flush(self, asked: Node | None) -> None:
        now = self._due(asked)
        try:
            self.time(lambda: self.play(now))
        finally:
            self._pending = [*(node for node in now if node.function is not None), *self._pending]

    def play(self, nodes: Sequence[Node]) -> None:
        """Run ``nodes``, which wait for nothing but each other."""
        play(nodes)

    def _due(self, asked: Node | None) -> list[Node]:
        """What to run now, in the order in which it was enlisted: every node after those that it waits for."""
        position = {id(node): index for index, node in enumerate(self._pending)}
        reads: set[int] = set()  # nodes with a local share that pending work reads
        for node in self._pending:
            reads.update(id(i.node) for i in node.inputs if isinstance(i, Ref) and i.spec is LOCAL and i.node)
        due: list[bool] = []
        for node in self._pending:
            closed = not node.local or id(node) in reads
            due.append(closed and all(due[position[id(other)]] for other in node.waits_for()))
        stack = [] if asked is None else [asked]
        while stack:
            node = stack.pop()
            index = position[id(node)]
            if not due[index]:
                due[index] = True
                stack.extend(node.waits_for())
        now = [node for node, is_due in zip(self._pending, due, strict=True) if is_due]
        later = [node for node, is_due in zip(self._pending, due, strict=True) if not is_due]
        self._pending = _read_by_someone(later)
        return now


def _read_by_someone(nodes: Sequence[Node]) -> list[Node]:
    """Those of ``nodes`` whose outputs somebody still holds."""
    kept: list[Node] = []
    for node in reversed(nodes):
        if any(output() is not None for output in node.outputs):
            kept.append(node)
        else:
            node.inputs = ()
    return kept[::-1]


class TimingOnly(Executor):
    """No arithmetic: handles know their shapes and never get a value."""

    def finish(self, work: Work) -> tuple[Ref, ...]:
        """Handles without values."""
        return tuple([Ref(spec) for spec in work.outputs])

    def read(self, what: str, function: Callable[[], T]) -> T | None:
        """Nothing."""
        return None


#: Executors by the name a scenario gives them; all have the same timeline and bytes, and the same results up to rounding.
EXECUTORS: dict[str, type[Executor]] = {"batched": Batched, "serial": Executor, "timing": TimingOnly}
