"""SS-OP against whom: who has a key turns and turns back, who has none sees turned states."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from exchange import Pair, hidden, secrets
from pydantic import ValidationError

from elsa_sim.codecs.base import Codec, Keys, MessageContext, Secrets
from elsa_sim.codecs.cast import Float16
from elsa_sim.codecs.chain import buffers, decode, encode, faults, gradient_chain
from elsa_sim.codecs.sketch import Sketch
from elsa_sim.codecs.ssop import SSOP
from elsa_sim.codecs.subspace import Subspace
from elsa_sim.learning.execution.work import TensorSpec

WIRE: list[dict[str, Any]] = [
    {"rank": 8},
    {"rank": "full"},
    {"rank": 8, "key": "all", "refresh": "round"},
    {"rank": 5, "strength": 0.3, "refresh": "never"},
]
MESSAGES = [("activation", True), ("activation", False), ("gradient", True), ("gradient", False)]


def read_by(pair: Pair, codec: Codec, keys: Keys, context: MessageContext) -> torch.Tensor:
    """What somebody with other keys makes of the last message that went up."""
    spec = TensorSpec(tuple(pair.pipeline[0].shape))
    return decode([codec], pair.pipeline, spec, [codec.start(keys)], context)[0]


@pytest.mark.parametrize("options", WIRE, ids=str)
@pytest.mark.parametrize("public", [True, False], ids=["public text", "none"])
def test_on_the_wire_both_ends_see_states_as_they_are(options: dict[str, Any], public: bool) -> None:
    pair = Pair([SSOP(hides_from="wire", **options)])
    if not public:
        pair.public = None  # type: ignore[assignment]
    for index in range(2):
        for message, up in MESSAGES:
            x = hidden(seed=index)
            y = pair.send(x, message, up, index=index)
            torch.testing.assert_close(y, x, rtol=1e-5, atol=1e-5)
            assert (pair.pipeline[0] - x).norm() > 0.02 * x.norm(), "what crosses is turned"


def test_a_new_turn_for_every_message_for_every_round_or_never() -> None:
    """The payloads of one and the same states, in two rounds of two messages."""
    same: dict[str, list[bool]] = {}
    for refresh in ("message", "round", "never"):
        for options in ({"hides_from": "wire"}, {"hides_from": "edge", "subspace": "public"}):
            pair, x, seen = Pair([SSOP(refresh=refresh, **options)]), hidden(), []  # type: ignore[arg-type]
            for round, index in ((1, 0), (1, 1), (2, 0)):
                pair.send(x, round=round, index=index)
                seen.append(pair.pipeline[0])
                pair.send(x, "gradient", round=round, index=index)
                if options["hides_from"] == "edge":  # a gradient that goes up is turned as the activation before it
                    torch.testing.assert_close(pair.pipeline[0], seen[-1])
            same.setdefault(refresh, []).append(torch.equal(seen[0], seen[1]))
            same[refresh].append(torch.equal(seen[1], seen[2]))
    assert same == {"message": [False] * 4, "round": [True, False] * 2, "never": [True] * 4}


def test_each_step_is_turned_back_by_the_turn_that_it_went_up_with() -> None:
    pair = Pair([SSOP(subspace="public", refresh="message")])
    for index in range(3):
        x = hidden(seed=index)
        torch.testing.assert_close(pair.send(pair.send(x, index=index), up=False, index=index), x, rtol=1e-5, atol=1e-5)


def test_who_has_no_key_sees_turned_states_and_who_has_it_does_not() -> None:
    x, context = hidden(), MessageContext("activation", True)
    keys = Keys(11, secrets(22), secrets(33))
    for hides_from in ("wire", "edge"):
        pair = Pair([SSOP(rank="full", hides_from=hides_from)])  # type: ignore[arg-type]
        pair.send(x)
        for held, reads in ((keys, True), (Keys(11), False), (Keys(11, secrets(1), secrets(1)), False)):
            seen = read_by(pair, pair.chain[0], held, context)
            assert ((seen - x).norm() < 1e-3 * x.norm()) == reads


def test_a_new_rotation_is_charged_when_it_is_drawn() -> None:
    spec = TensorSpec((50, 48))

    def cost(refresh: str, round: int, index: int) -> float:
        codec = SSOP(rank="full", hides_from="wire", refresh=refresh)  # type: ignore[arg-type]
        return codec.flops(spec, MessageContext("activation", True, round, index))[0]

    dear, cheap = cost("message", 1, 0), cost("never", 1, 0)
    assert dear - cheap == pytest.approx(8 / 3 * 48**3)
    assert [cost("message", 2, 5), cost("round", 2, 0), cost("round", 2, 1)] == [dear, dear, cheap]


def test_whose_key_is_whose() -> None:
    mine, other = Keys(1, Secrets(2, 3, 4), Secrets(5, 6, 7)), Keys(1, Secrets(20, 3, 4), Secrets(50, 6, 7))
    for hides_from in ("edge", "wire"):
        for key, common in (("client", False), ("server", True), ("all", True)):
            codec = SSOP(hides_from=hides_from, key=key)  # type: ignore[arg-type]
            assert (codec.start(mine) == codec.start(other)) == common
    assert SSOP(hides_from="edge").start(Keys(1, link=secrets(2))) is None
    assert SSOP(hides_from="wire").start(Keys(1)) is None


@pytest.mark.parametrize("rank", [6, "full"])
def test_a_sketch_behind_a_turn_that_both_know_is_as_good_as_without(rank: int | str) -> None:
    """The estimate knows how the states were turned: the same error for every key as without a turn, within its spread."""
    x = hidden(rows=200)
    sketch = Sketch(rows=3, columns=8, decoder="linear")

    def error(chain: list[Codec], secret: int) -> float:
        pair = Pair(chain)
        pair.public.sample = lambda layer, round: _Sample(x)  # type: ignore[method-assign,assignment,return-value]
        pair.client = pair.server = [codec.start(Keys(11, secrets(secret), secrets(secret))) for codec in chain]
        y = pair.send(x)
        return float((y - x).square().sum() / x.square().sum())

    plain = error([sketch], 1)
    turned = [error([SSOP(rank=rank, hides_from="wire"), sketch], seed) for seed in range(8)]  # type: ignore[arg-type]
    assert sum(turned) / 8 < 1.5 * plain


def test_a_sketch_of_turned_states_is_estimated_with_what_the_receiver_knows() -> None:
    """An edge server without the key expects the turn on average; taking states for unturned is worse."""
    x, sketch = hidden(rows=200), Sketch(rows=3, columns=8, decoder="linear")
    errors: dict[str, list[float]] = {"told": [], "not told": []}
    for seed in range(12):
        ssop = SSOP(rank=6, subspace="public")
        pair = Pair([ssop, sketch], secret=seed)
        pair.public.sample = lambda layer, round: _Sample(x)  # type: ignore[method-assign,assignment,return-value]
        y = pair.send(x)
        turned = pair.stages[0].main
        errors["told"].append(float((y - turned).square().sum()))
        alone = Pair([sketch])
        alone.public = pair.public
        errors["not told"].append(float((alone.send(turned) - turned).square().sum()))
    assert sum(errors["told"]) < 0.9 * sum(errors["not told"])


@pytest.mark.parametrize(
    "ssop", [SSOP(hides_from="wire"), SSOP(hides_from="wire", rank="full"), SSOP(subspace="public")]
)
def test_gradients_are_those_of_the_computation(ssop: SSOP) -> None:
    """Up a cut, something at the server, and the gradient down: against finite differences of what the wire does."""
    chain: list[Codec] = [ssop, Sketch(rows=3, columns=8, decoder="linear")]
    x, weight = hidden(rows=3).double(), hidden(rows=48, seed=5).double()

    def value(x: torch.Tensor) -> tuple[float, Pair, torch.Tensor]:
        pair = Pair(chain)
        h = pair.send(x).double().requires_grad_()
        out = (h @ weight).tanh().sum()
        (gradient,) = torch.autograd.grad(out, h)
        return float(out.detach()), pair, gradient

    _, pair, gradient = value(x)
    down = pair.send(gradient, "gradient", up=False)
    step = hidden(rows=3, seed=9).double() * 1e-3
    slope = (value(x + step)[0] - value(x - step)[0]) / 2
    assert float((down * step).sum()) == pytest.approx(slope, rel=2e-2, abs=1e-4)


def test_a_subspace_behind_a_turn_that_both_know_keeps_what_it_keeps_without() -> None:
    x = hidden()
    turned: list[Codec] = [SSOP(rank="full", hides_from="wire"), Subspace(rank=7)]
    torch.testing.assert_close(Pair(turned).send(x), Pair([Subspace(rank=7)]).send(x), rtol=1e-3, atol=1e-3)


def test_directions_that_tell_tokens_apart_are_those_that_texts_have_least_in_common() -> None:
    """The first directions of the semantic basis are left alone, all others are turned."""
    pair, x = Pair([SSOP(subspace="public", basis="tokens", rank=40)]), hidden()
    change = pair.send(x) - x
    semantic = pair.public.basis(0, 0, "semantic").directions
    assert (change @ semantic[:, :8]).norm() < 1e-4 * change.norm()
    assert (change @ semantic[:, 8:12]).norm() > 0.05 * change.norm()


@pytest.mark.parametrize("options", [{"rank": "full"}, {"rank": 8}, {"rank": 8, "refresh": "round"}], ids=str)
def test_behind_a_sketch_the_table_is_turned_and_the_estimate_is_that_without(options: dict[str, Any]) -> None:
    sketch = Sketch(rows=3, columns=8, decoder="linear")
    plain, turned = Pair([sketch]), Pair([sketch, SSOP(hides_from="wire", **options)])
    for index in range(2):
        for message, up in MESSAGES:
            x = hidden(seed=index)
            expected = plain.send(x, message, up, index=index)
            torch.testing.assert_close(turned.send(x, message, up, index=index), expected, rtol=1e-3, atol=1e-3)
            assert (turned.pipeline[0] - plain.pipeline[0]).norm() > 0.1 * plain.pipeline[0].norm()


def test_the_gradient_chain_keeps_the_order_of_the_activation_chain() -> None:
    sketch, ssop, other = Sketch(decoder="linear"), SSOP(hides_from="wire"), Sketch()
    assert gradient_chain([sketch, ssop], [sketch]) == (sketch, ssop)
    assert gradient_chain([ssop, sketch], [sketch]) == (ssop, sketch)
    assert gradient_chain([sketch, ssop], []) == (sketch, ssop)
    assert gradient_chain([ssop, other], [Float16()]) == (ssop, Float16())
    assert gradient_chain([sketch, ssop], [sketch, Float16()]) == (sketch, ssop, Float16())


def test_only_on_the_wire_it_may_stand_behind_a_sketch() -> None:
    for ssop, allowed in ((SSOP(hides_from="wire", rank="full"), True), (SSOP(), False),
                          (SSOP(hides_from="wire", subspace="public"), False)):  # fmt: skip
        assert (not faults([Sketch(), ssop], "activation")) == allowed


def test_buffers_tell_nothing_more() -> None:
    """The wire carries the turned states, of the same size, and nothing beside them."""
    codec = SSOP(hides_from="wire")
    stages, _ = encode(
        [codec], hidden(), [codec.start(Keys(1, secrets(2), secrets(3)))], MessageContext("activation", True)
    )
    assert [tuple(buffer.shape) for buffer in buffers(stages)] == [(40, 48)]


@pytest.mark.parametrize(
    "options",
    [
        {"hides_from": "wire", "subspace": "client"},
        {"rank": "full", "subspace": "public"},
        {"rank": "full", "refresh_every": 2},
        {"hides_from": "wire", "refresh_every": 2},
        {"rank": "all"},
        {"unread": True},
        {"basis": "tokens"},
        {"unread": True, "subspace": "public", "hides_from": "wire"},
    ],
)
def test_what_contradicts_itself_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SSOP(**options)


class _Sample:
    """Public text whose states are ``states``."""

    def __init__(self, states: torch.Tensor) -> None:
        self.states, self.texts = states, torch.arange(len(states)) // 4
