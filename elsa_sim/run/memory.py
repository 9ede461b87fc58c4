"""What the parts of a scenario take in the memory of their devices, and what does not fit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from ..base.errors import Fault
from ..base.listing import listed
from ..base.units import format_bytes
from ..devices import DeviceOptions
from ..learning.backbone.memory import Footprint, Outline
from ..learning.backbone.options import Part
from ..learning.splits.base import Cut
from ..learning.splits.pattern import spoken
from ..protocols.base import Protocol
from ..scenario.model import Scenario
from ..topology import Topology

_HELP = (
    "give more, train fewer layers there, or a smaller task.batch_size; "
    "backbone.dtype, quantize and gradient_checkpointing take less"
)
#: What a device holds, its footprint, and the number of copies of what is trained.
Need: TypeAlias = tuple[str, Footprint, int]


@dataclass(frozen=True)
class MemoryDemand:
    """What a scenario trains and stores on its nodes, with the whole model on one device where ``cuts`` is ``None``."""

    scenario: Scenario
    outline: Outline
    layers: int
    cuts: Mapping[str, Cut] | None
    topology: Topology
    edge_of: Mapping[str, str]

    def footprints(self) -> dict[str, Need]:
        """Node -> what is trained and stored there."""
        trained = self._whole() if self.cuts is None else self._parts(self.cuts)
        return trained | self._stored(trained)

    def _whole(self) -> dict[str, Need]:
        task, topology = self.scenario.task, self.topology
        pattern = self.scenario.protocol.pattern
        footprint = self.outline.training(pattern.divide(self.layers, 0, 0), task.batch_size, task.max_length)
        nodes = topology.names("client" if pattern.trained_at("client") else "cloud")
        return dict.fromkeys(nodes, ("the whole model", footprint, 1))

    def _parts(self, cuts: Mapping[str, Cut]) -> dict[str, Need]:
        size, length = self.scenario.task.batch_size, self.scenario.task.max_length
        outline, protocol, pattern = self.outline, self.scenario.protocol, self.scenario.protocol.pattern
        parts = {client: pattern.divide(self.layers, cut.p, cut.q) for client, cut in cuts.items()}
        own = {client: pattern.held(each, "client") for client, each in parts.items()}
        needs = {client: (spoken(held), outline.training(held, size, length), 1) for client, held in own.items()}
        served: defaultdict[str, list[Part]] = defaultdict(list)
        for client, server in server_of(protocol, self.topology, self.edge_of).items():
            served[server] += pattern.held(parts[client], "server")
        for name, every in served.items():
            copies = _at_once(every, protocol.selection.asked(len(every)), pattern.shared)
            count = len(set(copies)) if pattern.shared else len(copies)
            what = f"{count} {'copies' if count > 1 else 'copy'} of Part 2"
            if len(set(copies)) == 1 and not pattern.shared:
                needs[name] = (what, outline.training(copies[:1], size, length), count)
            else:
                needs[name] = (what, outline.served(copies, size, length, shared=pattern.shared), 1)
        return needs

    def _stored(self, trained: Mapping[str, Need]) -> dict[str, Need]:
        """The needs of servers that aggregate, with what the protocol stores there; weights are held once."""
        protocol = self.scenario.protocol
        if (stored := protocol.storage(self.outline, self.scenario.task.max_length)) is None:
            return {}
        found = {}
        for name in dict.fromkeys(
            (self.topology.cloud, *(self.edge_of.values() if protocol.uses_edge_servers else ()))
        ):
            what, kept = stored
            if name in trained:
                also, own, copies = trained[name]
                weights = max(own.weights, kept.weights)  # one of them has the layers of the other
                each = (copies * own.adapters + kept.adapters, copies * own.activations + kept.activations)
                what, kept = f"{also} and {what}", Footprint(weights, *each)
            found[name] = (what, kept, 1)
        return found


def _at_once(parts: list[Part], clients: int, shared: bool) -> list[Part]:
    """Those of the ``parts`` that are trained at once where so many clients take part, at worst the largest.

    What is ``shared`` is there all the time, whoever trains it.
    """
    if clients >= len(parts):
        return parts
    largest = sorted(parts, key=lambda part: part.start - part.stop)[:clients]
    return largest + [part for part in dict.fromkeys(parts) if shared and part not in largest]


def server_of(protocol: Protocol, topology: Topology, edge_of: Mapping[str, str]) -> dict[str, str]:
    """Client -> where its Part 2 is trained."""
    return {c: edge_of[c] if protocol.pattern.server == "edge" else topology.cloud for c in topology.names("client")}


def too_large(needs: Mapping[str, Need], devices: Mapping[str, DeviceOptions]) -> Iterator[Fault]:
    """What does not fit the memory of its device; nodes that lack the same are told of together."""
    lacking: dict[tuple[str, Footprint, int, float], list[str]] = {}
    for name, (what, footprint, copies) in needs.items():
        if footprint.total(copies) > devices[name].memory:
            lacking.setdefault((what, footprint, copies, devices[name].memory), []).append(name)
    for (what, footprint, copies, memory), names in lacking.items():
        parts = ", ".join(
            f"{kind} {format_bytes(size)}"
            for kind, size in (
                ("weights", footprint.weights),
                ("adapters with gradients and moments", copies * footprint.adapters),
                ("activations about", copies * footprint.activations),
            )
        )
        total = footprint.total(copies)
        yield Fault(
            "",
            f"{what} on {listed(names, quoted=True)} takes {total} bytes ({parts}); memory is {memory:.0f} bytes "
            f"({format_bytes(int(memory))}); {_HELP}",
        )
