"""What the two ends of a message compute: a chain of codecs over every tensor of the message, forwards and backwards.

Codecs see [n, D]: a vector is one row, and integers cross as they are. Pure functions, which an executor may run later or
elsewhere. Tested in tests/world/test_codec_pipeline.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..base.errors import InvariantViolation
from ..codecs import chain as chains
from ..codecs.base import Codec, Keys, MessageContext
from ..learning.execution.work import Local, Spec, TensorSpec

if TYPE_CHECKING:
    from torch import Tensor


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
        for name, tensor in (x if isinstance(x, Mapping) else {"": x}).items():
            spec = self.tensors[name]
            if not spec.floating:
                payload[name] = (tensor,)
                continue
            current = _current(self.chain, after, name, self.keys, self.known)
            stages, following = chains.encode(self.chain, tensor.reshape(_rows(spec).shape), current, self.context)
            after = _kept(self.chain, after, name, following)
            payload[name] = chains.buffers(stages)
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
            current = _current(self.chain, after, name, self.keys, self.known)
            tensor, following = chains.decode(self.chain, buffers, _rows(spec), current, self.context)
            after = _kept(self.chain, after, name, following)
            values[name] = tensor.reshape(spec.shape)
        return (values[""] if self.single else values), *after


def tensors_of(spec: Spec) -> Mapping[str, TensorSpec]:
    """The tensors of a message by name; a single one is named "".

    Raises:
        TypeError: the value is opaque.
    """
    if spec is None or isinstance(spec, Local):
        raise TypeError("an opaque value cannot be sent")
    return {"": spec} if isinstance(spec, TensorSpec) else spec


def weigh(
    chain: Sequence[Codec], tensors: Mapping[str, TensorSpec], context: MessageContext
) -> tuple[int, float, float]:
    """Bytes that cross, and FLOPs of encoding and of decoding."""
    if not chain:
        return sum(spec.nbytes for spec in tensors.values()), 0.0, 0.0
    size, encoding, decoding = 0, 0.0, 0.0
    for spec in tensors.values():
        if not spec.floating:
            size += spec.nbytes
            continue
        size += sum(buffer.nbytes for buffer in chains.wire_specs(chain, _rows(spec))[1])
        costs = chains.chain_flops(chain, _rows(spec), context)
        encoding, decoding = encoding + costs[0], decoding + costs[1]
    return size, encoding, decoding


def _rows(spec: TensorSpec) -> TensorSpec:
    """Codecs see [n, D]: a vector is one row."""
    return spec if len(spec.shape) == 2 else TensorSpec((1, spec.numel), spec.dtype)


def _key(codec: Codec, name: str) -> str:
    """A codec with one state per pair keeps it under "", one per stream under each tensor's name."""
    return "" if codec.scope == "pair" else name


def _current(
    chain: Sequence[Codec], states: Sequence[Mapping[str, Any]], name: str, keys: Keys, known: Mapping[str, Tensor]
) -> list[Any]:
    """The state of each codec for the tensor ``name``; of ``known`` tensors both ends know where they began."""
    if name in known:
        tensor = known[name]
        spec = TensorSpec(tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))
        keys = replace(keys, known=tensor.reshape(_rows(spec).shape))
    found = zip(((_key(codec, name), codec) for codec in chain), states, strict=True)
    return [held[key] if key in held else codec.start(keys) for (key, codec), held in found]


def _kept(
    chain: Sequence[Codec], states: Sequence[Mapping[str, Any]], name: str, following: Sequence[Any]
) -> list[Mapping[str, Any]]:
    """The states of each codec, with those that follow for the tensor ``name``."""
    return [{**s, _key(c, name): n} for c, s, n in zip(chain, states, following, strict=True)]
