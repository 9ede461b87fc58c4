"""Shared by the codec tests: one message from endpoint to endpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from elsa_sim.codecs.base import Codec, Encoded, Keys, Passage, buffers, decode, encode
from elsa_sim.learning.work import TensorSpec


def spec_of(x: torch.Tensor) -> TensorSpec:
    return TensorSpec(tuple(x.shape), str(x.dtype).removeprefix("torch."))


@dataclass
class Pair:
    """A client and a server that talk through one chain."""

    chain: Sequence[Codec]
    shared: int = 11
    secret: int = 22
    client: list[Any] = field(init=False)
    server: list[Any] = field(init=False)
    stages: list[Encoded] = field(init=False)
    wire: tuple[torch.Tensor, ...] = field(init=False)
    before_decoding: list[torch.Tensor] = field(init=False)

    def __post_init__(self) -> None:
        self.client = [codec.start(Keys(self.shared, self.secret)) for codec in self.chain]
        self.server = [codec.start(Keys(self.shared)) for codec in self.chain]

    def send(
        self, x: torch.Tensor, message: str = "activation", up: bool = True, round: int = 1, index: int = 0
    ) -> torch.Tensor:
        passage = Passage(message, up, round, index)
        sender, receiver = (self.client, self.server) if up else (self.server, self.client)
        self.stages, sender = encode(self.chain, x, sender, passage)
        self.wire = buffers(self.stages)
        self.before_decoding = [tensor.detach().clone() for tensor in self.wire]
        y, receiver = decode(self.chain, self.wire, spec_of(x), receiver, passage)
        self.client, self.server = (sender, receiver) if up else (receiver, sender)
        return y


def hidden(rows: int = 40, width: int = 48, seed: int = 0) -> torch.Tensor:
    """Rows with a mean and a few strong directions, like hidden states."""
    draw = torch.Generator().manual_seed(seed)
    strong = torch.randn(rows, 5, generator=draw) @ torch.randn(5, width, generator=draw)
    return strong + torch.randn(rows, width, generator=draw) + torch.randn(width, generator=draw)
