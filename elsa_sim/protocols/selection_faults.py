"""Why a selection of clients cannot serve a protocol, or has no effect there.

Tested in tests/protocols/test_selection.py.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ..base.errors import Fault

if TYPE_CHECKING:
    from .base import Protocol


def selection_faults(protocol: Protocol, clients: Mapping[str, str], cloud: str, *, timing: bool) -> Iterator[Fault]:
    """The faults of ``protocol.selection`` where ``clients`` belong to these edge servers; paths are the protocol's."""
    chosen = protocol.selection
    if chosen.everyone:
        return
    if not protocol.selects:
        why = "does not choose among its clients"
        if protocol.continuous:
            why = "takes updates as they come"
        elif not protocol.pattern.trained_at("client"):
            why = "trains in one place"
        yield Fault("selection", f"{protocol.kind} {why}: a selection would have no effect; leave it out")
        return
    if chosen.needs_losses and timing:
        what = f"{chosen.kind} looks at losses, and there are none in timing mode"
        yield Fault("selection", f"{what}; valid there: {', '.join(_blind(chosen.members))}")
    if chosen.needs_losses and protocol.pattern.joint:
        yield Fault(
            "selection",
            f"{chosen.kind} looks at the loss of each client, and under {protocol.kind} they have one together",
        )
    homes = homes_of(protocol, clients, cloud)
    for fault in chosen.faults(homes):
        yield replace(fault, path=f"selection.{fault.path}")
    if protocol.wait.first is not None and chosen.closes(1) is not None:
        yield Fault(
            "wait.first",
            "selection.over_commit closes the round when as many as selection.clients have arrived; leave one out",
        )


def homes_of(protocol: Protocol, clients: Mapping[str, str], cloud: str) -> Mapping[str, Sequence[str]]:
    """The servers that choose, each with its clients at the start."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for client, edge in clients.items():
        found[edge if protocol.uses_edge_servers else cloud].append(client)
    return found


def _blind(members: Mapping[str, object]) -> list[str]:
    return [kind for kind, member in sorted(members.items()) if not getattr(member, "needs_losses", False)]
