"""What a scenario may say about the network as a whole."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Le
from pydantic import Field, SerializeAsAny, model_validator

from ..base.choices import member_of
from ..base.errors import Fault, InputFaults
from ..base.registry import Items, Options
from ..base.units import Seconds
from ..links import LinkModel, MaxMin
from ..topology import Topology
from ..topology.limits import Duration, MeanTime
from ..transports import Tcp, Transport

Model = Annotated[SerializeAsAny[LinkModel], member_of(LinkModel)]
Carrying = Annotated[SerializeAsAny[Transport], member_of(Transport)]


class Outage(Options):
    """A link, or all links of a node, carry nothing for a while."""

    node: str | None = None
    """Name of the node that cannot be reached."""
    link: Items[tuple[str, str]] | None = None
    """Names of the two ends of the link that is down."""
    start: Seconds
    """When it begins."""
    duration: Duration
    """How long it lasts."""

    @model_validator(mode="after")
    def _one_of_two(self) -> Outage:
        if (self.node is None) == (self.link is None):
            raise ValueError("an outage names either a node or a link")
        return self


class Failure(Options):
    """Links that fail and are repaired, again and again, by chance."""

    links: Literal["all", "access", "core"] | None = None
    """Every link of the network, of a client, or between other nodes: each by itself."""
    link: Items[tuple[str, str]] | None = None
    """Names of the two ends of the one link that fails."""
    node: str | None = None
    """Name of a node whose links fail, all at once."""
    mtbf: MeanTime
    """Mean time between failures: from a repair to the next failure."""
    mttr: MeanTime
    """Mean time to repair."""
    times: Literal["exponential", "fixed"] = "exponential"
    """Exponential times begin in a random state; fixed ones with the links in working order."""

    @model_validator(mode="after")
    def _one_of_three(self) -> Failure:
        if sum(where is not None for where in (self.links, self.link, self.node)) != 1:
            raise ValueError("failures name either links, one link, or a node")
        return self


class NetworkOptions(Options):
    """How messages share the network, and what becomes of those that do not get through."""

    gone: ClassVar[Mapping[str, str]] = {
        "header": "each packet, not each message, has a header now; its bytes are transport: {kind: tcp, framing: 66 B}",
        "segment": "it is of the transport now: transport: {kind: tcp, segment: 1448 B}",
    }
    model: Model = MaxMin()
    """Link model: ``max-min``, ``proportional``, ``equal-share``, ``fifo``, ``ideal``, or a mapping with ``kind``."""
    resolve: Literal["touched", "all"] = "touched"
    """``touched``: an event shares anew only what it touches (max-min); ``all``: everything, for comparison."""
    transport: Carrying = Tcp()
    """Transport: ``tcp``, ``fluid``, or a mapping with ``kind``; ``fluid`` by default where the link model is ``fifo``."""
    loss: Literal["retransmit", "mathis"] = "retransmit"
    """Over links with loss p, each byte is sent 1 / (1 - p) times on average; ``mathis`` also caps the rate, as TCP's
    congestion control does, at (segment / round-trip time) * sqrt(3 / (2 p)), with the transport's segment."""
    outages: Items[tuple[Outage, ...]] = ()
    """Links and nodes that are down for a while; their flows stall."""
    failures: Items[tuple[Failure, ...]] = ()
    """Links that fail and are repaired by chance, as outages that the seed draws."""
    stall_timeout: Duration | None = None
    """A message that crosses a link that has been down for so long is aborted; without it, it waits."""
    attempt_timeout: Duration | None = None
    """A message that has not arrived after so long is aborted."""
    retries: Annotated[int, Ge(0), Le(1_000_000)] = 3
    """So often an aborted message is sent again, from its first byte."""
    backoff: Seconds = 1.0
    """Wait before the first retry."""
    backoff_factor: Annotated[float, Ge(1.0), Le(1e6)] = 2.0
    """Factor on the wait for each further retry."""
    backoff_limit: Seconds = Field(default=60.0)
    """Longest wait before a retry."""

    @model_validator(mode="before")
    @classmethod
    def _hop_by_hop_is_fluid(cls, data: Any) -> Any:
        """Where no transport is stated, link models that send whole messages from hop to hop have the one that suits them."""
        if isinstance(data, dict) and "transport" not in data:
            model = data.get("model")
            kind = model.get("kind") if isinstance(model, dict) else getattr(model, "kind", model)
            member = LinkModel.members.get(kind) if isinstance(kind, str) else None
            if member is not None and issubclass(member, LinkModel) and member.store_and_forward:
                return {**data, "transport": "fluid"}
        return data

    @model_validator(mode="after")
    def _windows_need_whole_routes(self) -> NetworkOptions:
        if self.model.store_and_forward and self.transport.windows:
            raise ValueError(f"link model {self.model.kind!r} sends whole messages from hop to hop, where no connection's window "
                             f"can hold back a part; use transport: fluid with it, not {self.transport.kind!r}")  # fmt: skip
        return self

    def wait(self, attempt: int) -> float:
        """The wait after the failed attempt number ``attempt``, counted from 1 (s)."""
        try:
            factor = self.backoff_factor ** (attempt - 1)
        except OverflowError:
            factor = math.inf
        return min(self.backoff_limit, self.backoff * factor) if self.backoff else 0.0

    def check(self, topology: Topology) -> None:
        """Whether outages and failures name nodes and links that exist.

        Raises:
            InputFaults: all that do not.
        """
        faults: list[Fault] = []
        pairs = {frozenset((link.u, link.v)) for link in topology.links}
        stated = [(f"outages.{i}", outage.node, outage.link) for i, outage in enumerate(self.outages)]
        stated += [(f"failures.{i}", failure.node, failure.link) for i, failure in enumerate(self.failures)]
        for where, node, link in stated:
            for name in (node,) if node is not None else link or ():
                if name not in topology:
                    near = difflib.get_close_matches(name, topology.names(), 1)
                    hint = f"; did you mean {near[0]!r}?" if near else ""
                    faults.append(Fault(where, f"there is no node {name!r}{hint}"))
            if link is not None and all(n in topology for n in link) and frozenset(link) not in pairs:
                faults.append(Fault(f"{where}.link", f"there is no link between {' and '.join(link)}"))
        for name in self.transport.directions:
            if frozenset(name.split(">")) not in pairs:
                faults.append(Fault("transport", f"there is no link {name!r} from a node to another"))
        if faults:
            raise InputFaults(faults)
