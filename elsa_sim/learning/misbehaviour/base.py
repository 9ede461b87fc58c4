"""Unreliable clients: who they are, what labels they hold, and what they hand on in place of what they trained.

A client's conduct shows where its adapters leave it, so it is the same under every protocol. Label flippers train as
everybody does, on labels that are permuted once; noise senders and stale replayers train and hand on something else; free
riders hand on what they received and compute nothing. Which clients it is, their permutations and their noise come from
random streams of their own: the others meet what they meet without unreliable clients. Does not model: clients that
collude, that change their conduct, or that adapt to a defence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from ...base.errors import Fault, InputFaults
from ...base.registry import Items, Options
from ...base.streams import Streams
from ..execution.work import Ref, Work

if TYPE_CHECKING:
    from torch import Tensor

Kind = Literal["label_flip", "noise", "stale", "free_rider"]
KINDS: tuple[Kind, ...] = ("label_flip", "noise", "stale", "free_rider")
#: Operations per element of drawing a normal number, scaling and adding it.
NOISE_FLOPS = 20


class UnreliableOptions(Options):
    """Clients that do not do what they should."""

    share: float = Field(0.0, ge=0.0, le=1.0)
    """Share of all clients that are drawn at random; those named in ``clients`` count."""
    kinds: Items[tuple[Kind, ...]] = Field(KINDS, min_length=1)
    """What those that are drawn do, in turn."""
    clients: dict[str, Kind] = Field(default_factory=dict)
    """What named clients do."""
    noise: Literal["added", "replaced"] = "added"
    """Whether noise senders add noise to what they trained, or send noise alone."""
    noise_scale: float = Field(1.0, gt=0.0)
    """Standard deviation of the noise, as a multiple of the root mean square of the tensor that was trained."""
    stale_uploads: int = Field(5, ge=1)
    """Stale replayers hand on the adapters of so many uploads ago; until then, their first."""

    def of(self, clients: Sequence[str], streams: Streams) -> dict[str, Kind]:
        """Client -> what it does, of those that are unreliable. A larger share adds clients to those of a smaller one.

        Raises:
            InputFaults: a named client does not exist.
        """
        unknown = [name for name in self.clients if name not in clients]
        if unknown:
            valid = ", ".join([*clients[:3], *(["..."] if len(clients) > 3 else [])])
            raise InputFaults(
                [Fault(f"clients.{name}", f"there is no client {name!r}; valid: {valid}") for name in unknown]
            )
        others = [name for name in clients if name not in self.clients]
        order = streams.numpy("unreliable").permutation(len(others))
        count = max(0, round(self.share * len(clients)) - len(self.clients))
        drawn = {others[i]: self.kinds[n % len(self.kinds)] for n, i in enumerate(order[:count])}
        found = {**self.clients, **drawn}
        return {name: found[name] for name in clients if name in found}


def flipped(labels: npt.NDArray[np.int64], classes: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Labels after one random cyclic permutation of all classes: every label becomes another one."""
    order = rng.permutation(classes)
    after = np.empty(classes, dtype=np.int64)
    after[order] = np.roll(order, 1)
    return after[labels]


@dataclass(eq=False)
class Misbehaviour:
    """What one unreliable client does in a run."""

    client: str
    kind: Kind
    options: UnreliableOptions
    streams: Streams
    _sent: list[Ref] = field(default_factory=list)
    _count: int = 0

    @property
    def trains(self) -> bool:
        """Whether it computes at all."""
        return self.kind != "free_rider"

    def shown(self, received: Ref, trained: Ref, *, upload: bool = True) -> Ref | Work:
        """What the client shows in place of the adapters that it ``trained`` from those it ``received``.

        A piece of work is to be done by the client; its output is what it shows. Only an ``upload`` is one that a stale
        replayer may send again.
        """
        if self.kind == "free_rider":
            return received
        if self.kind == "stale":
            if upload:
                self._sent = [*self._sent, trained][-self.options.stale_uploads - 1 :]
            return self._sent[0] if self._sent else trained
        if self.kind == "noise":
            self._count += 1
            seed = self.streams.integer("noise", self.client, self._count)
            return noisy(trained, self.options.noise_scale, self.options.noise == "added", seed)
        return trained


def noisy(adapters: Ref, scale: float, added: bool, seed: int) -> Work:
    """Adapters with normal noise added, or noise alone, of ``scale`` times each tensor's root mean square."""
    assert isinstance(adapters.spec, Mapping)

    def function(values: Mapping[str, Tensor]) -> tuple[dict[str, Tensor]]:
        import torch

        draw = torch.Generator().manual_seed(seed)
        after = {}
        for name in sorted(values):
            tensor = values[name]
            noise = torch.randn(tensor.shape, generator=draw).to(tensor) * (scale * tensor.square().mean().sqrt())
            after[name] = tensor + noise if added else noise
        return (after,)

    flops = float(NOISE_FLOPS * sum(spec.numel for spec in adapters.spec.values()))
    return Work("noise", function, (adapters,), (adapters.spec,), flops)
