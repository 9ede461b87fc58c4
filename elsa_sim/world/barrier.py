"""A barrier: members that wait for each other, and what is done for them when all are there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import simpy

from ..base.errors import Lost

if TYPE_CHECKING:
    from .world import Verb, World


class Barrier:
    """Members that wait for each other; when all who have joined and not left are there, they go on, and ``serve`` first.

    ``serve`` gets what each has brought, takes its time, and gives what each takes away.
    """

    def __init__(self, world: World, serve: Callable[[Mapping[str, Any]], Verb] | None = None) -> None:
        self.world, self.serve = world, serve
        self._members: dict[str, None] = {}
        self._here: dict[str, Any] = {}
        self._end = world.env.event()

    def join(self, name: str) -> None:
        """Be waited for from now on."""
        self._members[name] = None

    def leave(self, name: str) -> None:
        """Be waited for no more."""
        self._members.pop(name, None)
        self._here.pop(name, None)
        self._go_on()

    def wait(self, name: str, brought: Any = None) -> Verb:
        """Wait for all members; returns what ``serve`` has for this one.

        Raises:
            Lost: serving was lost.
        """
        self._here[name] = brought
        end = self._end
        self._go_on()
        found = yield end
        if isinstance(found, Lost):
            raise found
        return found.get(name)

    def _go_on(self) -> None:
        if not self._here or self._members.keys() - self._here.keys():
            return
        here, end = self._here, self._end
        self._here, self._end = {}, self.world.env.event()
        if self.serve is None:
            end.succeed({})
        else:
            self.world.spawn(self._served(self.serve(here), end))

    def _served(self, serving: Verb, end: simpy.Event) -> Verb:
        try:
            found = yield from serving
        except Lost as error:
            found = error
        end.succeed(found)
