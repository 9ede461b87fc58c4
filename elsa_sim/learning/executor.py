"""Executors: when the arithmetic of finished work runs. Timeline and bytes do not depend on it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from .work import Node, Ref, Work

T = TypeVar("T")


class Executor:
    """Takes work whose simulated time has passed and gives handles on its results.

    This one defers: a chain of work stays pending while its timeline plays, and runs when a result is first needed (an
    evaluation, or a size that depends on data), one chain after the other. Work is pure, so the results are those of
    running each piece at its end, bit for bit; but the activations that a backward pass needs exist for one client at
    a time, not for all that are under way.
    """

    def __init__(self) -> None:
        #: Host seconds spent in arithmetic.
        self.math_s = 0.0

    def finish(self, work: Work) -> tuple[Ref, ...]:
        """Handles on the outputs of ``work``."""
        return Node(work.function, work.inputs, work.outputs).outputs

    def time(self, function: Callable[[], T]) -> T:
        """Call ``function``, counting its host seconds as arithmetic."""
        begin = time.perf_counter()
        try:
            return function()
        finally:
            self.math_s += time.perf_counter() - begin


class Serial(Executor):
    """The reference: the arithmetic of each piece of work runs when its simulated time ends."""

    def finish(self, work: Work) -> tuple[Ref, ...]:
        """Run ``work`` now."""
        node = Node(work.function, work.inputs, work.outputs)
        outputs = node.outputs
        self.time(node.run)
        return outputs


class TimingOnly(Executor):
    """No arithmetic: handles know their shapes and never get a value."""

    def finish(self, work: Work) -> tuple[Ref, ...]:
        """Handles without values."""
        return tuple(Ref(spec) for spec in work.outputs)


#: Executors by the name a scenario gives them; all have the same timeline, bytes and results.
EXECUTORS: dict[str, type[Executor]] = {"deferred": Executor, "serial": Serial, "timing": TimingOnly}
