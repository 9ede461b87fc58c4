"""A server's copy of a part that clients train, with a step that nobody else can come between.

While a step is under way on a device, the part is about to be replaced; who reads it then computes on something that
nobody will see again, and its own step undoes the other's. So a :class:`Replica` gives the part out to one at a time. That
no step of a run was lost like that, with replicas or without, is an invariant; see :class:`Lineage`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

import simpy

if TYPE_CHECKING:
    from ..learning.execution.work import Work
    from ..learning.training.model import Trained
    from .verb import Verb


class Turn:
    """One at a time, in the order of asking; who asks while nobody is there does not wait at all."""

    def __init__(self, env: simpy.Environment) -> None:
        self.env = env
        self._taken = False
        self._waiting: deque[simpy.Event] = deque()

    def during(self, work: Callable[[], Verb]) -> Verb:
        """Run ``work`` when it is its turn; returns its result. The next one's turn comes when it has ended, or failed."""
        if self._taken:
            yield from self._come()
        self._taken = True
        try:
            return (yield from work())
        finally:
            self._next()

    def _come(self) -> Verb:
        mine = self.env.event()
        self._waiting.append(mine)
        try:
            yield mine
        except BaseException:
            if mine.triggered:  # interrupted when its turn had come
                self._next()
            else:
                self._waiting.remove(mine)
            raise

    def _next(self) -> None:
        self._taken = bool(self._waiting)
        if self._waiting:
            self._waiting.popleft().succeed()


class Replica:
    """A part in training at a server.

    Args:
        trained: the part as it is at first.
        turn: shared by replicas of which only one may be worked on at a time; by default this one's own.
    """

    def __init__(self, env: simpy.Environment, trained: Trained, turn: Turn | None = None) -> None:
        self._trained = trained
        self._turn = Turn(env) if turn is None else turn

    @property
    def trained(self) -> Trained:
        """The part after the last step that has ended; a step begins from it only by :meth:`step`."""
        return self._trained

    def read(self, work: Callable[[Trained], Verb]) -> Verb:
        """Run ``work`` on the part, which stays as it is; returns its result."""
        return self._turn.during(lambda: work(self._trained))

    def step(self, work: Callable[[Trained], Verb]) -> Verb:
        """Run ``work`` on the part; it returns its result and the part after it. Returns the result.

        Work that is lost leaves the part as it was.
        """
        return self._turn.during(lambda: self._stepping(work))

    def _stepping(self, work: Callable[[Trained], Verb]) -> Verb:
        result, self._trained = yield from work(self._trained)
        return result


class Lineage:
    """Which adapters a finished optimizer step has replaced: two steps from the same ones mean that one of them is lost."""

    def __init__(self) -> None:
        self.wrong: list[str] = []
        """Steps that were lost, as violated invariants."""

    def ended(self, node: str, work: Work, now: float) -> None:
        """Work has ended on a device."""
        before = work.trains
        if before is None:
            return
        if before.replaced and len(self.wrong) < 10:
            self.wrong.append(
                f"a step was lost: {work.label} on {node}, ended at {now:g} s, began from adapters that another step had "
                "replaced meanwhile; train what several clients share with world.replica.Replica.step"
            )
        before.replaced = True
