"""What a local step of a protocol consists of, declared once: who holds and trains which part, and what crosses between them.

A protocol states its :class:`StepPattern`; whatever depends on it reads that: split policies and the latency model, what an
allocator of subchannels is told, memory, evaluation, the joint optimiser, and the laws that count crossings. So a protocol
with another step needs no other place to know of it. A pattern tells what *one* client's step costs in work and messages;
which step waits for which is the protocol's ``run``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..backbone.options import Part, three_parts, two_parts, whole

#: Who holds and trains a part: the client, or the server that it trains with.
Holder = Literal["client", "server"]


@dataclass(frozen=True)
class PartRole:
    """One part of the model in a step: a run of layers, or (``auxiliary``) a head of its own on what comes before it."""

    at: Holder
    shared: bool = False
    """Whether all clients of a server with the same cut train one copy; else each client has its own."""
    auxiliary: bool = False
    """A task head without layers, for a local loss; what comes before it gets its gradient from there. It is a head of
    the same kind as the model's, with weights of its own."""


@dataclass(frozen=True)
class Crossing:
    """One message of a step between client and server; states and gradients pass the codecs of their ``kind``."""

    kind: str
    up: bool
    """From client to server."""
    lengths: bool = False
    """The lengths of the sequences go along, 4 bytes each."""
    labels: bool = False
    """What the loss needs goes along: classes, or the token ids of a language model, 4 bytes each."""


@dataclass(frozen=True)
class StepPattern:
    """Parts from the input to the head, in order, and the crossings of a step, in order.

    One part is the unsplit model. Two are Part 1 on the client and the rest with the head on the server, three are Part 1
    and Part 3 on the client and Part 2 on the server; auxiliary heads come on top.

    Raises:
        ValueError: parts that are none of these, or crossings without a server.
    """

    parts: tuple[PartRole, ...]
    crossings: tuple[Crossing, ...] = ()
    server: Literal["edge", "cloud"] | None = None
    """Where a server's part is trained."""
    joint: bool = False
    """The server takes the activations of all its clients as one batch, and one step on it."""

    def __post_init__(self) -> None:
        held = [role.at for role in self.parts if not role.auxiliary]
        allowed = (["client"], ["server"], ["client", "server"], ["client", "server", "client"])
        if held not in allowed or self.parts[0].auxiliary:
            raise ValueError(f"a step has parts at {', '.join(map(' then '.join, allowed))}; got {' then '.join(held)}")
        if self.server not in (None, "edge", "cloud"):
            raise ValueError(f"a server is at the edge or the cloud, not at {self.server!r}")
        if ("server" in held) != (self.server is not None) or (self.crossings and not self.split):
            raise ValueError("a step has a server if it has a part there, and crossings if the model is split")

    @property
    def split(self) -> bool:
        """Whether the model is cut."""
        return len({role.at for role in self.parts}) > 1

    @property
    def head(self) -> Holder:
        """Who has the task head, and the labels."""
        return self.parts[-1].at

    @property
    def tail(self) -> bool:
        """Whether the client has a Part 3, so that a cut has a q of at least 1."""
        return self.split and self.head == "client"

    @property
    def shared(self) -> bool:
        """Whether the server's part is one copy for all clients with the same cut."""
        return any(role.shared for role in self.parts)

    def trained_at(self, at: Holder) -> bool:
        """Whether one of the two trains any part."""
        return any(role.at == at for role in self.parts)

    def crossed(self, *, up: bool) -> tuple[Crossing, ...]:
        """The crossings in one direction."""
        return tuple(crossing for crossing in self.crossings if crossing.up == up)

    @property
    def exact(self) -> bool:
        """Whether a step of one client is that of the unsplit model, up to codecs: no part learns from a loss of its own."""
        return not any(role.auxiliary for role in self.parts)

    @property
    def forward(self) -> tuple[Crossing, ...]:
        """The crossings of states on their way to the head, the first of the step."""
        return self.crossings[: sum(not role.auxiliary for role in self.parts) - 1]

    def divide(self, layers: int, p: int, q: int) -> tuple[Part, ...]:
        """The model of so many ``layers`` as the parts of this pattern: p layers before the first cut, q behind the second.

        Raises:
            ValueError: no layer is left for the server, or q does not fit the pattern.
        """
        if not self.split:
            return (whole(layers),)
        if q and not self.tail:
            raise ValueError(f"there is no Part 3 here, so q is 0, not {q}")
        main = iter(three_parts(layers, p, q) if self.tail else two_parts(layers, p))
        found: list[Part] = []
        for role in self.parts:
            end = found[-1].stop if found else 0
            found.append(Part("auxiliary", end, end, last=True) if role.auxiliary else next(main))
        return tuple(found)

    def held(self, parts: Sequence[Part], at: Holder) -> tuple[Part, ...]:
        """Those of the ``parts`` (from :meth:`divide`) that are trained ``at`` one of the two."""
        return tuple(part for role, part in zip(self.parts, parts, strict=True) if role.at == at)

    def path(self, parts: Sequence[Part]) -> tuple[Part, ...]:
        """Those of the ``parts`` that a sample passes from input to prediction: auxiliary heads are left out."""
        return tuple(part for role, part in zip(self.parts, parts, strict=True) if not role.auxiliary)

    def pieces(self, at: Holder) -> int:
        """Pieces of work of a step at one of the two: a part with a head is one, any other is a pass each way."""
        last = len(self.parts) - 1
        return sum(
            1 if role.auxiliary or index == last else 2 for index, role in enumerate(self.parts) if role.at == at
        )


def spoken(parts: Sequence[Part]) -> str:
    """Parts as a person names them."""
    said = ["an auxiliary head" if part.name == "auxiliary" else part.name.replace("part", "Part ") for part in parts]
    return " and ".join(said)


#: Every client trains the whole model.
WHOLE = StepPattern((PartRole("client"),))
#: The cloud trains the whole model on all data.
AT_CLOUD = StepPattern((PartRole("server"),), server="cloud")


def u_shaped(server: Literal["edge", "cloud"], *, shared: bool = False) -> StepPattern:
    """Parts 1 and 3 on the client, Part 2 on the ``server``; labels stay at home, and a step crosses four times."""
    crossings = (
        Crossing("activation", up=True, lengths=True),
        Crossing("activation", up=False),
        Crossing("gradient", up=True),
        Crossing("gradient", up=False),
    )
    return StepPattern((PartRole("client"), PartRole("server", shared), PartRole("client")), crossings, server)


def head_at(server: Literal["edge", "cloud"], *, shared: bool = False, joint: bool = False) -> StepPattern:
    """Part 1 on the client, the rest with the head on the ``server``; labels go up, and a step crosses twice."""
    crossings = (Crossing("activation", up=True, lengths=True, labels=True), Crossing("gradient", up=False))
    return StepPattern((PartRole("client"), PartRole("server", shared)), crossings, server, joint)


def local_loss(server: Literal["edge", "cloud"], *, shared: bool = False) -> StepPattern:
    """Part 1 on the client, which learns from an auxiliary head there (Han et al. 2021); no gradient comes down.

    The rest with the head is on the ``server``; a step crosses once, with the labels.
    """
    crossings = (Crossing("activation", up=True, lengths=True, labels=True),)
    parts = (PartRole("client"), PartRole("client", auxiliary=True), PartRole("server", shared))
    return StepPattern(parts, crossings, server)


#: The default of the literature on label-private split learning: four crossings with an edge server.
U_SHAPED = u_shaped("edge")
