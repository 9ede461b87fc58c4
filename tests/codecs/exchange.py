"""Shared by the codec tests: one message from endpoint to endpoint."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import FunctionType, ModuleType
from typing import Any

import torch

from elsa_sim.codecs.base import Codec, Encoded, Keys, MessageContext, Secrets
from elsa_sim.codecs.chain import buffers, decode, encode, resolved
from elsa_sim.codecs.public import Public, Sample
from elsa_sim.learning.execution.work import TensorSpec


def spec_of(x: torch.Tensor) -> TensorSpec:
    return TensorSpec(tuple(x.shape), str(x.dtype).removeprefix("torch."))


class MadeUp(Public):
    """Public states of any width: those that :func:`hidden` makes, four tokens to a text; other ones every round."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def __reduce__(self) -> tuple[type, tuple[int]]:
        return MadeUp, (self.width,)  # what it remembers is no part of a state

    def sample(self, layer: int, round: int) -> Sample:
        return Sample(hidden(rows=200, width=self.width, seed=1000 * round + layer), torch.arange(200) // 4)


def secrets(seed: int) -> Secrets:
    return Secrets(seed, seed, seed)


@dataclass
class Pair:
    """A client and a server that talk through one chain; ``width`` is that of the public text."""

    chain: Sequence[Codec]
    shared: int = 11
    secret: int = 22
    width: int = 48
    client: list[Any] = field(init=False)
    server: list[Any] = field(init=False)
    stages: list[Encoded] = field(init=False)
    pipeline: tuple[torch.Tensor, ...] = field(init=False)
    before_decoding: list[torch.Tensor] = field(init=False)

    def __post_init__(self) -> None:
        self.public = MadeUp(self.width)
        link = secrets(self.secret + 11)
        self.client = [codec.start(Keys(self.shared, secrets(self.secret), link)) for codec in self.chain]
        self.server = [codec.start(Keys(self.shared, link=link)) for codec in self.chain]

    def send(
        self, x: torch.Tensor, message: str = "activation", up: bool = True, round: int = 1, index: int = 0
    ) -> torch.Tensor:
        context = MessageContext(message, up, round, index)
        sender, receiver = (self.client, self.server) if up else (self.server, self.client)
        chain = resolved(self.chain, context, self.public)
        self.stages, sender = encode(chain, x, sender, context)
        self.pipeline = buffers(self.stages)
        self.before_decoding = [tensor.detach().clone() for tensor in self.pipeline]
        y, receiver = decode(chain, self.pipeline, spec_of(x), receiver, context)
        self.client, self.server = (sender, receiver) if up else (receiver, sender)
        return y


def hidden(rows: int = 40, width: int = 48, seed: int = 0) -> torch.Tensor:
    """Rows with a mean and a few strong directions, like hidden states."""
    draw = torch.Generator().manual_seed(seed)
    strong = torch.randn(rows, 5, generator=draw) @ torch.randn(5, width, generator=draw)
    return strong + torch.randn(rows, width, generator=draw) + torch.randn(width, generator=draw)


def leaves(root: Any) -> list[Any]:
    """Every object reachable from ``root``, short of classes, modules and functions."""
    seen: dict[int, Any] = {}
    todo = [root]
    while todo:
        item = todo.pop()
        if id(item) in seen or isinstance(item, type | ModuleType | FunctionType):
            continue
        seen[id(item)] = item
        todo.extend(gc.get_referents(item))
    return list(seen.values())
