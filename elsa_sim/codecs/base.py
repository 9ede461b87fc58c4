"""What a codec is: a map from a tensor to the buffers that cross the wire, and back.

A codec encodes a tensor into one *main* tensor, which the next codec of the chain takes, and *side* buffers, which
cross as they are. Chains run in order at the sender and reversed at the receiver. Bytes on the wire are the sizes of
the buffers that come out; :meth:`Codec.encoded` declares them beforehand, and the law suite checks the declaration.

A codec has an endpoint at the sender and one at the receiver. Each has a state of its own, made by
:meth:`Codec.start` from the :class:`Keys` that this endpoint knows, so a secret of the client never exists at a server.

Tested in tests/codecs/test_chains.py and tests/codecs/test_laws.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ..base.registry import Component
from ..learning.execution.work import TensorSpec

if TYPE_CHECKING:
    import torch

    from .public import Public

#: The kinds of messages that cross a cut of the model; the chain rule couples their chains, see :func:`gradient_chain`.
CUT_KINDS = ("activation", "gradient")


@dataclass(frozen=True)
class MessageContext:
    """One message on its way: what a codec may depend on besides the tensor.

    ``kind`` is that of the message: ``activation``, ``gradient``, ``adapters``, or another one that the protocol sends.
    ``up`` is true from client to server; ``round`` counts rounds from 1; ``index`` counts earlier messages of this kind, way
    and round between the two nodes;
    ``first`` is true when none of this kind and way has passed between them in any round. ``layer`` counts the
    transformer layers below the cut that is crossed (0 for messages that cross none).
    """

    kind: str
    up: bool
    round: int = 1
    index: int = 0
    first: bool = False
    layer: int = 0

    @property
    def cut(self) -> Literal["first", "second"] | None:
        """The cut that is crossed: between Parts 1 and 2, or between Parts 2 and 3; ``None`` for other messages."""
        if self.kind not in CUT_KINDS:
            return None
        return "first" if self.up == (self.kind == "activation") else "second"


@dataclass(frozen=True)
class Keys:
    """What one endpoint knows at the start: seeds, ``shared`` by both and ``secret`` of the client only (``None`` at a
    server), and the ``known`` value of the tensor that will be sent, if both have one (adapters start from the same
    values everywhere)."""

    shared: int
    secret: int | None = None
    known: torch.Tensor | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Encoded:
    """What a codec made of a tensor: the main tensor for the next codec of the chain, and side buffers."""

    main: torch.Tensor
    side: tuple[torch.Tensor, ...] = ()


@dataclass(frozen=True)
class EncodedSpec:
    """Shapes of an :class:`Encoded`."""

    main: TensorSpec
    side: tuple[TensorSpec, ...] = ()


class Codec(Component):
    """Base of all codecs. Tensors are ``[n, D]``: one row per token (or per row of an adapter matrix).

    Methods are pure: they change neither their tensors nor the state, because an older state may still be read by
    deferred work. A state holds no secret unless its endpoint's keys do.
    """

    family: ClassVar[str] = "codec"
    #: ``pair``: one state per pair of nodes, shared by all message kinds; ``stream``: one per kind and way.
    scope: ClassVar[Literal["pair", "stream"]] = "stream"
    #: The codec's map is part of the forward computation, so gradients at the cut pass through its adjoint, whether
    #: or not the gradient chain names it.
    in_graph: ClassVar[bool] = False
    #: Whether the client's endpoint has a secret without which nobody can encode as it does.
    secret: ClassVar[bool] = False
    #: Whether decoding gives back the tensor up to float rounding.
    lossless: ClassVar[bool] = False
    #: The codec is told what the receiver will make of the message, see :meth:`settle`.
    closes_loop: ClassVar[bool] = False
    kind: str

    @property
    def needs_public(self) -> bool:
        """Whether it is fitted to public text."""
        return False

    @property
    def uses_public(self) -> bool:
        """Whether it is fitted to public text where there is some."""
        return self.needs_public

    @property
    def fitted_anew(self) -> int | None:
        """Rounds after which it is fitted to public text anew; ``None``: never."""
        return None

    @property
    def data_dependent(self) -> str | None:
        """Why its sizes are not known from shapes and rounds alone, if so; a run without arithmetic cannot have them."""
        return None

    def at(self, context: MessageContext, public: Public | None) -> Codec | None:
        """The codec as it is for one message, fitted to ``public`` text where it needs that; ``None`` lets the message
        pass as it is."""
        return self

    def announced(self, width: int, round: int) -> int:
        """Bytes that a server sends ahead to a client, with the first adapters of ``round``; states have ``width`` D."""
        return 0

    def start(self, keys: Keys) -> Any:
        """The state of a fresh endpoint (``None``: the codec has none)."""
        return None

    def encoded(self, spec: TensorSpec) -> EncodedSpec:
        """Shapes of what :meth:`encode` makes of a tensor of ``spec``."""
        raise NotImplementedError

    def flops(self, spec: TensorSpec, context: MessageContext) -> tuple[float, float]:
        """Operations of encoding and of decoding a tensor of ``spec``, charged to the devices that do them."""
        return 0.0, 0.0

    def objection(self, before: Sequence[Codec], spec: TensorSpec, message: str) -> str | None:
        """Why this codec cannot follow ``before`` in the chain of ``message`` and take a tensor of ``spec``, if so."""
        if not spec.floating:
            return f"takes floating-point numbers, but {before[-1].kind!r} before it makes {spec.dtype}; put it earlier"
        return None

    def bound(self, x: torch.Tensor) -> torch.Tensor | None:
        """The largest absolute error of decoding what encoding made of ``x``, broadcastable to ``x``.

        ``None``: no deterministic bound per element is stated. Elements that are not finite are outside any bound.
        """
        return None

    def encode(self, x: torch.Tensor, state: Any, context: MessageContext) -> tuple[Encoded, Any]:
        """Encode ``x``; returns the buffers and the sender's next state."""
        raise NotImplementedError

    def settle(self, delivered: torch.Tensor, state: Any) -> Any:
        """The sender's next state, given what the receiver's later codecs will make of the main tensor."""
        raise NotImplementedError

    def decode(self, data: Encoded, spec: TensorSpec, state: Any, context: MessageContext) -> tuple[torch.Tensor, Any]:
        """The estimate of the tensor of ``spec``, and the receiver's next state."""
        raise NotImplementedError


def gradient_chain(activation: Sequence[Codec], gradient: Sequence[Codec]) -> tuple[Codec, ...]:
    """The gradient chain as it must run: the ``in_graph`` codecs of ``activation`` that it does not name come first.

    They are part of the forward computation, so the chain rule puts their adjoint into the way of the gradient.
    """
    named = {codec.kind for codec in gradient}
    return (*(codec for codec in activation if codec.in_graph and codec.kind not in named), *gradient)


def coupled(chains: Mapping[str, Sequence[Codec]]) -> dict[str, tuple[Codec, ...]]:
    """Kind of message -> its chain as it must run, from the chains as a scenario states them; see :func:`gradient_chain`."""
    stated = {kind: tuple(chain) for kind, chain in chains.items()}
    return stated | {"gradient": gradient_chain(stated.get("activation", ()), stated.get("gradient", ()))}


def resolved(chain: Sequence[Codec], context: MessageContext, public: Public | None) -> tuple[Codec, ...]:
    """The chain as it is for one message."""
    made = [codec.at(context, public) for codec in chain]
    return tuple(codec for codec in made if codec is not None)


def faults(chain: Sequence[Codec], message: str, activation: Sequence[Codec] = ()) -> list[tuple[int, str]]:
    """What is wrong with a chain for ``message``: positions in it, and why the codec there cannot work.

    ``activation`` is the activation chain of the same scenario; a gradient chain shares its ``pair`` states with it.
    """
    found: dict[tuple[int, str], None] = {}
    for up in (True, False):
        context = MessageContext(message, up)
        spec, before = TensorSpec((1, 64)), list[Codec]()
        for position, given in enumerate(chain):
            codec = given.at(context, None)
            if codec is None:
                continue
            reason = codec.objection(before, spec, message)
            if reason is None and codec.scope == "pair":
                if any(other.kind == codec.kind for other in before):
                    reason = "stands in the chain twice, but has one state per pair of nodes; name it once"
                elif message == "gradient" and given not in activation:
                    reason = "shares its state with the activation chain; name it there too, with the same options"
            if reason is not None:
                found[position, f"{codec.kind!r} {reason}"] = None
            before.append(codec)
            spec = codec.encoded(spec).main
    return sorted(found)


def wire_specs(chain: Sequence[Codec], spec: TensorSpec) -> tuple[list[TensorSpec], tuple[TensorSpec, ...]]:
    """The input spec of every codec of the chain, and the buffers that cross the wire."""
    inputs: list[TensorSpec] = []
    buffers: list[TensorSpec] = []
    for codec in chain:
        inputs.append(spec)
        made = codec.encoded(spec)
        buffers.extend(made.side)
        spec = made.main
    return inputs, (spec, *buffers)


def chain_flops(chain: Sequence[Codec], spec: TensorSpec, context: MessageContext) -> tuple[float, float]:
    """Operations of encoding and decoding through the whole chain."""
    inputs, _ = wire_specs(chain, spec)
    costs = [codec.flops(item, context) for codec, item in zip(chain, inputs, strict=True)]
    rehearsed = sum(cost[1] for i, codec in enumerate(chain) if codec.closes_loop for cost in costs[i + 1 :])
    return sum(cost[0] for cost in costs) + rehearsed, sum(cost[1] for cost in costs)


def encode(
    chain: Sequence[Codec], x: torch.Tensor, states: Sequence[Any], context: MessageContext
) -> tuple[list[Encoded], list[Any]]:
    """Encode ``x`` through the chain in order; element ``i`` of the result is what codec ``i`` made.

    Only the last main tensor and every side buffer cross the wire; see :func:`buffers`. An empty chain has no stages:
    the tensor crosses as it is. A codec that closes the loop decodes what follows it, as the receiver will.
    """
    stages: list[Encoded] = []
    after: list[Any] = []
    for codec, state in zip(chain, states, strict=True):
        made, state = codec.encode(x, state, context)
        stages.append(made)
        after.append(state)
        x = made.main
    for i, codec in enumerate(chain):
        if codec.closes_loop:
            main, rest = stages[i].main, chain[i + 1 :]
            delivered = main
            if rest:
                spec = TensorSpec(tuple(main.shape), str(main.dtype).removeprefix("torch."))
                delivered, _ = decode(rest, buffers(stages[i + 1 :]), spec, after[i + 1 :], context)
            after[i] = codec.settle(delivered, after[i])
    return stages, after


def buffers(stages: Sequence[Encoded]) -> tuple[torch.Tensor, ...]:
    """The tensors that cross the wire: the last main tensor, then the side buffers in chain order."""
    return (stages[-1].main, *(tensor for stage in stages for tensor in stage.side))


def decode(
    chain: Sequence[Codec],
    received: Sequence[torch.Tensor],
    spec: TensorSpec,
    states: Sequence[Any],
    context: MessageContext,
) -> tuple[torch.Tensor, list[Any]]:
    """Decode the received buffers through the reversed chain; ``spec`` is that of the tensor before encoding."""
    inputs, _ = wire_specs(chain, spec)
    x, rest = received[0], list(received[1:])
    after: list[Any] = list(states)
    for position in reversed(range(len(chain))):
        count = len(chain[position].encoded(inputs[position]).side)
        side = tuple(rest[len(rest) - count :])
        del rest[len(rest) - count :]
        x, after[position] = chain[position].decode(Encoded(x, side), inputs[position], states[position], context)
    return x, after
