"""What a run needs to be gone on with later: its handles by number, and what was read out of the arithmetic.

A timeline does not depend on arithmetic but where somebody reads values, and all who do ask the journal (:meth:`Journal.read`).
So a run can be played again from the start without any arithmetic, each reading answered as it was the first time. Handles
are numbered in the order in which they are made; a *snapshot* has the values of those that are alive, by these numbers, and
says which work is pending. Where a replay comes to the snapshot, its handles have these values, the same work is pending,
and what follows is computed. Generators, random streams and the network come back by being played again.

A local value (what a forward pass keeps) cannot be stored; the snapshot has the inputs of the work that made it, with all
that was computed as one with it, and it is computed again.

Numbers count handles that work in simulated time makes: an instrument's (an evaluation's) have none, since a replay has no
instruments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias, TypeVar
from weakref import WeakValueDictionary

from ...base.errors import RunFailed
from .scheduler import together
from .work import LOCAL, Node, Ref

T = TypeVar("T")
#: What was asked for, and what was found: what JSON can say.
Reading: TypeAlias = "tuple[str, Any]"


class OtherRun(RunFailed):
    """What is played again is not the run that was recorded."""


@dataclass(frozen=True)
class Snapshot:
    """The arithmetic of a run at one moment: after ``made`` handles and ``read`` readings."""

    made: int
    read: int
    values: Mapping[int, Callable[[], Any]]
    """By the number of their handle; each is asked for once."""
    pending: Sequence[int]
    """Numbers of nodes that have not run, in their order."""
    again: Sequence[Sequence[int]]
    """Numbers of nodes that are to be computed again, each group as one."""


class Journal:
    """Numbers the handles of a run and keeps its readings; with a ``snapshot``, it answers what ``readings`` say until that."""

    def __init__(self, snapshot: Snapshot | None = None, readings: Iterable[Reading] = ()) -> None:
        #: Handles that were made.
        self.made = 0
        #: Readings that were made.
        self.read_so_far = 0
        #: Those that nobody has taken yet.
        self.readings: list[Reading] = []
        self._alive: WeakValueDictionary[int, Ref] = WeakValueDictionary()
        self._inside = False
        self._snapshot, self._told = snapshot, iter(readings)
        self._values: dict[int, Callable[[], Any]] = {}
        self._held: dict[int, Node | None] = {}
        if snapshot is not None:
            self._values = dict(snapshot.values)
            self._held = dict.fromkeys([*snapshot.pending, *(number for group in snapshot.again for number in group)])

    @property
    def replays(self) -> bool:
        """Whether what is played was played before."""
        return self._snapshot is not None

    def enter(self, node: Node, outputs: Sequence[Ref]) -> bool:
        """Number the handles of a new node; returns whether the node is to be run."""
        if self._inside:
            return True
        first = node.number = self.made
        self.made += len(outputs)
        for number, ref in enumerate(outputs, first):
            self._alive[number] = ref
        if self._snapshot is None:
            return True
        if first in self._held:
            self._held[first] = node
        else:
            node.forget()
            for ref in outputs:
                ref.node = None
        for number, ref in enumerate(outputs, first):
            if number in self._values:
                ref.fulfil(self._values.pop(number)())
        return False

    def read(self, what: str, function: Callable[[], T]) -> T:
        """What ``function`` finds, or found the first time.

        Raises:
            OtherRun: the first time something else was asked for.
        """
        if self._inside:  # part of another reading, which a replay answers as a whole
            return function()
        self.read_so_far += 1
        if self._snapshot is not None:
            reading = next(self._told, None)
            if reading is None or reading[0] != what:
                raise OtherRun(f"reading {self.read_so_far} was {reading and reading[0]}, and is {what} now")
            found: T = reading[1]
            return found
        self._inside = True
        try:
            made = function()
        finally:
            self._inside = False
        self.readings.append((what, made))
        return made

    def taken(self) -> list[Reading]:
        """The readings since this was last called."""
        readings, self.readings = self.readings, []
        return readings

    def snapshot(self, pending: Sequence[Node]) -> Snapshot:
        """The arithmetic as it is now, with work that is ``pending``."""
        values, again = dict[int, Callable[[], Any]](), dict[tuple[int, ...], None]()
        for number, ref in sorted(self._alive.items()):
            if not ref.ready:
                continue
            if ref.spec is not LOCAL:
                values[number] = partial(_value, ref)
            elif ref.origin is not None:
                again[tuple(number for number, _ in ref.origin)] = None
        waiting = [node.number for node in pending if node.number is not None]
        return Snapshot(self.made, self.read_so_far, values, waiting, list(again))

    def resume(self) -> list[Node]:
        """The replay has come to its snapshot: from here on everything is computed. Returns what is pending.

        Raises:
            OtherRun: it has come there with other work than the first time.
        """
        snapshot = self._snapshot
        assert snapshot is not None
        if (self.made, self.read_so_far) != (snapshot.made, snapshot.read):
            raise OtherRun(
                f"{self.made} values and {self.read_so_far} readings instead of {snapshot.made} and {snapshot.read}"
            )
        nodes = {number: node for number, node in self._held.items() if node is not None}
        self._snapshot, self._values, self._held = None, {}, {}
        for group in snapshot.again:
            members = [nodes[number] for number in group]
            if any(output() is not None for node in members for output in node.outputs):
                together(members)
        return [nodes[number] for number in snapshot.pending]


def _value(ref: Ref) -> Any:
    return ref.value
