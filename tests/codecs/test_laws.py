"""Laws of every codec: whatever is registered is tested, with its defaults and the samples below, and in chains."""

from __future__ import annotations

import math
import pickle
import random
from typing import Any

import numpy as np
import pytest
import torch
from elsewhere import Elsewhere, watched
from exchange import MadeUp, Pair, hidden, leaves, secrets, spec_of

from elsa_sim.base.registry import discover, summary
from elsa_sim.codecs.base import Codec, Encoded, Keys, MessageContext
from elsa_sim.codecs.chain import chain_flops, encode, faults, resolved, wire_specs
from elsa_sim.codecs.public import Sample

discover("elsa_sim.codecs")
MEMBERS = {kind: member for kind, member in Codec.members.items() if member.__module__.startswith("elsa_sim.")}

#: Configurations to test besides the defaults.
SAMPLES: dict[str, list[dict[str, Any]]] = {
    "sketch": [
        {"rows": 3, "columns": 8, "decoder": "mean"},
        {"rows": 3, "columns": 64, "decoder": "mean"},
        {"rows": 4, "columns": 6},
        {"rows": 1, "columns": 5, "decoder": "shrink"},
        {"rows": 2, "columns": 100, "decoder": "shrink"},
        {"rows": 3, "columns": 8, "decoder": "linear"},
        {"rows": 2, "columns": 100, "decoder": "linear", "refresh_every": 2},
    ],
    "ssop": [
        {"rank": 4, "strength": 0.3, "refresh_every": 2},
        {"rank": 64},
        {"rank": "full", "refresh": "round"},
        {"rank": 6, "subspace": "public", "key": "server", "refresh": "message"},
        {"rank": 6, "hides_from": "wire", "key": "all"},
        {"rank": "full", "hides_from": "wire", "strength": 0.5},
    ],
    "int8": [{"scale": "float16"}],
    "quantize": [{"bits": 2}, {"bits": 3, "dither": True}, {"bits": 8}],
    "topk": [{"fraction": 0.02}, {"fraction": 1.0}],
    "subspace": [{"rank": 7}, {"rank": 12, "basis": "semantic", "gain": True, "refresh_every": 2}],
    "adaptive": [{"bytes_per_token": 40}, {"bytes_per_token": 3, "basis": "semantic"}],
}
#: Kinds that have no meaning without options.
DEMANDING = {"adaptive"}
#: Kinds for adapters, which do not fit hidden states.
FOR_ADAPTERS = {"feedback"}
CHAINS = [
    [("sketch", {}), ("int8", {})],
    [("sketch", {"decoder": "shrink"}), ("float16", {})],
    [("ssop", {}), ("sketch", {})],
    [("ssop", {}), ("sketch", {"columns": 8}), ("float16", {})],
    [("ssop", {}), ("int8", {"scale": "float16"})],
    [("ssop", {}), ("sketch", {"columns": 8, "decoder": "linear"}), ("float16", {})],
    [("float16", {}), ("int8", {})],
    [("float16", {}), ("sketch", {})],
    [("bfloat16", {}), ("float16", {})],
    [("ssop", {}), ("sketch", {}), ("int8", {})],
    [("ssop", {}), ("subspace", {"rank": 20}), ("quantize", {})],
    [("subspace", {}), ("int8", {})],
    [("topk", {}), ("int8", {})],
    [("subspace", {"rank": 20}), ("topk", {"fraction": 0.5}), ("float16", {})],
    [("ssop", {}), ("adaptive", {"bytes_per_token": 24})],
    [("ssop", {"hides_from": "wire"}), ("sketch", {"columns": 8, "decoder": "linear"})],
    [("sketch", {"columns": 8, "decoder": "linear"}), ("ssop", {"hides_from": "wire", "rank": "full"})],
    [("sketch", {}), ("ssop", {"hides_from": "wire"}), ("float16", {})],
    [("ssop", {"hides_from": "wire", "rank": "full"}), ("subspace", {"rank": 20}), ("int8", {})],
]


def name(items: list[tuple[str, dict[str, Any]]]) -> str:
    return "+".join(kind + "".join(f"-{value}" for value in options.values()) for kind, options in items)


SINGLE = [
    [(kind, options)]
    for kind in sorted(set(MEMBERS) - FOR_ADAPTERS)
    for options in [*([] if kind in DEMANDING else [{}]), *SAMPLES.get(kind, [])]
]
single = pytest.mark.parametrize("items", SINGLE, ids=name)
every = pytest.mark.parametrize("items", SINGLE + CHAINS, ids=name)
DTYPES = ["float32", "float16", "bfloat16", "float64"]
INPUTS = {
    "rows": hidden(),
    "one row": hidden(rows=1),
    "empty": torch.zeros(0, 48),
    "empty and wide": torch.zeros(0, 384),
    "zeros": torch.zeros(7, 48),
    "equal rows": hidden(rows=1).expand(6, 48),
    "small": hidden() * 1e-7,
    "large": hidden() * 1e6,
    "wide": hidden(rows=9, width=130),
    "narrow": hidden(rows=9, width=3),
    "one row, no batch": hidden(rows=1)[0],
    "batch of sequences": hidden(rows=12).reshape(3, 4, 48),
    "transposed": hidden(rows=48, width=40).t(),
}
inputs = pytest.mark.parametrize("x", INPUTS.values(), ids=INPUTS.keys())


def make(items: list[tuple[str, dict[str, Any]]]) -> list[Codec]:
    return [MEMBERS[kind](**options) for kind, options in items]  # type: ignore[list-item]


def copy(x: torch.Tensor) -> torch.Tensor:
    return x.detach().clone()


def test_there_are_codecs() -> None:
    assert {"sketch", "ssop", "float16", "bfloat16", "int8"} <= set(MEMBERS)


@single
def test_documented(items: list[tuple[str, dict[str, Any]]]) -> None:
    (codec,) = make(items)
    assert len(summary(type(codec))) > 20
    for field, info in type(codec).model_fields.items():
        assert field == "kind" or info.description, f"{codec.kind}.{field} has no docstring"


@every
def test_sensible(items: list[tuple[str, dict[str, Any]]]) -> None:
    chain = make(items)
    assert faults(chain, "activation") == []


@every
@inputs
def test_shape_dtype_and_declared_buffers(items: list[tuple[str, dict[str, Any]]], x: torch.Tensor) -> None:
    pair = Pair(make(items), width=x.shape[-1])
    for message, up in [("activation", True), ("activation", False), ("gradient", True), ("gradient", False)]:
        y = pair.send(x, message, up)
        assert y.shape == x.shape
        assert y.dtype == x.dtype
        _, declared = wire_specs(pair.chain, spec_of(x))
        assert [spec_of(tensor) for tensor in pair.pipeline] == list(declared)
        assert [tensor.numel() * tensor.element_size() for tensor in pair.pipeline] == [
            spec.nbytes for spec in declared
        ]
        assert y.isfinite().all()


@every
def test_computes_where_its_input_is(items: list[tuple[str, dict[str, Any]]]) -> None:
    """On a device that the processor's tensors do not mix with; the receiver reads what it reads on the processor."""
    here, there = Pair(make(items)), Pair(make(items))
    for message, up in [("activation", True), ("gradient", False)]:
        expected = here.send(hidden(), message, up)
        with watched():
            there.public = There(there.width)
            found = there.send(Elsewhere(hidden()), message, up)
            assert {type(each) for each in (found, *there.pipeline)} == {Elsewhere}
            assert isinstance(found, Elsewhere)
            off = (found.here - expected).norm() / expected.norm()
        assert float(off) < 1e-3, (message, up)


class There(MadeUp):
    """Public states on the other device, as a backbone that is there makes them."""

    def sample(self, layer: int, round: int) -> Sample:
        made = super().sample(layer, round)
        return Sample(Elsewhere(made.states), Elsewhere(made.texts))


@every
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_float_format(items: list[tuple[str, dict[str, Any]]], dtype: str) -> None:
    x = hidden().to(getattr(torch, dtype))
    pair = Pair(make(items))
    y = pair.send(x)
    assert (y.shape, y.dtype) == (x.shape, x.dtype)
    assert [spec_of(tensor) for tensor in pair.pipeline] == list(wire_specs(pair.chain, spec_of(x))[1])


@every
def test_inputs_and_states_are_left_alone(items: list[tuple[str, dict[str, Any]]]) -> None:
    pair = Pair(make(items))
    for turn, (message, up) in enumerate([("activation", True), ("activation", False), ("gradient", True)]):
        x = hidden(seed=turn)
        before, states = copy(x), pickle.dumps((pair.client, pair.server))
        client, server = pair.client, pair.server
        pair.send(x, message, up, round=turn + 1)
        assert torch.equal(x, before)
        assert pickle.dumps((client, server)) == states, "a state was changed in place"


@every
def test_received_buffers_are_left_alone(items: list[tuple[str, dict[str, Any]]]) -> None:
    pair = Pair(make(items))
    for up in (True, False):
        pair.send(hidden(), up=up)
        assert all(torch.equal(now, was) for now, was in zip(pair.pipeline, pair.before_decoding, strict=True))


@every
def test_same_keys_same_bits(items: list[tuple[str, dict[str, Any]]]) -> None:
    x = hidden()
    first, second = Pair(make(items), shared=2024), Pair(make(items), shared=2024)  # a key that no other test uses
    before = torch.random.get_rng_state(), pickle.dumps(np.random.get_state()), random.getstate()  # noqa: NPY002
    one, two = first.send(x), second.send(x)
    after = torch.random.get_rng_state(), pickle.dumps(np.random.get_state()), random.getstate()  # noqa: NPY002
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:], "global random state was used"
    assert all(torch.equal(a, b) for a, b in zip(first.pipeline, second.pipeline, strict=True))
    assert torch.equal(one, two)


@single
def test_keys_matter(items: list[tuple[str, dict[str, Any]]]) -> None:
    """A codec whose state depends on a key makes other bits with another key."""
    x = hidden()

    def bits(shared: int, secret: int) -> tuple[bytes, torch.Tensor]:
        pair = Pair(make(items), shared, secret)
        state = pickle.dumps(pair.client)
        pair.send(x)
        return state, pair.pipeline[0]

    for keys in [(11, 23), (12, 22)]:
        (state, main), (other_state, other) = bits(11, 22), bits(*keys)
        assert torch.equal(main, other) == (state == other_state)


@single
@inputs
def test_error_within_the_stated_bound(items: list[tuple[str, dict[str, Any]]], x: torch.Tensor) -> None:
    (codec,) = make(items)
    y = Pair([codec], width=x.shape[-1]).send(x)
    if codec.lossless:
        torch.testing.assert_close(y, x, rtol=1e-6, atol=0)
    bound = codec.bound(x)
    if bound is not None:
        assert torch.broadcast_shapes(bound.shape, x.shape) == x.shape
        assert ((y.double() - x.double()).abs() <= bound).all()


@single
def test_part_of_the_graph_means_isometry_and_adjoint(items: list[tuple[str, dict[str, Any]]]) -> None:
    """<u, encode up(x)> = <decode down(u), x>: what comes down is the chain rule for what went up.

    Of an affine map the chain rule sees the linear part, and what is quantised besides is no part of the graph.
    """
    (codec,) = make(items)
    if not codec.in_graph or codec.kind == "adaptive":
        return
    pair, x, u = Pair([codec]), hidden(seed=1), hidden(seed=2)
    there = pair.send(x)
    if codec.kind in ("subspace", "sketch"):
        there = there - pair.send(torch.zeros_like(x), index=1)
    back = pair.send(u, "gradient", up=False)
    torch.testing.assert_close((u * there).sum(), (back * x).sum(), rtol=1e-5, atol=1e-3)


@every
@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_stays_visible(items: list[tuple[str, dict[str, Any]]], poison: float) -> None:
    x = hidden()
    pair = Pair(make(items))
    pair.send(x)
    for index in (0, 1):
        bad = copy(x)
        bad[3] = poison
        y = pair.send(bad, index=index)
        assert not y[3].isfinite().all()
        assert y[[0, 1, 2, 4, 5]].isfinite().all(), "other tokens are not concerned"


@every
def test_server_holds_no_secret(items: list[tuple[str, dict[str, Any]]]) -> None:
    if any(codec.hidden_from == "wire" for codec in make(items)):
        return  # its server has the key
    secret = 0x5EC12E7
    pair = Pair(make(items), secret=secret)
    for message, up in [("activation", True), ("activation", False), ("gradient", True), ("gradient", False)]:
        pair.send(hidden(), message, up)
    public = [id(item) for item in leaves([codec.start(Keys(pair.shared)) for codec in pair.chain])]
    hidden_away = [item for item in leaves(pair.client) if isinstance(item, torch.Tensor) and id(item) not in public]
    for item in leaves(pair.server):
        assert not (isinstance(item, int) and item == secret)
        if isinstance(item, torch.Tensor):
            for own in hidden_away:
                assert item.shape != own.shape or not torch.allclose(item, own)


@every
@inputs
def test_flops(items: list[tuple[str, dict[str, Any]]], x: torch.Tensor) -> None:
    chain = make(items)
    for context in (
        MessageContext("activation", True, first=True),
        MessageContext("gradient", True, 3, 2),
        MessageContext("gradient", False),
    ):
        for cost in chain_flops(chain, spec_of(x), context):
            assert cost >= 0
            assert math.isfinite(cost)


@single
def test_stages_feed_each_other(items: list[tuple[str, dict[str, Any]]]) -> None:
    """Element ``i`` of the stages is what codec ``i`` made, and no codec needs more than its own buffers to decode."""
    x, context = hidden(), MessageContext("activation", True)
    (codec,) = resolved(make(items), context, MadeUp(48))
    stages, _ = encode([codec], x, [codec.start(Keys(1, secrets(2), secrets(13)))], context)
    made = codec.encoded(spec_of(x))
    assert spec_of(stages[0].main) == made.main
    copies = Encoded(copy(stages[0].main), tuple(copy(side) for side in stages[0].side))
    y, _ = codec.decode(copies, spec_of(x), codec.start(Keys(1, link=secrets(13))), context)
    assert torch.equal(y, Pair([codec], 1, 2).send(x))
