"""The channel: sends messages through codecs and the network in simulated time."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from ..base.tiers import TIER
from .carrier import Carrier
from .codec_pipeline import CodecPipeline
from .coding import tensors_of
from .computing import Computing
from .verb import Verb

if TYPE_CHECKING:
    from ..learning.execution.work import Ref, Work


class Channel:
    """Encodes messages at the sender, carries them, decodes them at the receiver, and takes back what is lost.

    ``roles`` are those of the nodes; they say which way is up.
    """

    def __init__(
        self, pipeline: CodecPipeline, carrier: Carrier, computing: Computing, roles: Mapping[str, str]
    ) -> None:
        self.pipeline, self.carrier, self.computing, self.roles = pipeline, carrier, computing, roles

    def send(
        self, source: str, target: str, value: Ref, kind: str, *, round: int, step: int, attached: int = 0
    ) -> Verb:
        """Send ``value``, with ``attached`` bytes beside it; returns the receiver's handle on it.

        Encoding and decoding hold the two devices where a codec states FLOPs.

        Raises:
            Lost: the network gave the message up, or a device went away with its share of the work.
        """
        if not self.pipeline.touches(kind):
            size = sum(spec.nbytes for spec in tensors_of(value.spec).values()) + attached
            yield from self.carrier.carry(source, target, size, kind, round, step)
            return value
        up = TIER[self.roles[source]] < TIER[self.roles[target]]
        transmission = self.pipeline.prepare(source, target, value, kind, up=up, round=round, attached=attached)

        def compute(node: str, work: Work) -> Verb:
            if not work.flops:  # takes no time and leaves no row
                yield from ()
                return self.computing.executor.finish(work)
            return (yield from self.computing.compute(node, work, round=round, step=step))

        carry = partial(self.carrier.carry, source, target, kind=kind, round=round, step=step)
        return (yield from transmission.run(compute, carry))
