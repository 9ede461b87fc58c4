"""What a protocol is: plain SimPy generators over the verbs of the world, with its frozen options beside it.

Tested in tests/protocols/test_protocol_laws.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, SerializeAsAny

from ..base.choices import AnyOf
from ..base.errors import Fault
from ..base.registry import Component
from ..base.units import MOST_COUNT, MOST_FACTOR
from ..learning.aggregation.base import Aggregation
from ..learning.aggregation.rules.mean import Mean
from ..learning.splits.pattern import WHOLE, StepPattern
from ..selection.all import All
from ..selection.base import Selection
from ..world.rounds import WaitOptions
from . import aggregators
from .aggregators import Aggregator
from .selection_faults import selection_faults

if TYPE_CHECKING:
    from ..learning.backbone.memory import Footprint, Outline
    from ..learning.tasks.base import Task
    from ..topology import Topology
    from ..world.world import Verb, World


class Protocol(Component):
    """A training system. ``run`` is its process; it ends when training ends.

    Adding one is adding one file: a subclass with ``kind``, its options as fields, and ``run``.
    """

    family: ClassVar[str] = "protocol"
    #: What a local step consists of: the parts of the model, who trains them, and what crosses between them.
    pattern: ClassVar[StepPattern] = WHOLE
    #: Whether edge servers take part beside those that train a part of the model, so that a topology must have some.
    uses_edge_servers: ClassVar[bool] = False
    #: Options with which a run of one client is centralised training, where the step is exact; ``None``: there are none.
    neutral: ClassVar[Mapping[str, Any] | None] = MappingProxyType({})
    #: Whether participants go on while the server evaluates, so that some work is under way when a run ends.
    continuous: ClassVar[bool] = False
    #: Kinds of messages that it sends beside those of its step and adapters; see :attr:`message_kinds`.
    messages: ClassVar[tuple[str, ...]] = ()
    #: Why no server ever has several contributions at once, if so; an aggregation rule would then have no effect.
    unaggregated: ClassVar[str | None] = None
    #: Whether it plays rounds by a :class:`~.selecting.Selecting`, so that ``selection`` has an effect.
    selects: ClassVar[bool] = False
    kind: str
    rounds: int = Field(10, ge=1, le=MOST_COUNT)
    """Number of rounds; an evaluation follows each."""
    local_steps: int = Field(5, ge=1, le=MOST_COUNT)
    """Optimizer steps of a client between two aggregations."""
    lr: float = Field(2.0e-3, gt=0, le=MOST_FACTOR)
    """Learning rate of AdamW."""
    weight_decay: float = Field(0.0, ge=0, le=MOST_FACTOR)
    """Decoupled weight decay of AdamW."""
    keep_optimizer: bool = True
    """Whether a client keeps its optimizer moments when it takes over aggregated adapters."""
    wait: WaitOptions = WaitOptions()
    """When a round stops waiting for clients: for all, for the first so many, or until a deadline."""
    selection: Annotated[SerializeAsAny[Selection], AnyOf(Selection)] = All()
    """Who of a server's members takes part in a round; under edge servers, each of them chooses among its own clients."""
    aggregation: Annotated[SerializeAsAny[Aggregation], AnyOf(Aggregation)] = Mean()
    """The rule by which a server makes one of the adapters that its members send."""

    def steps(self, clients: int) -> int:
        """Local steps of the whole run, for the progress bar."""
        return self.rounds * self.local_steps * clients

    def faults(self, topology: Topology, task: Task) -> Iterable[Fault]:
        """What of these options cannot be on this network and with this task; paths are relative to the section."""
        return ()

    def storage(self, outline: Outline, length: int) -> tuple[str, Footprint] | None:
        """What each server that aggregates holds beside what is trained on it, and why; ``None``: nothing that counts.

        Args:
            length: tokens of a text, at most.
        """
        return None

    def notes(self, *, timing: bool) -> Iterable[str]:
        """What a user should know before a run, in timing mode or not."""
        return ()

    @property
    def aggregator(self) -> str | None:
        """The server that clients hand their adapters to, where that is not the one they train with."""
        return None

    @property
    def message_kinds(self) -> tuple[str, ...]:
        """All kinds of messages that it sends; each may have a chain of codecs."""
        if not self.pattern.trained_at("client"):
            return self.messages
        crossing = (each.kind for each in self.pattern.crossings)
        return tuple(dict.fromkeys((*crossing, "adapters", *self.messages)))

    @property
    def needs_edge_servers(self) -> bool:
        """Whether a topology must have edge servers."""
        return self.uses_edge_servers or self.pattern.server == "edge"

    @property
    def in_phase(self) -> bool:
        """Whether clients begin every phase of a step (forward pass, backward pass, upload) together."""
        return False

    def cut_faults(self, cuts: Collection[tuple[int, int]]) -> Iterable[Fault]:
        """What cannot be with these cuts (p, q) of clients; paths are relative to the protocol's section."""
        return ()

    def aggregators(self, clients: Mapping[str, str], cloud: str) -> Iterable[Aggregator]:
        """The servers that aggregate; ``clients`` belong to the edge servers that they are mapped to."""
        yield Aggregator(self.aggregator or cloud, self._at_most(len(clients)), "clients", self.aggregation)

    def aggregation_faults(self, clients: Mapping[str, str], cloud: str) -> Iterable[Fault]:
        """Why an aggregation rule cannot serve here; paths are relative to the protocol's section."""
        if self.unaggregated is None:
            yield from aggregators.faults(self.aggregators(clients, cloud))
        elif self.aggregation != type(self).model_fields["aggregation"].default:
            yield Fault("aggregation", f"{self.kind} {self.unaggregated}: a rule would have no effect; leave it out")

    def selection_faults(self, clients: Mapping[str, str], cloud: str, *, timing: bool) -> Iterable[Fault]:
        """Why a selection cannot serve here, in timing mode or not; paths are relative to the protocol's section."""
        return selection_faults(self, clients, cloud, timing=timing)

    def _at_most(self, members: int) -> int:
        """How many of a server's members a round waits for."""
        chosen = self.selection.most(members)
        return chosen if self.wait.first is None else min(chosen, self.wait.first)

    def run(self, world: World) -> Verb:
        """The protocol's main process."""
        raise NotImplementedError


class TieredProtocol(Protocol):
    """A protocol with edge servers that aggregate for their clients, between these and the cloud."""

    edge_aggregation: Annotated[SerializeAsAny[Aggregation] | None, AnyOf(Aggregation)] = None
    """The rule of the edge servers; by default that of the cloud, ``aggregation``."""

    def rule(self, *, edge: bool) -> Aggregation:
        """The rule of the edge servers, or of the cloud."""
        return self.edge_aggregation if edge and self.edge_aggregation is not None else self.aggregation

    def aggregators(self, clients: Mapping[str, str], cloud: str) -> Iterable[Aggregator]:
        homes, key = Counter(clients.values()), "aggregation" if self.edge_aggregation is None else "edge_aggregation"
        for edge, count in sorted(homes.items()):
            yield Aggregator(edge, self._at_most(count), "clients", self.rule(edge=True), key)
        yield Aggregator(cloud, len(homes), "edge servers", self.aggregation)

    def aggregation_faults(self, clients: Mapping[str, str], cloud: str) -> Iterable[Fault]:
        if self.unaggregated is None:
            way_out = "; edge servers may have a rule of their own, edge_aggregation"
            yield from aggregators.faults(self.aggregators(clients, cloud), "" if self.edge_aggregation else way_out)
            return
        yield from super().aggregation_faults(clients, cloud)
        if self.edge_aggregation is not None:
            yield Fault(
                "edge_aggregation", f"{self.kind} {self.unaggregated}: a rule would have no effect; leave it out"
            )
