"""The family of topology sources, and what all that generate clients have in common.

Tested in tests/topology/test_generators.py.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar

from annotated_types import Ge, Le
from pydantic import ValidationError

from ..base.context import Context
from ..base.errors import Fault, InputFaults
from ..base.registry import Component
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


def access_links(clients: Sequence[str], parents: Sequence[str], access: LinkOptions,
                 overrides: dict[str, dict[str, Any]], context: Context, faults: list[Fault]) -> list[Link]:  # fmt: skip
    """Client i hangs off parent i mod P; ``overrides`` changes single options of one client's link."""
    base = access
    access = traced(access, context, "access", faults)
    options = dict.fromkeys(clients, access)
    for name, changes in overrides.items():
        if name not in options:
            near = difflib.get_close_matches(name, clients, 1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; the clients are {clients[0]!r} to {clients[-1]!r}"
            faults.append(Fault(f"overrides.{name}", f"there is no client {name!r}{hint}"))
            continue
        try:
            options[name] = traced(
                LinkOptions.model_validate(base.model_dump() | changes), context, f"overrides.{name}", faults
            )
        except ValidationError as error:
            faults += [Fault(".".join(["overrides", name, *map(str, e["loc"])]), e["msg"]) for e in error.errors()]
    links = []
    for i, client in enumerate(clients):
        parent = parents[i % len(parents)]
        link = Link.of(client, parent, options[client])
        links.append(replace(link, cell=link.cell.replace("{edge}", parent)) if link.cell else link)
    return links
