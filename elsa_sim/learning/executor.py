"""Executors: when the arithmetic of finished work runs. Timeline and bytes do not depend on it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from .work import Ref, Work, run

T = TypeVar("T")


class Executor(Protocol):
    """Takes work whose simulated time has passed and gives handles on its results."""

    #: Host seconds spent in arithmetic.
    math_s: float

    def finish(self, work: Work) -> tuple[Ref, ...]:
        """Handles on the outputs of ``work``."""
        ...

    def time(self, function: Callable[[], T]) -> T:
        """Call ``function``, counting its host seconds as arithmetic."""
        ...


class Serial:
    """The reference: the arithmetic of each piece of work runs when its simulated time ends."""

    def __init__(self) -> None:
        self.math_s = 0.0

    def finish(self, work: Work) -> tuple[Ref, ...]:
        """Run ``work`` now."""
        values = self.time(lambda: run(work))
        return tuple(Ref.of(value, spec) for value, spec in zip(values, work.outputs, strict=True))

    def time(self, function: Callable[[], T]) -> T:
        """Call ``function``, counting its host seconds as arithmetic."""
        begin = time.perf_counter()
        try:
            return function()
        finally:
            self.math_s += time.perf_counter() - begin


class TimingOnly:
    """No arithmetic: handles know their shapes and never get a value."""

    math_s = 0.0

    def finish(self, work: Work) -> tuple[Ref, ...]:
        """Handles without values."""
        return tuple(Ref(spec) for spec in work.outputs)

    def time(self, function: Callable[[], T]) -> T:
        """Call ``function``."""
        return function()
