"""Behaviour groups: planted blocks, their numbering, and degenerate cases."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from elsa_sim.learning.clustering.groups import affinity, behaviour_groups


def blocks(sizes: list[int], seed: int, near: float = 1.0, far: float = 6.0) -> tuple[np.ndarray, np.ndarray]:
    """Divergences with planted groups, in a random order of clients."""
    rng = np.random.default_rng(seed)
    planted = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    found = np.where(planted[:, None] == planted[None, :], near, far) * rng.uniform(0.6, 1.4, (len(planted),) * 2)
    found = (found + found.T) / 2
    np.fill_diagonal(found, 0.0)
    return found, planted


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("sizes", [[5, 5], [6, 4, 8], [20, 30, 25, 25]])
def test_planted_groups_are_found(sizes: list[int], seed: int) -> None:
    found, planted = blocks(sizes, seed)
    groups = behaviour_groups(affinity(found, np.ones(len(planted))), len(sizes))
    assert adjusted_rand_score(planted, groups) == 1.0
    assert groups[0] == 0  # numbered as they appear
    assert sorted(set(groups)) == list(range(len(sizes)))


def test_affinity_is_weighted_by_trust() -> None:
    found = np.array([[0.0, 2.0, 4.0], [2.0, 0.0, 2.0], [4.0, 2.0, 0.0]])
    expected = np.exp(-found / 2.0) * np.outer([1.0, 0.5, 1.0], [1.0, 0.5, 1.0])
    np.testing.assert_allclose(affinity(found, np.array([1.0, 0.5, 1.0])), expected)
    assert (affinity(found * 1e9, np.zeros(3)) > 0).all()  # the graph stays in one piece


@pytest.mark.parametrize("clients", [1, 2, 3, 4])
def test_few_clients(clients: int) -> None:
    found, _ = blocks([clients], 0)
    assert behaviour_groups(affinity(found, np.ones(clients)), 1).tolist() == [0] * clients
    assert behaviour_groups(affinity(found, np.ones(clients)), clients).tolist() == list(range(clients))
    if clients > 2:
        assert len(set(behaviour_groups(affinity(found, np.ones(clients)), clients - 1))) <= clients - 1


def test_all_alike_is_no_failure() -> None:
    groups = behaviour_groups(affinity(np.zeros((6, 6)), np.ones(6)), 2)
    assert groups.shape == (6,)
