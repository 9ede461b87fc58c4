"""One message on its way: encoded at the sender, carried, decoded at the receiver, or lost.

The only place that knows the order of these. What computes and what carries is given: devices and the network in simulated
time (:mod:`.channel`), arithmetic at once outside it (:mod:`.codec_pipeline`).
Tested in tests/world/test_codec_pipeline.py (the steps) and tests/world/test_channel.py (loss).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any, TypeAlias

import simpy

from ..base.errors import Lost
from ..codecs.base import Codec, Keys, MessageContext
from ..learning.execution.work import Ref, Spec, TensorSpec, Work
from .coding import Decode, Encode, tensors_of, weigh
from .verb import Verb

if TYPE_CHECKING:
    from torch import Tensor

#: (node, codec work) -> its outputs, as a process.
Compute: TypeAlias = Callable[[str, Work], Verb]
#: (bytes) -> nothing, as a process that ends when they have arrived.
Carry: TypeAlias = Callable[[int], Verb]


class Endpoints:
    """The state of each codec at each endpoint, under the node that owns it.

    A codec has one state per pair of nodes, or one per kind, way and place in the chain, as its ``scope`` says.
    """

    def __init__(self) -> None:
        #: node -> key of the endpoint -> handle on its state.
        self.states: dict[str, dict[tuple[Any, ...], Ref]] = {}

    def read(self, node: str, peer: str, chain: Sequence[Codec], context: MessageContext) -> list[Ref]:
        """Handles on the states of ``chain`` at ``node`` towards ``peer``; those of a fresh endpoint are empty."""
        held = self.states.setdefault(node, {})
        return [held.setdefault(_key(peer, c, i, context), Ref.of({}, None)) for i, c in enumerate(chain)]

    def write(
        self, node: str, peer: str, chain: Sequence[Codec], context: MessageContext, states: Sequence[Ref]
    ) -> None:
        """Put other states in their place."""
        for i, (codec, state) in enumerate(zip(chain, states, strict=True)):
            self.states[node][_key(peer, codec, i, context)] = state

    def copied(self) -> Endpoints:
        """A copy; what is written to it leaves no trace in this one."""
        other = copy(self)
        other.states = {node: dict(held) for node, held in self.states.items()}
        return other


class Transmission:
    """A message that is ready to be sent through the codecs of ``chain``, and what its two ends compute and keep.

    Its steps, each once and in this order: ``encode`` (``None``: it goes as it is), :meth:`encoded`, :meth:`decode`, and
    :meth:`commit`; or :meth:`abort` once it is encoded. :meth:`run` goes through all of them. The sender's states are
    those of when it was made, the receiver's those of when its decoding begins.
    """

    def __init__(
        self,
        ends: tuple[str, str],
        value: Ref,
        chain: tuple[Codec, ...],
        context: MessageContext,
        endpoints: Endpoints,
        *,
        keys: Callable[[str], Keys],
        known: Mapping[str, Tensor],
        attached: int,
        reader: tuple[str, str] | None = None,
    ) -> None:
        """``ends`` are the sender and the receiver, ``keys`` what a node knows; ``attached`` bytes go along uncoded. The
        ``reader`` decodes: a node, and the peer towards which it holds its states; the receiver and the sender, if not given."""
        self.source, self.target = ends
        self.reader = (self.target, self.source) if reader is None else reader
        self.value, self.chain, self.context, self.endpoints = value, chain, context, endpoints
        self._keys, self._known = keys, known
        self._tensors = tensors_of(value.spec)
        coded, flops, self.decode_flops = weigh(chain, self._tensors, context)
        #: What crosses the wire, without the network's header.
        self.payload_bytes = coded + attached
        #: What the sender computes.
        self.encode: Work | None = None
        self._before: Sequence[Ref] = ()
        if chain:
            self._before = endpoints.read(self.source, self.target, chain, context)
            function = Encode(chain, context, keys(self.source), self._tensors, known, coded)
            outputs = (None,) * (1 + len(chain))
            self.encode = Work(f"{context.kind}.encode", function, (value, *self._before), outputs, flops)

    def encoded(self, outputs: Sequence[Ref]) -> Ref:
        """Take over the sender's next states from the encoding work; returns the payload."""
        self.endpoints.write(self.source, self.target, self.chain, self.context, outputs[1:])
        return outputs[0]

    def decode(self, payload: Ref) -> Work:
        """What the receiver computes. Outputs: the decoded value, then the receiver's next states."""
        chain, spec = self.chain, self.value.spec
        states = self.endpoints.read(*self.reader, chain, self.context)
        single = isinstance(spec, TensorSpec)
        keys = self._keys(self.reader[0])
        function = Decode(chain, self.context, keys, self._tensors, self._known, single)
        outputs: tuple[Spec, ...] = (spec, *((None,) * len(chain)))
        return Work(f"{self.context.kind}.decode", function, (payload, *states), outputs, self.decode_flops)

    def commit(self, outputs: Sequence[Ref]) -> Ref:
        """Take over the receiver's next states from the decoding work; returns the value that it received."""
        self.endpoints.write(*self.reader, self.chain, self.context, outputs[1:])
        return outputs[0]

    def abort(self) -> None:
        """Take back what the sender's codecs believe of the receiver, which has not got the message."""
        held = self.endpoints.states[self.source]
        for i, (codec, state) in enumerate(zip(self.chain, self._before, strict=True)):
            if codec.closes_loop:
                held[_key(self.target, codec, i, self.context)] = state

    def run(self, compute: Compute, carry: Carry) -> Verb:
        """The whole way; returns the receiver's handle on the value.

        Raises:
            Lost: the message was given up, or the receiver went away; the sender's codecs know.
        """
        if self.encode is None:
            yield from carry(self.payload_bytes)
            return self.value
        payload = self.encoded((yield from compute(self.source, self.encode)))
        try:
            yield from carry(self.payload_bytes)
            outputs = yield from compute(self.target, self.decode(payload))
        except (Lost, simpy.Interrupt):
            self.abort()
            raise
        return self.commit(outputs)


def _key(peer: str, codec: Codec, position: int, context: MessageContext) -> tuple[Any, ...]:
    return (peer, codec.kind) if codec.scope == "pair" else (peer, context.kind, context.up, position)
