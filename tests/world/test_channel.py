"""The channel: the steps of a message in simulated time, and what is taken back when one is lost."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
import simpy
import torch
from torch import Tensor

from elsa_sim.base.errors import Lost
from elsa_sim.base.streams import Streams
from elsa_sim.codecs.base import Codec, Encoded, EncodedSpec, Keys, MessageContext
from elsa_sim.codecs.cast import Float16
from elsa_sim.codecs.feedback import Feedback
from elsa_sim.codecs.int8 import Int8
from elsa_sim.learning.execution.executor import Executor
from elsa_sim.learning.execution.work import Ref, TensorSpec, Work
from elsa_sim.world.channel import Channel
from elsa_sim.world.codec_pipeline import CodecPipeline

Process = Generator[Any, Any, Any]
ROLES = {"client1": "client", "edge1": "edge", "cloud": "cloud"}
X = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))


class Lab:
    """Devices and a network by hand: work takes 1 s, a message 10 s; writes down what happens, and loses what it is told."""

    def __init__(self, *chain: Codec, kind: str = "adapters") -> None:
        self.env, self.executor = simpy.Environment(), Executor()
        self.seen: list[tuple[float, str, Any]] = []
        self.loses = ""
        self.kind = kind
        self.pipeline = CodecPipeline({kind: chain}, Streams(3))
        self.channel = Channel(self.pipeline, self, self, ROLES)  # type: ignore[arg-type]

    def compute(self, node: str, work: Work, *, round: int, step: int) -> Process:
        self.seen.append((self.env.now, work.label, node))
        yield self.env.timeout(1)
        if self.loses == node:
            raise Lost(f"{node} went away")
        return self.executor.finish(work)

    def carry(self, source: str, target: str, payload: int, kind: str, round: int, step: int) -> Process:
        self.seen.append((self.env.now, kind, payload))
        yield self.env.timeout(10)
        if self.loses == kind:
            raise Lost("the message was given up")

    @property
    def estimate(self) -> Ref:
        """The state of the client's first codec towards the edge server."""
        return next(iter(self.pipeline.endpoints.states["client1"].values()))

    def send(self, x: Tensor = X, source: str = "client1", target: str = "edge1", attached: int = 0) -> Tensor:
        """What the receiver gets."""
        value = Ref.of({"a": x}, {"a": TensorSpec(tuple(x.shape))})
        sending = self.channel.send(source, target, value, self.kind, round=1, step=0, attached=attached)
        return self.env.run(self.env.process(sending)).value["a"]  # type: ignore[no-any-return]


def test_a_message_is_encoded_carried_and_decoded_in_this_order() -> None:
    lab = Lab(Float16())
    received = lab.send(attached=12)
    assert lab.seen == [(0, "adapters.encode", "client1"), (1, "adapters", 6 * 8 * 2 + 12),
                        (11, "adapters.decode", "edge1")]  # fmt: skip
    assert lab.env.now == 12
    assert torch.equal(received, X.half().float())


def test_without_codecs_there_is_nothing_to_compute() -> None:
    lab = Lab()
    assert lab.send() is X
    assert lab.seen == [(0, "adapters", 6 * 8 * 4)]


def test_codec_work_without_operations_takes_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Float16, "flops", lambda self, spec, context: (0.0, 0.0))
    lab = Lab(Float16())
    assert torch.equal(lab.send(), X.half().float())
    assert lab.seen == [(0, "adapters", 6 * 8 * 2)]
    assert lab.env.now == 10


@pytest.mark.parametrize("ends", [("client1", "edge1"), ("edge1", "cloud"), ("client1", "cloud")])
def test_up_is_towards_the_cloud(ends: tuple[str, str]) -> None:
    for up, (source, target) in ((True, ends), (False, ends[::-1])):
        lab = Lab(Float16())
        lab.send(X, source, target)
        for node, peer in ((source, target), (target, source)):
            assert list(lab.pipeline.endpoints.states[node]) == [(peer, "adapters", up, 0)]


@pytest.mark.parametrize("loses", ["adapters", "edge1"])
def test_a_message_that_is_lost_leaves_the_senders_estimate_as_it_was(loses: str) -> None:
    """The receiver has not got it, so both ends must go on from what they knew in common."""
    lab, undisturbed = Lab(Feedback(), Int8()), Lab(Feedback(), Int8())
    for each in (lab, undisturbed):
        each.send(X)
    lab.loses = loses
    with pytest.raises(Lost):
        lab.send(5 * X)
    lab.loses = ""
    assert torch.equal(lab.send(2 * X), undisturbed.send(2 * X))
    held = [each.pipeline.endpoints.states for each in (lab, undisturbed)]
    for node in ("client1", "edge1"):
        one, two = (next(iter(states[node].values())) for states in held)
        assert torch.equal(one.value["a"], two.value["a"])


class Counting(Codec):
    """Counts what it encodes, and believes nothing of the receiver; not registered: its ``kind`` is no literal."""

    kind: str = "counting"

    def start(self, keys: Keys) -> int:
        return 0

    def encoded(self, spec: TensorSpec) -> EncodedSpec:
        return EncodedSpec(spec)

    def encode(self, x: Tensor, state: int, context: MessageContext) -> tuple[Encoded, int]:
        return Encoded(x), state + 1


def test_what_a_codec_has_sent_is_sent_although_it_is_lost() -> None:
    """Only what it believes of the receiver is taken back."""
    lab = Lab(Counting())
    lab.loses = "adapters"
    for count in (1, 2):
        with pytest.raises(Lost):
            lab.send(X)
        assert lab.estimate.value == {"a": count}


def test_a_message_that_is_interrupted_counts_as_lost() -> None:
    lab = Lab(Feedback(), Int8())
    lab.send(X)
    before = lab.estimate
    value = Ref.of({"a": 5 * X}, {"a": TensorSpec((6, 8))})
    sending = lab.env.process(lab.channel.send("client1", "edge1", value, "adapters", round=1, step=0))

    def interrupt() -> Process:
        yield lab.env.timeout(5)
        assert lab.estimate is not before  # until it is known to be lost, the sender takes it for received
        sending.interrupt("the round is over")

    lab.env.process(interrupt())
    with pytest.raises(simpy.Interrupt):
        lab.env.run(sending)
    assert lab.estimate is before


def test_an_encoding_that_is_lost_changes_nothing() -> None:
    lab = Lab(Feedback(), Int8())
    lab.loses = "client1"
    with pytest.raises(Lost):
        lab.send(X)
    assert all(state.value == {} for state in lab.pipeline.endpoints.states["client1"].values())
