"""From options with distributions to those of one node, with values.

A node's number for a key is of the stream ``population / node / key``; columns of one file share one (:mod:`.column`).
Keys of streams do not depend on where the options of a node come from: those of a role, or its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import ValidationError

from ..base.context import Context
from ..base.errors import Fault, InputFaults
from ..base.registry import Options
from ..base.streams import Streams
from .distribution import Distribution

O = TypeVar("O", bound=Options)
Change = Callable[[Distribution[Any], str], Any]


def distributions(options: Options, key: str = "") -> Iterator[tuple[str, Distribution[Any]]]:
    """The distributions in ``options`` and in what they hold, with their keys: ``speed``, ``power.idle``."""
    found: list[tuple[str, Distribution[Any]]] = []

    def noted(each: Distribution[Any], at: str) -> Any:
        found.append((at, each))
        return each

    _replaced(options, key, noted)
    return iter(found)


def loaded(options: O, context: Context, key: str, faults: list[Fault]) -> O:
    """``options`` with the files of their distributions read; what is wrong with them is added to ``faults``."""

    def change(each: Distribution[Any], at: str) -> Any:
        try:
            return each.loaded(context, at)
        except InputFaults as error:
            faults.extend(error.faults)
            return each

    return _replaced(options, key, change)  # type: ignore[no-any-return]


@dataclass
class Drawer:
    """Draws what nodes have, and remembers what they cannot have."""

    streams: Streams
    _wrong: dict[str, tuple[str, int]] = field(default_factory=dict)

    def value(self, distribution: Distribution[Any], node: str, key: str, where: str) -> Any:
        """What ``node`` draws for ``key``; where it is out of bounds, one of :meth:`faults` is then at ``where``."""
        value = distribution.quantile(self.streams.uniform("population", node, distribution.shared or key))
        try:
            return distribution.valid(value)
        except ValidationError as error:
            why, count = self._wrong.get(where, ("", 0))
            if not count:
                why = f"{node} draws {value:g}: {error.errors()[0]['msg'].removeprefix('Value error, ')}"
            self._wrong[where] = (why, count + 1)
            return value

    def of(self, options: O, node: str, key: str, where: str) -> O:
        """``options`` as ``node`` has them; faults are at ``where``."""

        def change(each: Distribution[Any], at: str) -> Any:
            return self.value(each, node, f"{key}.{at}", f"{where}.{at}")

        return _replaced(options, "", change)  # type: ignore[no-any-return]

    def faults(self) -> Iterator[Fault]:
        """What was drawn and cannot be, one for each key."""
        for key, (why, count) in self._wrong.items():
            more = f" (and {count - 1} more)" if count > 1 else ""
            yield Fault(key, f"{why}{more}; bound it with at_least and at_most")


def _replaced(value: Any, key: str, change: Change) -> Any:
    """``value`` with every distribution in it changed; the same object where there is none."""
    if isinstance(value, Distribution):
        return change(value, key)
    if isinstance(value, Options):
        changes = {}
        for name, each in value.__dict__.items():
            if isinstance(each, Options | tuple):
                made = _replaced(each, f"{key}.{name}" if key else name, change)
                if made is not each:
                    changes[name] = made
        return value.model_copy(update=changes) if changes else value
    if isinstance(value, tuple):
        items = [_replaced(each, f"{key}.{i}" if key else str(i), change) for i, each in enumerate(value)]
        return tuple(items) if any(a is not b for a, b in zip(items, value, strict=True)) else value
    return value
