"""The codec pipeline: what is weighed is what was made, and each endpoint knows and keeps what is its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple
from typing import Any, ClassVar, Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from elsa_sim.base.errors import InvariantViolation
from elsa_sim.base.streams import Streams
from elsa_sim.codecs.base import Codec, Encoded, EncodedSpec, Keys, MessageContext
from elsa_sim.codecs.cast import BFloat16, Float16
from elsa_sim.codecs.int8 import Int8
from elsa_sim.codecs.sketch import Sketch
from elsa_sim.codecs.ssop import SSOP
from elsa_sim.learning.execution.executor import Batched, Executor, TimingOnly
from elsa_sim.learning.execution.work import Ref, Spec, TensorSpec
from elsa_sim.world.codec_pipeline import CodecPipeline
from elsa_sim.world.transmission import Transmission

STREAMS = Streams(3)


class Spy(Codec):
    """Sends tensors as they are, and writes down every key, context and state; not registered: ``kind`` has no default."""

    kind: str = "spy"
    keys: ClassVar[list[Keys]] = []
    seen: ClassVar[list[tuple[str, MessageContext, int]]] = []

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Tests leave the registry alone."""

    def start(self, keys: Keys) -> Any:
        self.keys.append(keys)
        return 0

    def encoded(self, spec: TensorSpec) -> EncodedSpec:
        return EncodedSpec(spec)

    def encode(self, x: Tensor, state: Any, context: MessageContext) -> tuple[Encoded, Any]:
        self.seen.append(("encode", context, state))
        return Encoded(x), state + 1

    def decode(self, data: Encoded, spec: TensorSpec, state: Any, context: MessageContext) -> tuple[Tensor, Any]:
        self.seen.append(("decode", context, state))
        return data.main, state + 1


class PairSpy(Spy):
    """One state for all that passes between two nodes."""

    scope: ClassVar[Literal["pair", "stream"]] = "pair"


class Liar(Spy):
    """Declares half of what it sends."""

    def encoded(self, spec: TensorSpec) -> EncodedSpec:
        return EncodedSpec(TensorSpec(spec.shape, "float16"))


@pytest.fixture(autouse=True)
def _fresh() -> None:
    Spy.keys.clear()
    Spy.seen.clear()


def of(value: Any) -> Ref:
    return Ref.of(value, spec_of(value))


def spec_of(value: Any) -> Spec:
    if isinstance(value, Mapping):
        return {name: spec_of(tensor) for name, tensor in value.items()}
    return TensorSpec(tuple(value.shape), str(value.dtype).removeprefix("torch."))


def rows(n: int = 6, width: int = 8, seed: int = 0) -> Tensor:
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed))


ADAPTERS = {"a": rows(3, 8, 1), "b": rows(8, 3, 2), "bias": rows(1, 5, 3)[0], "count": torch.tensor([1, 2, 3])}


def send(
    pipeline: CodecPipeline,
    value: Any,
    kind: str = "activation",
    source: str = "client1",
    target: str = "edge1",
    *,
    up: bool = True,
    round: int = 1,
    attached: int = 0,
    executor: Executor | None = None,
) -> tuple[Transmission, Ref, Ref]:
    """The message, the payload and what the receiver gets."""
    executor = executor or Executor()
    ref = value if isinstance(value, Ref) else of(value)
    message = pipeline.prepare(source, target, ref, kind, up=up, round=round, attached=attached)
    if message.encode is None:
        return message, ref, ref
    payload = message.encoded(executor.finish(message.encode))
    received = message.commit(executor.finish(message.decode(payload)))
    return message, payload, received


def weigh(payload: Mapping[str, Sequence[Tensor]]) -> int:
    return sum(tensor.numel() * tensor.element_size() for buffers in payload.values() for tensor in buffers)


# Bytes --------------------------------------------------------------------------------------------------------------


def test_without_codecs_the_value_itself_crosses() -> None:
    for value, size in ((rows(), 6 * 8 * 4), (ADAPTERS, (24 + 24 + 5) * 4 + 3 * 8)):
        message, payload, received = send(CodecPipeline({}, STREAMS), value, attached=12)
        assert message.encode is None
        assert payload is received is message.value
        assert message.payload_bytes == size + 12
        assert message.decode_flops == 0.0


CHAINS: dict[str, list[Codec]] = {
    "float16": [Float16()],
    "int8": [Int8()],
    "sketch": [Sketch(rows=3, columns=4)],
    "sketch+bfloat16": [Sketch(rows=2, columns=8), BFloat16()],
    "ssop+sketch+int8": [SSOP(rank=2), Sketch(rows=3, columns=4), Int8()],
}


@pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS)
@settings(deadline=None, max_examples=15)
@given(st.integers(1, 9), st.integers(0, 40), st.booleans())
def test_bytes_are_the_sizes_of_the_buffers_and_what_is_attached(
    chain: list[Codec], count: int, attached: int, up: bool
) -> None:
    pipeline, value = CodecPipeline({"activation": chain}, STREAMS), rows(count, 32)
    ends = ("client1", "edge1") if up else ("edge1", "client1")
    message, payload, received = send(pipeline, value, "activation", *ends, up=up, attached=attached)
    assert message.payload_bytes == weigh(payload.value) + attached
    assert received.spec == spec_of(value) == spec_of(received.value)


def test_half_the_buffer_is_half_the_bytes() -> None:
    plain, _, _ = send(CodecPipeline({}, STREAMS), rows())
    short, _, _ = send(CodecPipeline({"activation": [Float16()]}, STREAMS), rows())
    assert short.payload_bytes * 2 == plain.payload_bytes


def test_adapters_are_coded_tensor_by_tensor_and_integers_go_as_they_are() -> None:
    pipeline = CodecPipeline({"adapters": [Float16()]}, STREAMS)
    message, payload, received = send(pipeline, ADAPTERS, "adapters")
    assert message.payload_bytes == weigh(payload.value) == (24 + 24 + 5) * 2 + 3 * 8
    assert received.value.keys() == ADAPTERS.keys() == received.spec.keys()
    for name, tensor in received.value.items():
        assert tensor.shape == ADAPTERS[name].shape
        assert tensor.dtype == ADAPTERS[name].dtype
        torch.testing.assert_close(tensor, ADAPTERS[name], rtol=1e-3, atol=1e-3)
    assert received.value["count"] is ADAPTERS["count"]
    _, _, integers = send(pipeline, torch.tensor([[1, 2]]), "adapters")
    assert integers.value.tolist() == [[1, 2]]


def test_tensors_of_any_rank_are_rows_to_a_codec() -> None:
    values = {
        "scalar": torch.tensor(2.0),
        "vector": rows(1, 5)[0],
        "cube": rows(6, 4).view(2, 3, 4),
        "none": rows(0, 4),
    }
    pipeline = CodecPipeline({"adapters": [Int8()]}, STREAMS)
    message, payload, received = send(pipeline, values, "adapters")
    assert message.payload_bytes == weigh(payload.value)
    assert {name: tensor.shape for name, tensor in received.value.items()} == {n: t.shape for n, t in values.items()}


def test_bytes_are_known_without_arithmetic() -> None:
    for kind, value in (("activation", rows()), ("adapters", ADAPTERS)):
        for chain in ([Float16()], [Sketch(rows=3, columns=2)], [Sketch(rows=3, columns=2), Int8()]):
            real, _, _ = send(CodecPipeline({kind: chain}, STREAMS), value, kind)
            bare, _, received = send(
                CodecPipeline({kind: chain}, STREAMS), Ref(spec_of(value)), kind, executor=TimingOnly()
            )
            assert bare.payload_bytes == real.payload_bytes
            assert (bare.encode.flops, bare.decode_flops) == (real.encode.flops, real.decode_flops)
            assert received.spec == spec_of(value)
            assert not received.ready


def test_a_codec_that_lies_about_its_size_breaks_an_invariant() -> None:
    with pytest.raises(InvariantViolation, match=r"'activation' declared 96 bytes and produced 192"):
        send(CodecPipeline({"activation": [Liar()]}, STREAMS), rows())
    _, _, received = send(CodecPipeline({"activation": [Liar()]}, STREAMS), rows(), executor=Batched())
    with pytest.raises(InvariantViolation, match="declared 96 bytes and produced 192"):
        _ = received.value


def test_an_opaque_value_cannot_be_sent() -> None:
    with pytest.raises(TypeError, match="opaque"):
        CodecPipeline({}, STREAMS).prepare("a", "b", Ref(None), "activation", up=True, round=1, attached=0)


def test_costs_of_a_chain_are_those_of_its_codecs() -> None:
    message, _, _ = send(CodecPipeline({"activation": [Float16()]}, STREAMS), rows())
    assert (message.encode.label, message.encode.flops, message.decode_flops) == ("activation.encode", 48.0, 48.0)


# Contexts -----------------------------------------------------------------------------------------------------------


def test_a_context_counts_earlier_messages_of_its_kind_way_pair_and_round() -> None:
    pipeline = CodecPipeline({"activation": [Spy()], "adapters": [Spy()]}, STREAMS)
    up, down = ("client1", "edge1", True), ("edge1", "client1", False)
    script = [
        # way, kind, round -> index, first
        (up, "activation", 1, 0, True),
        (up, "activation", 1, 1, False),
        (down, "activation", 1, 0, True),
        (up, "adapters", 1, 0, True),
        (("client2", "edge1", True), "activation", 1, 0, True),
        (("client1", "edge2", True), "activation", 1, 0, True),
        (up, "activation", 1, 2, False),
        (up, "activation", 2, 0, False),
        (up, "activation", 2, 1, False),
        (down, "activation", 3, 0, False),
        (("client3", "edge1", True), "activation", 4, 0, True),
        (up, "adapters", 4, 0, False),
    ]
    for (source, target, is_up), kind, round, index, first in script:
        message, _, _ = send(pipeline, rows(), kind, source, target, up=is_up, round=round)
        assert message.context == MessageContext(kind, is_up, round, index, first)
    told = [context for way, context, _ in Spy.seen if way == "encode"]
    assert [(p.index, p.first) for p in told] == [(index, first) for *_, index, first in script]
    assert [p for way, p, _ in Spy.seen if way == "decode"] == told, "both ends are told the same"


def test_a_mapping_is_one_message() -> None:
    pipeline = CodecPipeline({"adapters": [Spy()]}, STREAMS)
    for index in range(3):
        message, _, _ = send(pipeline, ADAPTERS, "adapters")
        assert message.context.index == index


# Secrets ------------------------------------------------------------------------------------------------------------


def test_the_secret_seed_never_reaches_a_server() -> None:
    """Whichever way a message goes: of the two endpoints only the client's is given the secret."""
    for up, ends in ((True, ("client1", "edge1")), (False, ("edge1", "client1"))):
        pipeline = CodecPipeline({"activation": [Spy()]}, STREAMS)
        Spy.keys.clear()
        message = pipeline.prepare(*ends, of(rows()), "activation", up=up, round=1, attached=0)
        payload = message.encoded(Executor().finish(message.encode))
        (sender,) = Spy.keys
        message.commit(Executor().finish(message.decode(payload)))
        (_, receiver) = Spy.keys
        client, server = (sender, receiver) if up else (receiver, sender)
        assert server.secret is None
        assert client.secret.client == STREAMS.integer("codec-secret", "client1")
        assert client.shared == server.shared == STREAMS.integer("codec")
        assert client.link == server.link
        assert len({client.shared, *astuple(client.secret), *astuple(client.link)}) == 7


def test_the_shared_seed_is_the_runs_and_the_secret_one_the_clients() -> None:
    pipeline = CodecPipeline({"activation": [Spy()]}, STREAMS)
    for client, server in (("client1", "edge1"), ("client2", "edge1"), ("client1", "edge2")):
        send(pipeline, rows(), "activation", client, server)
    shared, secret = [keys.shared for keys in Spy.keys], [keys.secret for keys in Spy.keys[::2]]
    assert len(set(shared)) == 1
    assert Streams(4).integer("codec") != shared[0]
    first, other, moved = secret
    assert first.client == moved.client != other.client
    assert first.server == other.server != moved.server
    assert first.all == other.all == moved.all


def test_what_a_server_holds_contains_no_secret() -> None:
    """Walk everything the endpoints of a server can reach after real SS-OP messages in both directions."""
    pipeline = CodecPipeline({"activation": [SSOP(rank=2)], "gradient": []}, STREAMS)
    for index in range(2):
        for kind in ("activation", "gradient"):
            send(pipeline, rows(seed=index), kind)
            send(pipeline, rows(seed=index), kind, "edge1", "client1", up=False)
    secret = STREAMS.integer("codec-secret", "client1")
    assert any(secret == found for found in reachable(pipeline.endpoints.states["client1"])), (
        "the walk finds what is there"
    )
    assert not any(secret == found for found in reachable(pipeline.endpoints.states["edge1"]))


def reachable(root: Any) -> list[int]:
    """All integers that can be reached from ``root``."""
    found, frontier, visited = [], [root], set()
    while frontier:
        item = frontier.pop()
        if id(item) in visited:
            continue
        visited.add(id(item))
        if isinstance(item, int):
            found.append(item)
        elif isinstance(item, Mapping):
            frontier += [*item.keys(), *item.values()]
        elif isinstance(item, list | tuple | set | frozenset):
            frontier += item
        elif isinstance(item, Ref):
            frontier.append(item.value)
        elif hasattr(item, "__dict__") and not isinstance(item, type | Tensor):
            frontier += vars(item).values()
    return found


# States -------------------------------------------------------------------------------------------------------------


def encodings() -> list[tuple[str, bool, int]]:
    return [(context.kind, context.up, state) for way, context, state in Spy.seen if way == "encode"]


def decodings() -> list[tuple[str, bool, int]]:
    return [(context.kind, context.up, state) for way, context, state in Spy.seen if way == "decode"]


def test_a_stream_has_a_state_per_kind_and_way() -> None:
    pipeline = CodecPipeline({"activation": [Spy()], "adapters": [Spy()]}, STREAMS)
    for _ in range(2):
        send(pipeline, rows())
        send(pipeline, rows(), "activation", "edge1", "client1", up=False)
        send(pipeline, rows(), "adapters")
    expected = [(kind, up, state) for state in (0, 1) for kind, up in
                (("activation", True), ("activation", False), ("adapters", True))]  # fmt: skip
    assert encodings() == decodings() == expected


def test_a_stream_of_adapters_has_a_state_per_tensor() -> None:
    pipeline = CodecPipeline({"adapters": [Spy()]}, STREAMS)
    for _ in range(2):
        send(pipeline, ADAPTERS, "adapters")
    assert [state for _, _, state in encodings()] == [0, 0, 0, 1, 1, 1]
    assert [state for _, _, state in decodings()] == [0, 0, 0, 1, 1, 1]


def test_a_pair_has_one_state_per_endpoint_for_everything() -> None:
    """The client's endpoint works on the way up and on the way down, and so does the server's."""
    pipeline = CodecPipeline({"activation": [PairSpy()], "gradient": [PairSpy()], "adapters": [PairSpy()]}, STREAMS)
    send(pipeline, rows())
    send(pipeline, rows(), "activation", "edge1", "client1", up=False)
    send(pipeline, rows(), "gradient")
    send(pipeline, ADAPTERS, "adapters", "edge1", "client1", up=False)
    assert [state for _, _, state in encodings()] == [0, 1, 2, 3, 4, 5]
    assert [state for _, _, state in decodings()] == [0, 1, 2, 3, 4, 5]
    assert len(Spy.keys) == 2, "one endpoint on each side"


def test_two_equal_codecs_in_a_chain_have_states_of_their_own() -> None:
    pipeline = CodecPipeline({"activation": [Spy(), Spy()]}, STREAMS)
    for _ in range(2):
        send(pipeline, rows())
    assert [state for _, _, state in encodings()] == [0, 0, 1, 1]


@pytest.mark.parametrize("codec", [Spy(), PairSpy()], ids=["stream", "pair"])
def test_messages_of_two_clients_share_no_state(codec: Spy) -> None:
    pipeline = CodecPipeline({"activation": [codec]}, STREAMS)
    for client, server in (("client1", "edge1"), ("client2", "edge1"), ("client1", "edge2")):
        send(pipeline, rows(), "activation", client, server)
    assert [state for _, _, state in encodings()] == [0, 0, 0]
    assert [state for _, _, state in decodings()] == [0, 0, 0]
    send(pipeline, rows(), "activation", "client2", "edge1")
    assert encodings()[-1][2] == 1


def test_clients_do_not_disturb_each_other() -> None:
    """What a client's messages become does not depend on who else sends."""
    chain = [SSOP(rank=2, refresh_every=2), Sketch(rows=3, columns=4), Int8()]
    alone, company = CodecPipeline({"activation": chain}, STREAMS), CodecPipeline({"activation": chain}, STREAMS)
    for index in range(4):
        _, one, got = send(alone, rows(seed=index))
        for other in ("client2", "client3"):
            send(company, rows(seed=index + 10), "activation", other)
        _, two, also = send(company, rows(seed=index))
        assert all(torch.equal(a, b) for a, b in zip(one.value[""], two.value[""], strict=True))
        assert torch.equal(got.value, also.value)


@pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS)
def test_batched_messages_are_those_of_the_serial_executor(chain: list[Codec]) -> None:
    """States are threaded through pending work in the order of the messages, whenever it runs."""
    values: dict[str, list[Tensor]] = {}
    for name, executor in (("serial", Executor()), ("batched", Batched())):
        pipeline, received = CodecPipeline({"activation": chain, "adapters": chain[-1:]}, STREAMS), []
        for index in range(4):
            received.append(send(pipeline, rows(seed=index, width=16), executor=executor)[2])
            received.append(
                send(
                    pipeline, rows(seed=index, width=16), "activation", "edge1", "client1", up=False, executor=executor
                )[2]
            )
        values[name] = [ref.value for ref in reversed(received)]
    assert all(torch.equal(a, b) for a, b in zip(values["serial"], values["batched"], strict=True))


@pytest.mark.parametrize("codec", [Spy(), PairSpy()], ids=["stream", "pair"])
def test_an_older_state_can_still_be_read(codec: Spy) -> None:
    pipeline = CodecPipeline({"activation": [codec]}, STREAMS)
    message = pipeline.prepare("client1", "edge1", of(rows()), "activation", up=True, round=1, attached=0)
    payload = message.encoded(Executor().finish(message.encode))
    work = message.decode(payload)
    message.commit(Executor().finish(work))
    send(pipeline, rows())
    Executor().finish(message.encode)
    Executor().finish(work)
    assert [state for _, _, state in encodings()] == [0, 1, 0]
    assert [state for _, _, state in decodings()] == [0, 1, 0]


@pytest.mark.parametrize("codec", [Spy(), PairSpy()], ids=["stream", "pair"])
def test_a_rehearsal_moves_no_state(codec: Spy) -> None:
    pipeline = CodecPipeline({"activation": [codec]}, STREAMS)
    send(pipeline, rows())
    held = {node: dict(states) for node, states in pipeline.endpoints.states.items()}
    rehearsal = pipeline.rehearsal()
    for client in ("client1", "client1", "client9"):
        rehearsal.exchange(client, "edge1", rows(), "activation", up=True, round=1)
    assert pipeline.endpoints.states == held
    send(pipeline, rows())
    assert [state for _, _, state in encodings()] == [0, 1, 2, 0, 1]
    assert [state for _, _, state in decodings()] == [0, 1, 2, 0, 1]


def test_sending_changes_neither_the_value_nor_an_older_state() -> None:
    pipeline, value = CodecPipeline({"activation": [SSOP(rank=2), Int8()]}, STREAMS), rows()
    before = value.clone()
    message = pipeline.prepare("client1", "edge1", of(value), "activation", up=True, round=1, attached=0)
    one, two = (Executor().finish(message.encode) for _ in range(2))
    assert torch.equal(value, before)
    assert all(torch.equal(a, b) for a, b in zip(one[0].value[""], two[0].value[""], strict=True))


@pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS)
def test_a_rehearsal_goes_like_the_message_and_leaves_no_trace(chain: list[Codec]) -> None:
    value, later = rows(seed=1, width=16), rows(seed=2, width=16)
    pipeline, undisturbed = CodecPipeline({"activation": chain}, STREAMS), CodecPipeline({"activation": chain}, STREAMS)
    expected = []
    for each in (pipeline, undisturbed):
        send(each, rows(width=16))
        if each is pipeline:
            rehearsal = pipeline.rehearsal()
            seen = rehearsal.exchange("client1", "edge1", value, "activation", up=True, round=2)
            rehearsal.exchange("client9", "edge1", value, "activation", up=True, round=2)
        expected.append(send(each, value, round=2)[2].value)
        expected.append(send(each, later, round=2)[2].value)
    assert torch.equal(seen, expected[0])
    assert torch.equal(expected[0], expected[2])
    assert torch.equal(expected[1], expected[3])
    assert "client9" not in pipeline.endpoints.states
    assert pipeline.counts == undisturbed.counts
    assert CodecPipeline({}, STREAMS).exchange("client1", "edge1", value, "activation", up=True, round=1) is value


def test_gradients_pass_through_the_adjoint_of_what_is_part_of_the_forward_pass() -> None:
    pipeline = CodecPipeline({"activation": [SSOP(rank=2), Float16()], "gradient": [Int8()]}, STREAMS)
    assert [codec.kind for codec in pipeline.chains["gradient"]] == ["ssop", "int8"]
    assert pipeline.chains["activation"][0] is pipeline.chains["gradient"][0]
    assert CodecPipeline({}, STREAMS).chains == {"gradient": ()}
