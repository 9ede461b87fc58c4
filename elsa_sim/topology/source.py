"""The family of topology sources, and what all that generate clients have in common.

Tested in tests/topology/test_generators.py.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar

from annotated_types import Ge, Le
from pydantic import ValidationError

from ..base.context import Context
from ..base.errors import Fault, InputFaults
from ..base.registry import Component
from ..populations import Drawer, is_distribution, loaded, place
from .faults import faults_of
from .model import Link, Node, Topology
from .options import LinkOptions
from .traces import traced

Count = Annotated[int, Ge(1), Le(1_000_000)]


class TopologySource(Component):
    """Where the network comes from: a generator or a file."""

    family: ClassVar[str] = "topology"
    #: Whether its shape is drawn at random.
    random: ClassVar[bool] = False

    def build(self, context: Context) -> Topology:
        """The network; the same for the same options and seed.

        Raises:
            InputFaults: all faults at once, their paths relative to the section of the scenario.
        """
        raise NotImplementedError


def checked(
    nodes: Sequence[Node],
    links: Sequence[Link],
    key: str = "",
    faults: Iterable[Fault] = (),
    notes: Iterable[str] = (),
) -> Topology:
    """The topology of these nodes and links, with ``notes`` on what was filled in.

    Raises:
        InputFaults: ``faults``, and those that :func:`faults_of` finds.
    """
    found = [*faults, *faults_of(nodes, links, key)]
    if found:
        raise InputFaults(found)
    return Topology(tuple(nodes), tuple(links), tuple(notes))


#: Of links that are not to be looked at, as there are faults already.
_STAND_IN = LinkOptions(up=1e6)


@dataclass
class LinkMaker:
    """Makes links from options: their files are read once, what is a distribution is drawn for the node that each is of."""

    context: Context
    faults: list[Fault]
    _drawer: Drawer = field(init=False)
    _drawn: dict[tuple[str, str], LinkOptions] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._drawer = Drawer(self.context.streams)

    def ready(self, options: LinkOptions, where: str) -> tuple[LinkOptions, str]:
        """``options`` with their files read, and where they stand."""
        options = traced(options, self.context, where, self.faults)
        return loaded(options, self.context, where, self.faults), where

    def link(self, u: str, v: str, ready: tuple[LinkOptions, str], key: str, stretch: float | None = None) -> Link:
        """The link of ``u`` to ``v``; ``u`` draws for ``key``. The latency is multiplied by ``stretch``."""
        options, where = ready
        if not self.faults:  # a file that was not read has nothing to draw from
            drawn = self._drawer.of(options, u, key, where)
            options = self._traced(drawn, where) if is_distribution(options.trace) else drawn
        if self.all_faults():
            options = _STAND_IN
        return Link.of(u, v, options, None if stretch is None else options.latency * stretch)

    def _traced(self, options: LinkOptions, where: str) -> LinkOptions:
        """``options`` with the profiles of a trace that was drawn; each is read once."""
        key = (where, repr(options.trace))
        if key not in self._drawn:
            self._drawn[key] = traced(options, self.context, where, self.faults)
        read = self._drawn[key]
        of_trace = ("profile", "period", "profile_down", "period_down", "trace", "repeat")
        return options.model_copy(update={name: getattr(read, name) for name in of_trace})

    def all_faults(self) -> list[Fault]:
        """What was wrong with options, files and draws."""
        return [*self.faults, *self._drawer.faults()]

    def access(self, clients: Sequence[str], parents: Sequence[str], access: LinkOptions,
               overrides: dict[str, dict[str, Any]]) -> list[Link]:  # fmt: skip
        """Client i hangs off parent i mod P; ``overrides`` changes single options of one client's link."""
        options = dict.fromkeys(clients, self.ready(access, "access"))
        for name, changes in overrides.items():
            if name not in options:
                near = difflib.get_close_matches(name, clients, 1)
                hint = (
                    f"; did you mean {near[0]!r}?" if near else f"; the clients are {clients[0]!r} to {clients[-1]!r}"
                )
                self.faults.append(Fault(f"overrides.{name}", f"there is no client {name!r}{hint}"))
                continue
            try:
                made = LinkOptions.model_validate(access.model_dump() | changes)
                options[name] = self.ready(made, f"overrides.{name}")
            except ValidationError as error:
                self.faults += [
                    Fault(".".join(["overrides", name, *place(e["loc"])]), e["msg"]) for e in error.errors()
                ]
        links = []
        for i, client in enumerate(clients):
            parent = parents[i % len(parents)]
            link = self.link(client, parent, options[client], "access")
            links.append(replace(link, cell=link.cell.replace("{edge}", parent)) if link.cell else link)
        return links
