"""Chains of codecs: in order at the sender, reversed at the receiver.

Tested in tests/codecs/test_chains.py and tests/codecs/test_laws.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..learning.execution.work import TensorSpec
from .base import Codec, Encoded, MessageContext

if TYPE_CHECKING:
    import torch

    from .public import Public


def gradient_chain(activation: Sequence[Codec], gradient: Sequence[Codec]) -> tuple[Codec, ...]:
    """The gradient chain as it must run: with the ``in_graph`` codecs of ``activation`` that it does not name.

    They are part of the forward computation, so the chain rule puts their adjoint into the way of the gradient: before
    the first of those that follow them in ``activation``, or behind what they follow.
    """
    found, order = list(gradient), [codec.kind for codec in activation]
    for place, codec in enumerate(activation):
        if codec.in_graph and codec.kind not in {other.kind for other in gradient}:
            kinds = [other.kind for other in found]
            later = [n for n, kind in enumerate(kinds) if kind in order[place + 1 :]]
            earlier = [n for n, kind in enumerate(kinds) if kind in order[:place]]
            found.insert(later[0] if later else earlier[-1] + 1 if earlier else 0, codec)
    return tuple(found)


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


def too_wide(chain: Sequence[Codec], width: int) -> list[tuple[int, str]]:
    """What the options of a chain at a cut of states [n, ``width``] ask too much of: positions in it, and why."""
    found: dict[tuple[int, str], None] = {}
    for up in (True, False):
        context, spec = MessageContext("activation", up), TensorSpec((1, width))
        for position, given in enumerate(chain):
            if (codec := given.at(context, None)) is None:
                continue
            if reason := given.beyond(spec.shape[-1]):
                found[position, f"{given.kind!r} {reason}"] = None
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
    for i, state in enumerate(states):
        made, state = _placed(chain, i, after, context, x.shape[-1]).encode(x, state, context)
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
        codec = _placed(chain, position, states, context, spec.shape[-1])
        x, after[position] = codec.decode(Encoded(x, side), inputs[position], states[position], context)
    return x, after


def _placed(chain: Sequence[Codec], position: int, states: Sequence[Any], context: MessageContext, width: int) -> Codec:
    """The codec at ``position``, told what those before it, in their ``states``, make of what is known of states."""
    codec = chain[position]
    for before, state in zip(chain[:position], states, strict=False):
        view = before.view(state, context, width)
        codec = codec if view is None else codec.behind(view, both=before.hidden_from != "edge")
    return codec
