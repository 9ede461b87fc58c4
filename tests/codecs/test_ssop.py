"""SS-OP: an orthogonal, secret, differentiable rotation."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from exchange import Pair, hidden, secrets
from pydantic import ValidationError

from elsa_sim.codecs.base import Codec, Keys, MessageContext
from elsa_sim.codecs.chain import encode, gradient_chain
from elsa_sim.codecs.sketch import Sketch
from elsa_sim.codecs.ssop import SSOP, Secret
from elsa_sim.codecs.turn import principal, rotation
from elsa_sim.learning.execution.work import TensorSpec


def matrix(pair: Pair, width: int = 48) -> torch.Tensor:
    """Q of a fitted pair (float64), seen through the wire: what the rows of I become on the way up."""
    context = MessageContext("gradient", True)
    stages, _ = encode(pair.chain, torch.eye(width, dtype=torch.float64), pair.client, context)
    return stages[0].main


def fitted(x: torch.Tensor, **options: object) -> Pair:
    pair = Pair([SSOP(**options)])  # type: ignore[arg-type]
    pair.send(x)
    return pair


@pytest.mark.parametrize("rank", [2, 8, 32])
@pytest.mark.parametrize("strength", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_orthogonal_along_the_whole_path(rank: int, strength: float) -> None:
    q = matrix(fitted(hidden(), rank=rank, strength=strength))
    assert torch.linalg.matrix_norm(q.t() @ q - torch.eye(48, dtype=torch.float64)) <= 1e-6
    assert torch.det(q) > 0


@pytest.mark.parametrize("rank", [2, 3, 8, 33])
def test_geodesic_from_the_identity_to_a_rotation(rank: int) -> None:
    """Equal angles at every step: W(a) W(b) = W(a + b), W(0) = I; and strength moves away from I steadily."""
    whole = rotation(3, rank, 1.0)
    assert np.array_equal(rotation(3, rank, 0.0), np.eye(rank))
    np.testing.assert_allclose(rotation(3, rank, 0.3) @ rotation(3, rank, 0.7), whole, atol=1e-10)
    np.testing.assert_allclose(np.linalg.matrix_power(rotation(3, rank, 0.25), 4), whole, atol=1e-10)
    distances = [np.linalg.norm(rotation(3, rank, t) - np.eye(rank)) for t in np.linspace(0, 1, 6)]
    assert distances == sorted(distances)
    assert np.linalg.det(whole) == pytest.approx(1)


def test_haar() -> None:
    """Full strength: entries have mean 0 and variance 1/r, and traces mean 0 and variance 1, as Haar rotations have."""
    rank = 5
    sample = np.stack([rotation(seed, rank, 1.0) for seed in range(2000)])
    assert np.abs(sample.mean(0)).max() < 5 / np.sqrt(2000 * rank)
    np.testing.assert_allclose((sample**2).mean(0), 1 / rank, rtol=0.15)
    traces = np.trace(sample, axis1=1, axis2=2)
    assert abs(traces.mean()) < 5 / np.sqrt(2000)
    assert traces.var() == pytest.approx(1, rel=0.2)


def test_strength_zero_changes_nothing() -> None:
    pair, x = Pair([SSOP(strength=0.0)]), hidden()
    assert torch.equal(pair.send(x), x)
    assert torch.equal(pair.send(x, up=False), x)


def test_full_strength_changes_much_and_only_in_the_subspace() -> None:
    x = hidden()
    pair = fitted(x, rank=4)
    change = pair.pipeline[0] - x
    assert change.norm() > 0.5 * (x - x.mean(0)).norm()
    basis = principal(x, 4).float()
    torch.testing.assert_close(change @ basis @ basis.t(), change, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(pair.pipeline[0].norm(dim=1), x.norm(dim=1))


def test_subspace_is_the_singular_vectors_one() -> None:
    for rows in (20, 48, 200):
        x = hidden(rows=rows)
        _, _, right = torch.linalg.svd((x - x.mean(0)).double(), full_matrices=False)
        basis = principal(x, 5)
        torch.testing.assert_close((right[:5] @ basis).abs(), torch.eye(5, dtype=torch.float64), atol=1e-6, rtol=0)


def test_up_then_down_is_the_identity() -> None:
    """A server that returns what it got gives the client its own states back, for activations and gradients."""
    pair = Pair([SSOP(rank=8)])
    for message in ("activation", "gradient"):
        x = hidden()
        there = pair.send(x, message)
        assert not torch.allclose(there, x, atol=0.1)
        torch.testing.assert_close(pair.send(there, message, up=False), x, rtol=1e-5, atol=1e-5)


def test_gradients_are_autograds() -> None:
    """Client -> rotation -> server -> rotation back -> client: the wire's gradients against autograd's."""
    pair = Pair([SSOP(rank=6)])
    x = hidden().double().requires_grad_()
    weight = hidden(48, 48, seed=3).double() / 10
    pair.send(x)
    q = matrix(pair)
    torch.tanh(torch.tanh(x @ q @ weight) @ q.t() @ weight).sum().backward()  # unsplit

    with torch.no_grad():
        sent = pair.send(x)  # index 0 again: the same activation fits the same subspace
    sent.requires_grad_()
    returned = torch.tanh(sent @ weight)
    with torch.no_grad():
        received = pair.send(returned, up=False)
    received.requires_grad_()
    torch.tanh(received @ weight).sum().backward()
    assert received.grad is not None
    returned.backward(pair.send(received.grad, "gradient"))
    assert sent.grad is not None
    torch.testing.assert_close(pair.send(sent.grad, "gradient", up=False), x.grad, rtol=1e-9, atol=1e-9)


def test_refresh() -> None:
    """V changes with the first activation of rounds 1, 3, 5, ... and never between; W stays."""
    pair = Pair([SSOP(rank=4, refresh_every=2)])
    bases, turns = [], []
    for round, index in [(1, 0), (1, 1), (2, 0), (3, 0), (3, 1)]:
        pair.send(hidden(seed=10 * round + index), round=round, index=index)
        pair.send(hidden(seed=99), "gradient", round=round, index=index)
        bases.append(pair.client[0].turn.basis)
        turns.append(pair.client[0].turn.change)
    same = [torch.equal(a, b) for a, b in pairwise(bases)]
    assert same == [True, True, False, True]
    assert all(torch.equal(turns[0], turn) for turn in turns)


def test_late_comer_is_fitted_at_once() -> None:
    pair, x = Pair([SSOP(rank=4, refresh_every=5)]), hidden()
    assert not torch.allclose(pair.send(x, round=3, index=2), x, atol=0.1)


@pytest.mark.parametrize(("rows", "rank"), [(0, 0), (1, 0), (2, 1), (4, 3), (9, 8), (40, 8)])
def test_few_rows_give_what_their_rank_allows(rows: int, rank: int) -> None:
    pair = fitted(hidden(rows=rows), rank=8)
    assert pair.client[0].rank == rank
    assert pair.send(hidden()).shape == (40, 48)
    if rank < 2:  # the next activation fits
        assert fitted(hidden(rows=rows)).client[0].rank == rank
        assert pair.client[0].rank == 8


def test_a_poor_refresh_keeps_the_subspace() -> None:
    pair = fitted(hidden())
    before = pair.client[0]
    pair.send(hidden(rows=1), round=2)
    assert pair.client[0] is before


def test_no_unprotected_way_up() -> None:
    with pytest.raises(ValueError, match="before any activation"):
        Pair([SSOP()]).send(hidden(), "gradient")
    codec = SSOP()
    with pytest.raises(ValueError, match="secret key"):
        codec.encode(hidden(), codec.start(Keys(1)), MessageContext("activation", True))


def test_server_side_is_the_identity_with_an_empty_state() -> None:
    codec, x = SSOP(), hidden()
    assert codec.start(Keys(1)) is None
    assert isinstance(codec.start(Keys(1, secrets(2))), Secret)
    made, state = codec.encode(x, None, MessageContext("activation", False))
    assert made.main is x
    assert state is None


def test_chain_with_a_sketch() -> None:
    """The rotation comes before the sketch up and after it down: with a wide table the way there and back is close."""
    chain: list[Codec] = [SSOP(rank=8), Sketch(rows=5, columns=4096)]
    pair, alone, x = Pair(chain), fitted(hidden(), rank=8), hidden()
    there = pair.send(x)
    torch.testing.assert_close(there, alone.pipeline[0], atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(pair.send(there, up=False), x, atol=1e-3, rtol=1e-3)
    gradients = gradient_chain(chain, [Sketch()])
    assert [codec.kind for codec in gradients] == ["ssop", "sketch"]


def test_the_fit_is_charged_where_it_happens() -> None:
    codec, spec = SSOP(refresh_every=2), TensorSpec((512, 384))
    fit = codec.flops(spec, MessageContext("activation", True, 1, 0))
    plain = codec.flops(spec, MessageContext("activation", True, 2, 0))
    assert fit[0] > 20 * plain[0] > 0
    assert codec.flops(spec, MessageContext("activation", True, 2, 0, first=True)) == fit
    assert codec.flops(spec, MessageContext("gradient", True, 1, 0)) == plain
    assert codec.flops(spec, MessageContext("activation", False, 1, 0)) == plain[::-1]


@pytest.mark.parametrize("options", [{"rank": 1}, {"strength": 1.1}, {"strength": -0.1}, {"refresh_every": 0}])
def test_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SSOP(**options)  # type: ignore[arg-type]
