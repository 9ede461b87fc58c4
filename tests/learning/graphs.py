"""Pieces of work for the tests of execution: plain functions of numbers, and kernels of some size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from elsa_sim.learning.execution.executor import Batched, Executor
from elsa_sim.learning.execution.work import Kernel, Node, Ref, TensorSpec, Work

NUMBER = TensorSpec((), "int64")


def work(function: Callable[..., Sequence[Any]], *inputs: Any, outputs: int = 1) -> Work:
    return Work("test", function, inputs, (NUMBER,) * outputs)


class Sum(Kernel):
    """A kernel that remembers how many calls it computed as one, and how many chains were under way."""

    def __init__(self, key: str, log: list[tuple[str, int]], footprint: float = 0.0, local: bool = False) -> None:
        self._key, self.log, self._footprint, self.local = key, log, footprint, local

    @property
    def key(self) -> str:
        return self._key

    @property
    def footprint(self) -> float:
        return self._footprint

    def __call__(self, *inputs: Any) -> tuple[Any, ...]:
        ((value),) = self.together([(self, inputs)])
        return value

    def together(self, calls: Sequence[tuple[Kernel, Sequence[Any]]]) -> list[tuple[Any, ...]]:
        self.log.append((self._key, len(calls)))
        return [(sum(inputs),) for _, inputs in calls]


class Heavy(Kernel):
    """A kernel of some size; the sum of what it reads."""

    key, footprint = "heavy", 1.0

    def __call__(self, *inputs: Any) -> tuple[Any, ...]:
        return (sum(item for item in inputs if isinstance(item, int)),)

    def together(self, calls: Any) -> list[Any]:
        return [kernel(*inputs) for kernel, inputs in calls]


class Saving(Heavy):
    """One that leaves something behind for a later one."""

    def __call__(self, *inputs: Any) -> tuple[Any, ...]:
        return *super().__call__(*inputs), "saved"


class Keeper(Batched):
    """Remembers its pending nodes."""

    @property
    def nodes(self) -> list[Node]:
        return self._pending


def heavy(executor: Executor, *inputs: Any) -> Ref:
    return executor.finish(Work("heavy", Heavy(), inputs, (NUMBER,)))[0]


def light(executor: Executor, *inputs: Any) -> Ref:
    return executor.finish(Work("light", lambda *values: (sum(values),), inputs, (NUMBER,)))[0]
