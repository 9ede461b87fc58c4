"""What a split policy is, and what it may look at: the resources of clients and servers, as plain numbers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from ...base.errors import Fault, InputFaults
from ...base.registry import Component
from ..backbone.memory import Outline
from ..backbone.options import Part, three_parts, two_parts

#: Who has the task head.
Head = Literal["client", "server"]


@dataclass(frozen=True)
class Cut:
    """The first p and the last q layers are the client's, with the head; if q = 0, the head is the server's. And why."""

    p: int
    q: int
    why: str = ""

    def parts(self, layers: int) -> tuple[Part, ...]:
        """Parts 1, 2 and 3 of a model of so many layers; without Part 3 if the head is the server's."""
        return three_parts(layers, self.p, self.q) if self.q else two_parts(layers, self.p)


@dataclass(frozen=True)
class Machine:
    """What computes: ``seconds`` = launch + FLOPs / speed; speed in FLOP/s with its slowdown, memory in bytes."""

    speed: float
    memory: float
    launch: float = 0.0
    slots: int = 1

    def seconds(self, flops: float, pieces: int = 1) -> float:
        """Time for so many FLOPs in so many pieces of work."""
        return pieces * self.launch + flops / self.speed


@dataclass(frozen=True)
class ClientResources:
    """A client: its machine, its server, its share of the way there in bit/s when all clients use it, and the latency in s."""

    name: str
    machine: Machine
    server: str
    up: float
    down: float
    latency: float


@dataclass(frozen=True)
class Resources:
    """What a policy decides by: who there is, the model's shape, the padded batch [batch, length] of a local step.

    ``head`` is who has the task head: with the client's, a step crosses the cut four times, else twice. ``crossing`` are the
    bytes of one message up and of one down (means, where there are two), ``codec`` the FLOPs of the codecs in one step on
    the client and on its server.
    """

    outline: Outline
    batch: int
    length: int
    clients: Sequence[ClientResources]
    servers: Mapping[str, Machine]
    crossing: tuple[float, float] = (0.0, 0.0)
    codec: tuple[float, float] = (0.0, 0.0)
    head: Head = "client"

    @property
    def layers(self) -> int:
        """L."""
        return self.outline.shape.layers

    def fits(self, client: ClientResources, p: int, q: int) -> bool:
        """Whether the client's parts fit its memory."""
        first, _, *last = Cut(p, q).parts(self.layers)
        return self.outline.training([first, *last], self.batch, self.length).total() <= client.machine.memory


def tail(q: int | None, head: Head) -> int:
    """Layers of Part 3, where ``q`` was asked for; none if the head is the server's.

    Raises:
        InputFaults: there is to be a Part 3 and can be none.
    """
    if head == "client":
        return 1 if q is None else q
    if q is not None:
        message = "the protocol keeps the last layers and the head on its server: there is no Part 3; leave q out"
        raise InputFaults([Fault("q", message)])
    return 0


class SplitPolicy(Component):
    """How many layers stay on each client. Decided once, before the run, from stated resources."""

    family: ClassVar[str] = "split"
    key: ClassVar[str] = "policy"
    kind: str

    @abstractmethod
    def check(self, layers: int, head: Head = "client") -> None:
        """Raise if a model of so many layers cannot be cut like this, whatever the resources.

        Raises:
            InputFaults: no layer is left to the server, or there can be no Part 3.
        """

    @abstractmethod
    def cuts(self, resources: Resources) -> dict[str, Cut]:
        """The cut of each client, by name; p + q < L.

        Raises:
            InputFaults: a client's memory is too small for any cut.
        """


def too_many(p: int, q: int, layers: int, key: str = "p") -> InputFaults:
    """The fault of a cut that leaves no layer to the server."""
    given = f"p + q = {p + q} leaves no layer to the server"
    return InputFaults([Fault(key, f"{given}: the backbone has {layers}; valid: p + q <= {layers - 1}")])


def no_room(names: Sequence[str], p: int, q: int) -> InputFaults:
    """The fault of clients that cannot hold even the smallest cut."""
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    message = f"not even p = {p}, q = {q} fits the memory of {shown}; give more, or a smaller task.batch_size"
    return InputFaults([Fault("", message)])
