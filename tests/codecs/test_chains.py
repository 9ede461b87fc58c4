"""Chains: what follows what, what a gradient chain inherits, and what is refused with a reason."""

from __future__ import annotations

import subprocess
import sys
from typing import Literal

import pytest
import torch
from exchange import Pair, hidden

from elsa_sim.codecs.base import CUT_KINDS, Codec, MessageContext
from elsa_sim.codecs.cast import BFloat16, Float16
from elsa_sim.codecs.chain import coupled, faults, gradient_chain, wire_specs
from elsa_sim.codecs.int8 import Int8
from elsa_sim.codecs.sketch import Sketch
from elsa_sim.codecs.ssop import SSOP
from elsa_sim.learning.execution.work import TensorSpec


@pytest.mark.parametrize(
    ("chain", "message", "position", "reason"),
    [
        ([Int8(), Sketch()], "activation", 1, "'sketch' takes floating-point numbers, but 'int8' before it makes int8"),
        ([Int8(), Float16()], "gradient", 1, "takes floating-point numbers"),
        ([Int8(), Int8()], "adapters", 1, "takes floating-point numbers"),
        ([Sketch(), SSOP()], "activation", 1, "'ssop' rotates hidden states, not what 'sketch' makes"),
        ([SSOP()], "adapters", 0, "adapters have none"),
        ([SSOP()], "logits", 0, "logits have none"),
        ([Int8(), Sketch()], "logits", 1, "takes floating-point numbers"),
        ([SSOP(), SSOP(rank=4)], "activation", 1, "twice"),
        ([SSOP()], "gradient", 0, "name it there too"),
    ],
)
def test_refused_with_a_reason(chain: list[Codec], message: str, position: int, reason: str) -> None:
    ((where, why),) = faults(chain, message)
    assert where == position
    assert reason in why


def test_every_fault_at_once() -> None:
    assert [where for where, _ in faults([SSOP(), Int8(), Sketch()], "adapters")] == [0, 2]
    assert [where for where, _ in faults([Int8(), Sketch(), Int8(), Float16()], "adapters")] == [1, 3]


def test_gradient_chain_shares_the_rotation() -> None:
    activation: list[Codec] = [SSOP(rank=4), Sketch()]
    assert gradient_chain(activation, [Int8()]) == (SSOP(rank=4), Int8())
    assert gradient_chain(activation, []) == (SSOP(rank=4),)
    assert gradient_chain(activation, [SSOP(rank=4), Int8()]) == (SSOP(rank=4), Int8())
    assert gradient_chain([Sketch()], [Int8()]) == (Int8(),)
    assert faults([SSOP(rank=4), Int8()], "gradient", activation) == []
    assert faults([SSOP(rank=5), Int8()], "gradient", activation)[0][0] == 0


def test_chains_of_all_kinds_are_as_stated_but_for_the_gradients() -> None:
    stated: dict[str, list[Codec]] = {
        "activation": [SSOP(rank=4), Sketch()],
        "adapters": [Float16()],
        "logits": [Int8()],
    }
    assert coupled(stated) == {
        "activation": (SSOP(rank=4), Sketch()),
        "gradient": (SSOP(rank=4),),
        "adapters": (Float16(),),
        "logits": (Int8(),),
    }
    assert coupled(stated | {"gradient": [Int8()]})["gradient"] == (SSOP(rank=4), Int8())
    assert coupled({}) == {"gradient": ()}


def test_messages_of_a_protocols_own_cross_no_cut() -> None:
    cuts = {(kind, up): MessageContext(kind, up).cut for kind in (*CUT_KINDS, "logits") for up in (True, False)}
    assert cuts == {("activation", True): "first", ("activation", False): "second", ("gradient", True): "second",
                    ("gradient", False): "first", ("logits", True): None, ("logits", False): None}  # fmt: skip


@pytest.mark.parametrize(
    ("chain", "ratio"),
    [
        ([Float16()], 2.0),
        ([BFloat16()], 2.0),
        ([Int8()], 384 * 4 / (384 + 4)),
        ([Int8(scale="float16")], 384 * 4 / (384 + 2)),
        ([Sketch(rows=3, columns=64)], 2.0),
        ([SSOP(), Sketch(rows=3, columns=64), Float16()], 4.0),
        ([Sketch(rows=3, columns=64), Int8()], 384 * 4 / (192 + 4)),
        ([SSOP()], 1.0),
    ],
)
def test_ratios(chain: list[Codec], ratio: float) -> None:
    spec = TensorSpec((100, 384))
    assert spec.nbytes / sum(buffer.nbytes for buffer in wire_specs(chain, spec)[1]) == pytest.approx(ratio)


def test_an_error_adds_up_through_a_chain() -> None:
    x = hidden()
    y = Pair([Float16(), Int8()]).send(x)
    step = x.abs().amax(1, keepdim=True) / 127
    assert ((y - x).abs() <= step * 0.51 + x.abs() * 2**-10).all()


class TestInt8:
    def test_error_is_half_a_step_and_reaches_it(self) -> None:
        x = torch.linspace(-1, 1, 10_001)[None]
        error = (Pair([Int8()]).send(x) - x).abs().max()
        assert 0.99 * 0.5 / 127 < error <= 0.5 / 127 * 1.0001

    def test_exact_on_the_grid(self) -> None:
        x = torch.arange(-127, 128).float()[None] * 0.25
        assert torch.equal(Pair([Int8()]).send(x), x)

    @pytest.mark.parametrize("scale", ["float32", "float16"])
    @pytest.mark.parametrize("size", [1e-30, 1e-9, 1e-6, 1e-3, 1.0, 1e4])
    def test_scales_of_any_size(self, scale: Literal["float32", "float16"], size: float) -> None:
        """A step is the row's maximum over 127, or 2^-24 where float16 has nothing smaller; nothing is clipped."""
        x = hidden() * size
        step = x.abs().amax(1, keepdim=True) / 127
        if scale == "float16":
            step = step * (1 + 2**-10) + 2**-24
        assert ((Pair([Int8(scale=scale)]).send(x) - x).abs() <= step * 0.5001).all()


class TestFloat16:
    def test_overflow_is_clamped_and_infinity_is_not(self) -> None:
        x = torch.tensor([[1e6, -1e6, 65504.0, 65519.9, float("inf"), -float("inf"), 1.0]])
        y = Pair([Float16()]).send(x)
        assert y.tolist() == [[65504.0, -65504.0, 65504.0, 65504.0, float("inf"), -float("inf"), 1.0]]

    def test_bfloat16_through_float16(self) -> None:
        x = torch.full((1, 4), 1e6, dtype=torch.bfloat16)
        assert Pair([Float16()]).send(x).isfinite().all()


def test_a_new_codec_is_one_class_and_inherits_the_contract() -> None:
    from elsa_sim.codecs.base import Encoded, EncodedSpec

    class Halve(Codec):
        """Keep every other coordinate."""

        kind: Literal["halve"] = "halve"

        def encoded(self, spec):  # type: ignore[no-untyped-def]
            return EncodedSpec(TensorSpec((*spec.shape[:-1], -(-spec.shape[-1] // 2)), spec.dtype))

        def encode(self, x, state, context):  # type: ignore[no-untyped-def]
            return Encoded(x[..., ::2]), state

        def decode(self, data, spec, state, context):  # type: ignore[no-untyped-def]
            y = data.main.new_zeros(spec.shape)
            y[..., ::2] = data.main
            return y, state

    try:
        x = hidden()
        y = Pair([Halve(), Int8()]).send(x)
        assert y.shape == x.shape
        assert Codec.members["halve"] is Halve
    finally:
        del Codec.members["halve"]


def test_importing_codecs_needs_no_tensor_library() -> None:
    program = (
        "import sys; from elsa_sim.base.registry import discover; discover('elsa_sim.codecs');"
        "from elsa_sim.codecs.base import Codec; assert len(Codec.members) >= 5;"
        "print(*sorted({'torch', 'simpy', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
