"""Top-k, few-bit quantisation, error feedback, public subspaces and adaptive allocations, against what they state."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from exchange import MadeUp, Pair, hidden, secrets, spec_of
from pydantic import ValidationError
from torch.utils.flop_counter import FlopCounterMode

from elsa_sim.codecs import bits
from elsa_sim.codecs.adaptive import ERRORS, GRADIENT_BITS, STEPS, Adaptive, allocation
from elsa_sim.codecs.base import Codec, Keys, MessageContext
from elsa_sim.codecs.chain import decode, encode, faults, gradient_chain, resolved, wire_specs
from elsa_sim.codecs.feedback import Feedback
from elsa_sim.codecs.int8 import Int8
from elsa_sim.codecs.public import Basis, fit
from elsa_sim.codecs.quantize import Quantize
from elsa_sim.codecs.sketch import Sketch
from elsa_sim.codecs.ssop import SSOP
from elsa_sim.codecs.subspace import Subspace
from elsa_sim.codecs.topk import TopK
from elsa_sim.learning.execution.work import TensorSpec


def relative(y: torch.Tensor, x: torch.Tensor) -> float:
    return float((y - x).double().square().sum() / x.double().square().sum())


@pytest.mark.parametrize("width", range(1, 9))
@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 40])
def test_packed_bits_come_back(width: int, count: int) -> None:
    values = torch.randint(0, 2**width, (3, count), generator=torch.Generator().manual_seed(count))
    packed = bits.pack_bits(values, width)
    assert packed.shape == (3, bits.width(count, width))
    assert torch.equal(bits.unpack_bits(packed, width, count), values)


class TestTopK:
    def test_keeps_the_largest_and_nothing_else(self) -> None:
        x = torch.tensor([[3.0, -5.0, 0.5, 4.0], [0.0, 0.0, -1.0, 0.0]])
        y = Pair([TopK(fraction=0.5)]).send(x)
        assert y[0].tolist() == [0.0, -5.0, 0.0, 4.0]
        assert y[1].tolist() == [0.0, 0.0, -1.0, 0.0]

    def test_no_other_entries_have_less_error(self) -> None:
        x = hidden()
        y = Pair([TopK(fraction=0.25)]).send(x)
        left = x.square().sort(dim=1).values[:, :36].sum(1)
        torch.testing.assert_close((y - x).square().sum(1), left)
        assert (left <= 0.75 * x.square().sum(1)).all()

    @pytest.mark.parametrize(
        ("fraction", "width", "places"), [(0.25, 384, 48), (0.01, 384, 8), (0.001, 40_000, 160), (1.0, 8, 1)]
    )
    def test_places_cost_the_smaller_of_a_bitmap_and_a_list(self, fraction: float, width: int, places: int) -> None:
        codec = TopK(fraction=fraction)
        made = codec.encoded(TensorSpec((1, width)))
        assert made.side[0].nbytes == places
        assert made.main.nbytes == 4 * codec.count(width)


class TestQuantize:
    def test_error_is_half_a_step_and_reaches_it(self) -> None:
        x = torch.linspace(-1, 1, 10_001)[None]
        error = (Pair([Quantize(bits=4)]).send(x) - x).abs().max()
        assert 0.99 * 0.5 / 7 < error <= 0.5 / 7 * 1.001

    def test_bytes(self) -> None:
        assert sum(b.nbytes for b in wire_specs([Quantize(bits=4)], TensorSpec((10, 384)))[1]) == 10 * (192 + 2)
        assert sum(b.nbytes for b in wire_specs([Quantize(bits=3)], TensorSpec((1, 3)))[1]) == 2 + 2

    def test_dither_is_unbiased_and_rounding_is_not(self) -> None:
        x = hidden(rows=1)
        for dither, low, high in ((True, 0.0, 4.5), (False, 10.0, torch.inf)):
            pair = Pair([Quantize(bits=2, dither=dither)])
            sample = torch.stack([pair.send(x, index=i)[0] for i in range(2000)]).double()
            if not dither:
                assert sample.std(0).max() == 0
            spread = (sample.std(0) / 2000**0.5).clamp(min=1e-6)
            assert low <= float(((sample.mean(0) - x[0]).abs() / spread).max()) < high

    def test_dither_of_a_client_comes_from_its_secret(self) -> None:
        codec, x = Quantize(bits=2, dither=True), hidden()
        one, two, three = (Pair([codec], secret=secret).send(x) for secret in (1, 2, 1))
        assert torch.equal(one, three)
        assert not torch.equal(one, two)


class TestFeedback:
    def exchange(
        self, chain: list[Codec], values: list[torch.Tensor], known: torch.Tensor | None = None
    ) -> list[float]:
        states = [[codec.start(Keys(1, secrets(2), known=known)) for codec in chain] for _ in range(2)]
        errors = []
        for index, x in enumerate(values):
            context = MessageContext("adapters", True, index + 1)
            stages, states[0] = encode(chain, x, states[0], context)
            received = (stages[-1].main, *(side for stage in stages for side in stage.side))
            y, states[1] = decode(chain, received, spec_of(x), states[1], context)
            assert torch.equal(states[0][0], states[1][0]), "both ends must have the same estimate"
            errors.append(relative(y, x))
        return errors

    @pytest.mark.parametrize("rest", [[TopK(fraction=0.1)], [Quantize(bits=2)], [TopK(fraction=0.1), Int8()]])
    def test_the_error_of_a_value_that_stays_vanishes(self, rest: list[Codec]) -> None:
        x = hidden()
        without = relative(Pair(rest).send(x, "adapters"), x)
        errors = self.exchange([Feedback(), *rest], [x] * 60)
        assert errors[0] == pytest.approx(without)
        assert errors[-1] < 1e-4 * without

    def test_alone_it_is_exact_and_what_both_know_need_not_be_sent(self) -> None:
        x = hidden()
        assert max(self.exchange([Feedback()], [x, 2 * x, -x])) < 1e-12
        assert self.exchange([Feedback(), TopK(fraction=0.02)], [x], known=x) == [0.0]

    def test_the_loop_is_charged_to_the_sender(self) -> None:
        from elsa_sim.codecs.chain import chain_flops

        spec, context = TensorSpec((8, 384)), MessageContext("adapters", True)
        alone, looped = (chain_flops(chain, spec, context) for chain in ([Int8()], [Feedback(), Int8()]))
        assert looped[0] == alone[0] + alone[1] + 2 * spec.numel
        assert looped[1] == alone[1] + spec.numel


class TestSubspace:
    def test_a_projection_on_the_public_directions(self) -> None:
        x, public = hidden(), MadeUp(48)
        basis = public.basis(0, 0, "variance")
        v = basis.directions[:, :7]
        y = Pair([Subspace(rank=7)]).send(x)
        torch.testing.assert_close(y, basis.mean + (x - basis.mean) @ v @ v.t(), rtol=1e-4, atol=1e-4)
        g = Pair([Subspace(rank=7)]).send(x, "gradient")
        torch.testing.assert_close(g, x @ v @ v.t(), rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize("kind", ["variance", "semantic"])
    def test_all_directions_lose_nothing(self, kind: Any) -> None:
        x = hidden()
        torch.testing.assert_close(Pair([Subspace(rank=48, basis=kind)]).send(x), x, rtol=1e-4, atol=1e-4)

    def test_the_chain_rule_has_no_further_loss(self) -> None:
        """The wire's gradient through the projection is autograd's."""
        pair, x = Pair([Subspace(rank=9)]), hidden().double().requires_grad_()
        public = MadeUp(48).basis(0, 0, "variance")
        v, mean = public.directions[:, :9].double(), public.mean.double()
        (torch.tanh(mean + (x - mean) @ v @ v.t()) * hidden(seed=4)).sum().backward()
        with torch.no_grad():
            received = pair.send(x)
        received.requires_grad_()
        (torch.tanh(received) * hidden(seed=4)).sum().backward()
        assert received.grad is not None
        torch.testing.assert_close(pair.send(received.grad, "gradient", up=False), x.grad, rtol=1e-5, atol=1e-6)

    def test_semantic_directions_are_what_texts_share(self) -> None:
        """Planted: texts differ along the first axis, their tokens along the second, which has far more variance."""
        draw = torch.Generator().manual_seed(1)
        texts = torch.arange(60).repeat_interleave(8)
        x = 0.1 * torch.randn(480, 10, generator=draw)
        x[:, 0] += torch.randn(60, generator=draw)[texts]
        x[:, 1] += 10 * torch.randn(480, generator=draw)
        from elsa_sim.codecs.public import Sample

        assert fit(Sample(x, texts), "variance").directions[:, 0].abs().argmax() == 1
        semantic = fit(Sample(x, texts), "semantic")
        assert semantic.directions[:, 0].abs().argmax() == 0
        torch.testing.assert_close(semantic.directions.t() @ semantic.directions, torch.eye(10), atol=1e-5, rtol=0)

    def test_one_cut_only(self) -> None:
        pair, x = Pair([Subspace(rank=3, cut="first")]), hidden()
        for message, up in [("activation", True), ("gradient", False)]:
            assert relative(pair.send(x, message, up), x) > 0.1
        for message, up in [("activation", False), ("gradient", True)]:
            pair.chain = [Subspace(rank=3, cut="second")]
            assert relative(pair.send(x, message, up), x) > 0.1
            pair.chain = [Subspace(rank=3, cut="first"), Int8()]
            assert relative(pair.send(x, message, up), x) < 1e-3

    def test_refreshed_and_announced(self) -> None:
        codec = Subspace(rank=5, refresh_every=3)
        assert [codec.fitted_after(round) for round in range(9)] == [0, 0, 0, 0, 3, 3, 3, 6, 6]
        sent = [codec.announced(48, round) for round in range(9)]
        assert sent == [0, 0, 0, 0, 2 * 2 * 48 * 6, 0, 0, 2 * 2 * 48 * 6, 0]
        x, pair = hidden(), Pair([codec])
        one, three, four = (pair.send(x, round=round) for round in (1, 3, 4))
        assert torch.equal(one, three)
        assert not torch.allclose(one, four)
        assert Subspace(rank=5).announced(48, 4) == 0

    def test_gradients_inherit_the_projection(self) -> None:
        activation: list[Codec] = [SSOP(rank=4), Subspace(rank=9), Int8()]
        assert gradient_chain(activation, [Int8()]) == (SSOP(rank=4), Subspace(rank=9), Int8())


class TestAdaptive:
    def test_allocation_is_optimal_by_exchange(self) -> None:
        """No bit moved from one direction to another lowers the error."""
        basis = MadeUp(48).basis(0, 0, "variance")
        given = allocation(basis, 48, 100)
        assert sum(given) == 100

        def error(numbers: tuple[int, ...]) -> float:
            return sum(float(v) * ERRORS[b] for v, b in zip(basis.variances, numbers, strict=True))

        least = error(given)
        for i in range(48):
            for j in range(48):
                if i != j and given[i] > 0 and given[j] < 8:
                    moved = list(given)
                    moved[i], moved[j] = moved[i] - 1, moved[j] + 1
                    assert error(tuple(moved)) >= least - 1e-9

    def test_quantisers_have_the_error_of_the_table(self) -> None:
        x = torch.randn(200_000, generator=torch.Generator().manual_seed(0))
        for b in range(1, 9):
            half = 2**b // 2
            y = ((x / STEPS[b]).floor().clamp(-half, half - 1) + 0.5) * STEPS[b]
            assert float((y - x).square().mean()) == pytest.approx(ERRORS[b], rel=0.05)

    def test_better_than_one_width_for_all(self) -> None:
        """At the same bytes less error than a projection with four or eight bits for every direction it keeps."""
        x = MadeUp(48).sample(0, 0).states
        sizes = []
        for chain in (
            [Adaptive(bytes_per_token=14)],
            [Subspace(rank=24), Quantize(bits=4)],
            [Subspace(rank=12), Int8()],
        ):
            pair = Pair(chain)
            error = relative(pair.send(x), x)
            sizes.append((sum(t.numel() * t.element_size() for t in pair.pipeline) / len(x), error))
        assert sizes[0][0] <= min(size for size, _ in sizes)
        assert sizes[0][1] < 0.8 * min(error for _, error in sizes[1:])

    @pytest.mark.parametrize("message", ["activation", "gradient"])
    def test_the_budget_is_met_and_more_of_it_has_less_error(self, message: str) -> None:
        x, errors = hidden(rows=30), []
        for budget in (4, 8, 16, 32):
            pair = Pair([Adaptive(bytes_per_token=budget)])
            errors.append(relative(pair.send(x, message), x))
            assert sum(t.numel() * t.element_size() for t in pair.pipeline) <= 30 * budget
        assert errors == sorted(errors, reverse=True)

    def test_gradients_have_equal_steps_of_their_largest_coordinate(self) -> None:
        """2^b levels over +-gain: an error of at most half a step, and a little of the gain's rounding."""
        x, directions = hidden(rows=30), MadeUp(48).basis(0, 0, "variance").directions
        y = Pair([Adaptive(bytes_per_token=14)]).send(x, "gradient")
        kept = 12 * 8 // GRADIENT_BITS  # the gain takes the other two bytes
        assert 10 < kept < 48
        there, back = x @ directions, y @ directions
        largest = there[:, :kept].abs().amax(1, keepdim=True)
        assert ((back - there)[:, :kept].abs() <= largest * (2.0**-GRADIENT_BITS + 2**-10)).all()
        assert back[:, kept:].abs().max() < 1e-4

    @pytest.mark.parametrize("message", ["activation", "gradient"])
    def test_no_more_directions_than_the_rank(self, message: str) -> None:
        x, basis = hidden(rows=30), MadeUp(48).basis(0, 0, "variance")
        y = Pair([Adaptive(rank=3, bytes_per_token=40)]).send(x, message)
        inside = (y if message == "gradient" else y - basis.mean) @ basis.directions
        assert inside[:, :3].abs().min(1).values.max() > 0.01
        assert inside[:, 3:].abs().max() < 1e-4

    @pytest.mark.parametrize(
        "codec", [Adaptive(bytes_per_token=40), Adaptive(rank=5, bytes_per_token=40), Adaptive(bytes_per_token=4)]
    )
    def test_flops_are_those_of_the_products_and_a_little(self, codec: Adaptive) -> None:
        """Those of the matrix products at most twice: it counts all directions that may have bits."""
        x, context = hidden(rows=30), MessageContext("gradient", True)
        (made,) = resolved([codec], context, MadeUp(48))
        with FlopCounterMode(display=False) as there:
            data, _ = made.encode(x, None, context)
        with FlopCounterMode(display=False) as back:
            made.decode(data, spec_of(x), None, context)
        coordinates = min(codec.rank, 48, 8 * data.main.shape[1])
        told = made.flops(spec_of(x), context)
        assert told[0] == told[1] == 2 * 30 * 48 * coordinates + 30 * (48 + 6 * coordinates)
        for done in (there, back):
            assert done.get_total_flops() <= 2 * 30 * 48 * coordinates
            assert codec.rank > 5 or done.get_total_flops() == 2 * 30 * 48 * coordinates

    def test_the_budget_changes_over_rounds(self) -> None:
        codec = Adaptive(bytes_per_token=10, last_bytes_per_token=40, over_rounds=4)
        assert [codec.budget(round) for round in range(1, 7)] == [10, 20, 30, 40, 40, 40]
        pair = Pair([codec])
        for round in (1, 2, 4):
            pair.send(hidden(rows=5), round=round)
            assert sum(t.numel() * t.element_size() for t in pair.pipeline) == 5 * codec.budget(round)

    @pytest.mark.parametrize("bound", [0.5, 0.2, 0.05])
    def test_the_error_bound_holds_on_public_text_with_the_fewest_directions(self, bound: float) -> None:
        public = MadeUp(48)
        for layer in (1, 3):
            context = MessageContext("activation", True, cuts=(layer, layer))
            (codec,) = resolved([Adaptive(error=bound)], context, public)
            assert isinstance(codec, Subspace)
            x = public.sample(layer, 0).states
            centred = x - x.mean(0)

            def lost(rank: int, layer: int = layer, centred: torch.Tensor = centred) -> float:
                v = public.basis(layer, 0, "variance").directions[:, :rank]
                return relative(centred @ v @ v.t(), centred)

            assert lost(codec.rank) <= bound < lost(codec.rank - 1)

    @pytest.mark.parametrize(
        "options",
        [{}, {"bytes_per_token": 9, "error": 0.1}, {"bytes_per_token": 9, "over_rounds": 3}, {"error": 1.0},
         {"error": 0.1, "last_bytes_per_token": 8, "over_rounds": 3}, {"bytes_per_token": 2}],
    )  # fmt: skip
    def test_refused(self, options: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            Adaptive(**options)

    def test_sizes_that_depend_on_data_are_told(self) -> None:
        assert Adaptive(bytes_per_token=9).data_dependent is None
        assert "depend on public text" in str(Adaptive(error=0.1).data_dependent)


def test_a_basis_needs_a_public_text() -> None:
    codec = Subspace()
    assert codec.needs_public
    with pytest.raises(ValueError, match="no public text"):
        codec.encode(hidden(), codec.start(Keys(1)), MessageContext("activation", True))


def test_rank_of_a_spectrum() -> None:
    basis = Basis(torch.zeros(3), torch.eye(3), torch.tensor([6.0, 3.0, 1.0]))
    assert [basis.rank(error) for error in (0.5, 0.4, 0.3, 0.1, 0.05)] == [1, 1, 2, 2, 3]


@pytest.mark.parametrize(
    ("chain", "message", "position", "reason"),
    [
        ([Feedback(), TopK()], "activation", 0, "needs the same tensor in every message"),
        ([TopK(), Feedback()], "adapters", 1, "comes first"),
        ([Subspace()], "adapters", 0, "adapters have none"),
        ([Sketch(), Subspace()], "activation", 1, "not what 'sketch' makes"),
        ([Subspace(), Subspace(rank=8)], "activation", 1, "not what 'subspace' makes"),
        ([Subspace(), SSOP()], "activation", 1, "'ssop' rotates hidden states"),
        ([Quantize(), TopK()], "gradient", 1, "takes floating-point numbers, but 'quantize' before it makes uint8"),
        ([Adaptive(bytes_per_token=9), Int8()], "activation", 1, "but 'adaptive' before it makes uint8"),
        ([Sketch(), Subspace(cut="first")], "activation", 1, "not what 'sketch' makes"),
        ([Sketch(), Subspace(cut="second")], "activation", 1, "not what 'sketch' makes"),
    ],
)
def test_senseless_chains_are_refused(chain: list[Codec], message: str, position: int, reason: str) -> None:
    ((where, why),) = faults(chain, message)
    assert where == position
    assert reason in why


@pytest.mark.parametrize(
    ("chain", "message"),
    [
        ([Feedback(), TopK(), Int8()], "adapters"),
        ([SSOP(), Subspace(), Quantize()], "activation"),
        ([Subspace(cut="first", rank=8), Subspace(cut="second"), Int8()], "activation"),
        ([Subspace(), TopK(), Int8()], "gradient"),
        ([Adaptive(error=0.1), Int8()], "activation"),
    ],
)
def test_sensible_chains(chain: list[Codec], message: str) -> None:
    assert faults(chain, message, chain) == []
