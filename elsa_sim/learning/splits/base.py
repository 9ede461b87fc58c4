"""What a split policy is, and what it may look at: the resources of clients and servers, as plain numbers.

Tested in tests/learning/splits/test_policies.py.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from ...base.errors import Fault, InputFaults
from ...base.listing import listed
from ...base.registry import Component
from ..backbone.memory import Outline
from .pattern import U_SHAPED, StepPattern


@dataclass(frozen=True)
class Cut:
    """The first p layers are the client's, and the last q where it has a Part 3 (else q = 0). And why."""

    p: int
    q: int
    why: str = ""


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

    ``pattern`` is what a step consists of. ``crossing`` are the bytes of all messages of a step up and of all down,
    ``codec`` the FLOPs of the codecs in one step on the client and on its server.
    """

    outline: Outline
    batch: int
    length: int
    clients: Sequence[ClientResources]
    servers: Mapping[str, Machine]
    crossing: tuple[float, float] = (0.0, 0.0)
    codec: tuple[float, float] = (0.0, 0.0)
    pattern: StepPattern = U_SHAPED

    @property
    def layers(self) -> int:
        """L."""
        return self.outline.shape.layers

    def fits(self, client: ClientResources, p: int, q: int) -> bool:
        """Whether the client's parts fit its memory."""
        own = self.pattern.held(self.pattern.divide(self.layers, p, q), "client")
        return self.outline.training(own, self.batch, self.length).total() <= client.machine.memory


def tail(q: int | None, pattern: StepPattern) -> int:
    """Layers of Part 3, where ``q`` was asked for; none if the client has no Part 3.

    Raises:
        InputFaults: there is to be a Part 3 and can be none.
    """
    if pattern.tail:
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
    def check(self, layers: int, pattern: StepPattern) -> None:
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
    message = f"not even p = {p}, q = {q} fits the memory of {listed(names)}; give more, or a smaller task.batch_size"
    return InputFaults([Fault("", message)])
