"""Messages on their way through codecs: what is encoded at the sender, weighed, and decoded at the receiver."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..base.errors import InvariantViolation
from ..base.streams import Streams
from ..codecs import base
from ..codecs.base import Codec, Keys, MessageContext
from ..learning.execution.work import Local, Ref, Spec, TensorSpec, Work

if TYPE_CHECKING:
    from torch import Tensor

    from ..codecs.public_text import PublicText


@dataclass(frozen=True)
class Message:
    """A message ready to be sent: its encoding work (``None``: it goes as it is) and its bytes on the wire."""

    source: str
    target: str
    value: Ref
    chain: tuple[Codec, ...]
    context: MessageContext
    payload_bytes: int
    encode: Work | None
    decode_flops: float
    before: tuple[Ref, ...] = ()


class CodecPipeline:
    """The codec chains of a run and the state of each codec at each endpoint.

    The state of an endpoint is kept under the node that owns it, and only the client's endpoint is given the secret
    seed: what a server's endpoints hold is all a server knows.
    """

    def __init__(
        self,
        chains: Mapping[str, Sequence[Codec]],
        streams: Streams,
        *,
        cuts: Callable[[str], tuple[int, int] | None] = lambda client: None,
        width: int = 0,
        public: PublicText | None = None,
        initial: Ref | None = None,
    ) -> None:
        """``cuts`` tells the layers below the two cuts of a client, ``width`` the hidden size; ``public`` text is what
        codecs are fitted to, ``initial`` are the adapters that everyone starts from."""
        self.cuts, self.width, self.public, self.initial = cuts, width, public, initial
        self.chains = {kind: tuple(chain) for kind, chain in chains.items()}
        self.chains["gradient"] = tuple(
            base.gradient_chain(self.chains.get("activation", ()), self.chains.get("gradient", ()))
        )
        self.streams = streams
        #: The client in whose place an attacker stands, if any.
        self.stands_for: str | None = None
        #: node -> key of the endpoint -> handle on its state.
        self.states: dict[str, dict[tuple[Any, ...], Ref]] = {}
        #: Messages so far per (source, target, kind), and how many of them belong to earlier rounds.
        self._sent: dict[tuple[str, str, str], tuple[int, int, int]] = {}

    def refer(self, adapters: Ref, round: int) -> None:
        """Take note of the aggregated ``adapters`` after ``round``, which codecs may be fitted to."""
        if self.public is not None:
            self.public.refer(adapters, round)

    def pack(self, source: str, target: str, value: Ref, kind: str, *, up: bool, round: int, attached: int) -> Message:
        """Prepare ``value`` (a tensor [n, D], or adapters) for its way; ``attached`` more bytes go along uncoded."""
        total, last_round, before = self._sent.get((source, target, kind), (0, round, 0))
        if last_round != round:
            before = total
        self._sent[source, target, kind] = (total + 1, round, before)
        context = MessageContext(kind, up, round, total - before, first=total == 0)
        cuts = self.cuts(self.stands_for or (source if up else target))
        if cuts is not None and context.cut is not None:
            context = replace(context, layer=cuts[0] if context.cut == "first" else cuts[1])
        if cuts is not None and kind == "adapters" and not up and context.index == 0:
            attached += sum(codec.announced(self.width, round) for codec in self.chains.get("activation", ()))
        tensors = _tensors(value.spec)
        chain = base.resolved(self.chains.get(kind, ()), context, self.public)
        if not chain:
            size = sum(spec.nbytes for spec in tensors.values())
            return Message(source, target, value, (), context, size + attached, None, 0.0)
        size, encode_flops, decode_flops = 0, 0.0, 0.0
        for spec in tensors.values():
            size += sum(buffer.nbytes for buffer in _buffers(chain, spec))
            if spec.floating:
                costs = base.chain_flops(chain, _rows(spec), context)
                encode_flops, decode_flops = encode_flops + costs[0], decode_flops + costs[1]
        keys = self._keys(source if up else target, secret=up)
        refs = self._endpoint(source, target, chain, context)

        function = Encode(chain, context, keys, tensors, self._known(chain), size)
        work = Work(f"{kind}.encode", function, (value, *refs), (None,) * (1 + len(chain)), encode_flops)
        return Message(source, target, value, chain, context, size + attached, work, decode_flops, tuple(refs))

    def encoded(self, message: Message, outputs: Sequence[Ref]) -> Ref:
        """Take over the sender's next states from the encoding work; returns the payload."""
        self._store(message.source, message.target, message, outputs[1:])
        return outputs[0]

    def lost(self, message: Message) -> None:
        """Take back what the sender's codecs believe of the receiver, which has not got the message."""
        for i, (codec, state) in enumerate(zip(message.chain, message.before, strict=False)):
            if codec.closes_loop:
                self.states[message.source][self._key(message.target, codec, i, message.context)] = state

    def unpack(self, message: Message, payload: Ref) -> Work:
        """The decoding work at the receiver. Outputs: the decoded value, then the receiver's next states."""
        chain, context, tensors = message.chain, message.context, _tensors(message.value.spec)
        client = message.source if context.up else message.target
        keys = self._keys(client, secret=not context.up)
        refs = self._endpoint(message.target, message.source, chain, context)

        outputs: tuple[Spec, ...] = (message.value.spec, *((None,) * len(chain)))
        function = Decode(chain, context, keys, tensors, self._known(chain), isinstance(message.value.spec, TensorSpec))
        return Work(f"{context.kind}.decode", function, (payload, *refs), outputs, message.decode_flops)

    def decoded(self, message: Message, outputs: Sequence[Ref]) -> Ref:
        """Take over the receiver's next states from the decoding work; returns the value."""
        self._store(message.target, message.source, message, outputs[1:])
        return outputs[0]

    def rehearsal(self) -> CodecPipeline:
        """A copy that starts from the endpoints' present states; what crosses it leaves no trace in this one."""
        other = copy(self)
        other.states = {node: dict(held) for node, held in self.states.items()}
        other._sent = dict(self._sent)
        return other

    def under(self, activation: Sequence[Codec], as_client: str | None = None) -> CodecPipeline:
        """A rehearsal from fresh states with other codecs on activations; at the cuts of ``as_client``, whoever sends."""
        other = self.rehearsal()
        other.states, other._sent, other.stands_for = {}, {}, as_client
        other.chains = self.chains | {"activation": tuple(activation)}
        return other

    def chain_of(self, activation: Sequence[Codec], client: str, round: int) -> tuple[Codec, ...]:
        """A chain as it is for the activations that ``client`` sends up in ``round``."""
        cuts = self.cuts(client)
        context = MessageContext("activation", True, round, layer=0 if cuts is None else cuts[0])
        return base.resolved(activation, context, self.public)

    def exchange(self, source: str, target: str, x: Tensor, kind: str, *, up: bool, round: int) -> Tensor:
        """``x`` [n, D] as ``target`` receives it: encoded and decoded at once, outside simulated time."""
        value = Ref.of(x, TensorSpec(tuple(x.shape)))
        return self.cross(source, target, value, kind, _now, up=up, round=round).value  # type: ignore[no-any-return]

    def cross(
        self,
        source: str,
        target: str,
        value: Ref,
        kind: str,
        finish: Callable[[Work], tuple[Ref, ...]],
        *,
        up: bool,
        round: int,
    ) -> Ref:
        """``value`` [n, D] as ``target`` receives it, outside simulated time; ``finish`` computes."""
        message = self.pack(source, target, value, kind, up=up, round=round, attached=0)
        if message.encode is None:
            return value
        payload = self.encoded(message, finish(message.encode))
        return self.decoded(message, finish(self.unpack(message, payload)))

    def _keys(self, client: str, *, secret: bool) -> Keys:
        """One shared seed for the whole run: every client's adapters then see the same hashes, and average well."""
        own = self.streams.integer("codec-secret", client) if secret else None
        return Keys(self.streams.integer("codec"), own)

    def _known(self, chain: Sequence[Codec]) -> Mapping[str, Tensor]:
        """The adapters that everyone starts from, where a codec of ``chain`` starts from them, too."""
        looped = any(codec.closes_loop for codec in chain)
        return self.initial.value if looped and self.initial is not None and self.initial.ready else {}

    def _key(self, peer: str, codec: Codec, position: int, context: MessageContext) -> tuple[Any, ...]:
        if codec.scope == "pair":
            return (peer, codec)
        return (peer, context.kind, context.up, position)

    def _endpoint(self, node: str, peer: str, chain: Sequence[Codec], context: MessageContext) -> list[Ref]:
        held = self.states.setdefault(node, {})
        return [held.setdefault(self._key(peer, c, i, context), Ref.of({}, None)) for i, c in enumerate(chain)]

    def _store(self, node: str, peer: str, message: Message, states: Sequence[Ref]) -> None:
        for i, (codec, state) in enumerate(zip(message.chain, states, strict=True)):
            self.states[node][self._key(peer, codec, i, message.context)] = state


@dataclass(frozen=True)
class Encode:
    """(value, state per codec) -> payload, next state per codec: what the sender computes."""

    chain: tuple[Codec, ...]
    context: MessageContext
    keys: Keys
    tensors: Mapping[str, TensorSpec]
    known: Mapping[str, Tensor]
    size: int

    def __call__(self, x: Any, *states: Any) -> tuple[Any, ...]:
        payload: dict[str, tuple[Tensor, ...]] = {}
        after = list(states)
        for name, tensor in _named(x).items():
            spec = self.tensors[name]
            if not spec.floating:
                payload[name] = (tensor,)
                continue
            current = [
                _started(c, s, name, _of(self.keys, self.known, name)) for c, s in zip(self.chain, after, strict=True)
            ]
            stages, following = base.encode(self.chain, tensor.reshape(_rows(spec).shape), current, self.context)
            after = [_kept(c, s, name, n) for c, s, n in zip(self.chain, after, following, strict=True)]
            payload[name] = base.buffers(stages)
        made = sum(t.numel() * t.element_size() for buffers in payload.values() for t in buffers)
        if made != self.size:
            kind = self.context.kind
            raise InvariantViolation(f"codec chain of {kind!r} declared {self.size} bytes and produced {made}")
        return payload, *after


@dataclass(frozen=True)
class Decode:
    """(payload, state per codec) -> value, next state per codec: what the receiver computes."""

    chain: tuple[Codec, ...]
    context: MessageContext
    keys: Keys
    tensors: Mapping[str, TensorSpec]
    known: Mapping[str, Tensor]
    single: bool
    """The value is one tensor, not a mapping of names to tensors."""

    def __call__(self, received: Mapping[str, Sequence[Tensor]], *states: Any) -> tuple[Any, ...]:
        values: dict[str, Tensor] = {}
        after = list(states)
        for name, buffers in received.items():
            spec = self.tensors[name]
            if not spec.floating:
                values[name] = buffers[0]
                continue
            current = [
                _started(c, s, name, _of(self.keys, self.known, name)) for c, s in zip(self.chain, after, strict=True)
            ]
            tensor, following = base.decode(self.chain, buffers, _rows(spec), current, self.context)
            after = [_kept(c, s, name, n) for c, s, n in zip(self.chain, after, following, strict=True)]
            values[name] = tensor.reshape(spec.shape)
        return (values[""] if self.single else values), *after


def _of(keys: Keys, known: Mapping[str, Tensor], name: str) -> Keys:
    """``keys`` for the tensor ``name``, of which both ends know where it began."""
    if name not in known:
        return keys
    return replace(keys, known=known[name].reshape(_rows(_spec(known[name])).shape))


def _now(work: Work) -> tuple[Ref, ...]:
    """The outputs of work whose inputs are there."""
    values = work.function(*[item.value if isinstance(item, Ref) else item for item in work.inputs])
    return tuple(Ref.of(value, spec) for value, spec in zip(values, work.outputs, strict=True))


def _tensors(spec: Spec) -> Mapping[str, TensorSpec]:
    if spec is None or isinstance(spec, Local):
        raise TypeError("an opaque value cannot be sent")
    return {"": spec} if isinstance(spec, TensorSpec) else spec


def _named(value: Any) -> Mapping[str, Tensor]:
    return value if isinstance(value, Mapping) else {"": value}


def _rows(spec: TensorSpec) -> TensorSpec:
    """Codecs see [n, D]: a vector is one row."""
    return spec if len(spec.shape) == 2 else TensorSpec((1, spec.numel), spec.dtype)


def _spec(x: Tensor) -> TensorSpec:
    return TensorSpec(tuple(x.shape), str(x.dtype).removeprefix("torch."))


def _buffers(chain: Sequence[Codec], spec: TensorSpec) -> tuple[TensorSpec, ...]:
    return base.wire_specs(chain, _rows(spec))[1] if spec.floating else (spec,)


def _started(codec: Codec, states: Mapping[str, Any], name: str, keys: Keys) -> Any:
    """A codec with one state per pair keeps it under "", one per stream under each tensor's name."""
    key = "" if codec.scope == "pair" else name
    return states[key] if key in states else codec.start(keys)


def _kept(codec: Codec, states: Mapping[str, Any], name: str, state: Any) -> Mapping[str, Any]:
    key = "" if codec.scope == "pair" else name
    return {**states, key: state}
