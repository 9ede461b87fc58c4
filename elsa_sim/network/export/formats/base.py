"""The family of formats, and what none of them, or only some, can say.

Tested in tests/network/export/test_formats.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....base.errors import Fault
from ....topology import Link
from ..scene import Scene


class Format:
    """How another simulator is told of a scene. A member is a class with a ``name``, in a file of its own.

    What a format cannot say is a fault, and never left out: jitter, loss, shared cells and profiles are beyond all of them, and
    a member says what else is.
    """

    members: ClassVar[dict[str, type[Format]]] = {}
    name: ClassVar[str] = ""
    simulator: ClassVar[str] = ""
    """The simulator's own name, for messages."""
    half_duplex: ClassVar[bool] = False
    """Whether both directions of a link may share one channel."""

    def __init_subclass__(cls) -> None:
        cls.members[cls.name] = cls

    def faults(self, scene: Scene) -> list[Fault]:
        """All of a scene that the format cannot say."""
        links = enumerate(scene.topology.links)
        faults = [*scene.beyond, *(fault for i, link in links for fault in self._of_link(link, f"links[{i}]"))]
        for i, message in enumerate(scene.messages):
            if len(message.route) < 2:
                faults.append(self._fault(f"flows[{i}]", f"cannot be told of {message.id!r}, which stays at its node"))
            if message.nbytes != round(message.nbytes):
                faults.append(self._fault(f"flows[{i}].bytes", f"has whole bytes only, not {message.nbytes!r}"))
        return faults

    def files(self, scene: Scene) -> dict[str, str]:
        """File name -> text, of a scene without faults."""
        raise NotImplementedError

    def _fault(self, where: str, what: str) -> Fault:
        return Fault(where, f"{self.simulator} {what}")

    def _of_link(self, link: Link, where: str) -> Iterator[Fault]:
        between = f"link {link.u}-{link.v}"
        if link.jitter:
            yield self._fault(where, f"is not told of jitter ({link.jitter:g} s): {between}")
        if link.loss:
            yield self._fault(where, f"is not told of loss ({link.loss:g}): {between}")
        if link.cell is not None:
            yield self._fault(where, f"is not told of air interfaces that links share (cell {link.cell!r}): {between}")
        if link.duplex == "half" and not self.half_duplex:
            yield self._fault(where, f"is not told of half-duplex links: {between}")
        if link.varies:
            yield self._fault(where, f"is not told of bandwidth profiles: {between}")
