"""Noise: a client trains, and sends what it trained with normal noise added, or noise alone.

The noise of a tensor is a multiple of its root mean square, and new every time. FLOPs: 20 per element.
Tested in tests/learning/misbehaviour/test_base.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from ...base.streams import Streams
from ...base.units import MOST_FACTOR
from ..execution.work import Ref, Work
from .base import Attack, Misbehaviour

if TYPE_CHECKING:
    from torch import Tensor

#: Operations per element of drawing a normal number, scaling and adding it.
FLOPS_PER_ELEMENT = 20


class Noise(Misbehaviour):
    """Sends what it trained with noise added, or noise alone."""

    kind: Literal["noise"] = "noise"
    noise: Literal["added", "replaced"] | None = None
    """Whether noise is added to what was trained, or sent alone; default: ``unreliable.noise``."""
    noise_scale: float | None = Field(None, gt=0.0, le=MOST_FACTOR)
    """Standard deviation as a multiple of a tensor's root mean square; default: ``unreliable.noise_scale``."""

    def start(self, client: str, streams: Streams) -> Attack:
        times, scale = count(1), 1.0 if self.noise_scale is None else self.noise_scale

        def send(received: Ref, trained: Ref, upload: bool) -> Work:
            return noisy(trained, scale, self.noise != "replaced", streams.integer("noise", client, next(times)))

        return send


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

    flops = float(FLOPS_PER_ELEMENT * sum(spec.numel for spec in adapters.spec.values()))
    return Work("noise", function, (adapters,), (adapters.spec,), flops)
