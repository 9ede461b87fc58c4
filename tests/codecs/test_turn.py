"""Known and unknown turns: what becomes of the moments of states."""

from __future__ import annotations

import pytest
import torch
from exchange import hidden

from elsa_sim.codecs.turn import Turn, UnknownTurn, averages, drawn, principal, rotation

WIDTH, RANK = 24, 5


def change(seed: int, rank: int, strength: float = 1.0) -> torch.Tensor:
    return torch.from_numpy(rotation(seed, rank, strength)) - torch.eye(rank, dtype=torch.float64)


def moments(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    mean = x.mean(0)
    return mean, (x - mean).t() @ (x - mean) / len(x)


@pytest.mark.parametrize("rank", [RANK, WIDTH])
def test_a_known_turn_turns_the_moments_as_it_turns_the_rows(rank: int) -> None:
    x = hidden(rows=60, width=WIDTH).double()
    turn = Turn(principal(x, RANK) if rank == RANK else None, change(1, rank))
    mean, covariance = moments(turn(x))
    torch.testing.assert_close(turn.mean(moments(x)[0]), mean)
    torch.testing.assert_close(turn.covariance(*moments(x)), covariance)
    torch.testing.assert_close(turn(turn(x), back=True), x)


@pytest.mark.parametrize("strength", [1.0, 0.4, 0.0])
def test_an_unknown_turn_gives_the_moments_over_many_keys(strength: float) -> None:
    """Of one set of rows under many keys: the mean and covariance of all turned rows together."""
    x = hidden(rows=60, width=WIDTH).double()
    basis = principal(x, RANK)
    keys = 3000 if strength else 1
    everything = torch.cat([Turn(basis, change(seed, RANK, strength))(x) for seed in range(keys)])
    mean, covariance = moments(everything)
    unknown = UnknownTurn(basis, *averages(RANK, strength))
    size = covariance.norm()
    # averages below full strength are themselves means over 32 rotations
    assert (unknown.mean(moments(x)[0]) - mean).norm() < (0.05 if strength else 1e-9) * moments(x)[0].norm()
    assert (unknown.covariance(*moments(x)) - covariance).norm() < (0.05 if strength else 1e-9) * size
    if strength == 1.0:
        assert (moments(x)[1] - covariance).norm() > 0.2 * size, "it is another covariance than that of the rows"


def test_all_directions_may_be_turned_without_a_basis() -> None:
    mean, covariance = moments(hidden(rows=60, width=WIDTH).double())
    unknown = UnknownTurn(None, *averages(WIDTH, 1.0))
    torch.testing.assert_close(unknown.mean(mean), torch.zeros(WIDTH, dtype=torch.float64))
    energy = (covariance.trace() + mean.square().sum()) / WIDTH
    torch.testing.assert_close(unknown.covariance(mean, covariance), energy * torch.eye(WIDTH, dtype=torch.float64))


def test_another_number_is_another_rotation() -> None:
    one, two, again = (rotation(1, RANK, 1.0, number) for number in ((1, 0), (1, 1), (1, 0)))
    assert (one == again).all()
    assert abs(one - two).max() > 0.1


def test_directions_at_random_are_orthonormal_and_a_seeds() -> None:
    basis = drawn(3, WIDTH, RANK)
    torch.testing.assert_close(basis.t() @ basis, torch.eye(RANK))
    assert torch.equal(basis, drawn(3, WIDTH, RANK))
    assert not torch.allclose(basis, drawn(4, WIDTH, RANK), atol=0.1)
