"""Trust: the divergence it rests on, its fixed point in closed form, and whom it finds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.spatial.distance import jensenshannon
from sklearn.metrics import roc_auc_score

from elsa_sim.learning.clustering.trust import (
    by_deviations,
    by_predictions,
    by_similarity,
    jensen_shannon,
    similarity,
)


def predictions(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.dirichlet(np.ones(shape[-1]), size=shape[:-1])


def test_jensen_shannon_in_bits() -> None:
    rng = np.random.default_rng(0)
    p, q = predictions(rng, 20, 6), predictions(rng, 20, 6)
    p[0] = [1, 0, 0, 0, 0, 0]
    expected = [jensenshannon(a, b, base=2) ** 2 for a, b in zip(p, q, strict=True)]
    np.testing.assert_allclose(jensen_shannon(p, q), expected, rtol=1e-12)
    assert jensen_shannon(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == 1.0  # nothing in common
    assert jensen_shannon(p, p).max() == 0.0


def test_two_clients_trust_each_other_as_far_as_they_agree() -> None:
    both = predictions(np.random.default_rng(1), 2, 8, 4)
    expected = 1 - jensen_shannon(*both).mean()
    np.testing.assert_allclose(by_predictions(both), [expected, expected], rtol=1e-12)
    assert by_predictions(both[:1]).tolist() == [1.0]


@pytest.mark.parametrize("honest", [2, 3, 9])
def test_the_fixed_point_of_one_against_many(honest: int) -> None:
    """h clients say p, one says r: t_r = 1 - JS(r, p), and t_p solves one scalar equation."""
    rng = np.random.default_rng(honest)
    p, r = predictions(rng, 2, 5, 3)
    outlier = 1 - jensen_shannon(r, p).mean()

    def off(t: float) -> float:
        consensus = ((honest - 1) * t * p + outlier * r) / ((honest - 1) * t + outlier)
        return t - (1 - float(jensen_shannon(p, consensus).mean()))

    expected = brentq(off, 1e-9, 1.0, xtol=1e-14)
    found = by_predictions(np.stack([p] * honest + [r]))
    np.testing.assert_allclose(found, [expected] * honest + [outlier], rtol=1e-9)
    assert expected > outlier


@given(st.integers(0, 10_000), st.integers(2, 9))
def test_it_is_a_fixed_point_in_the_unit_interval(seed: int, clients: int) -> None:
    said = predictions(np.random.default_rng(seed), clients, 4, 3) ** 3
    said /= said.sum(-1, keepdims=True)
    found = by_predictions(said)
    assert ((found >= 0) & (found <= 1)).all()
    for n in range(clients):
        others = [m for m in range(clients) if m != n]
        consensus = np.average(said[others], axis=0, weights=found[others])
        assert found[n] == pytest.approx(1 - jensen_shannon(said[n], consensus).mean(), abs=1e-9)
    order = np.random.default_rng(seed).permutation(clients)
    np.testing.assert_allclose(by_predictions(said[order]), found[order], atol=1e-10)


def test_agreement_is_full_trust() -> None:
    same = np.repeat(predictions(np.random.default_rng(2), 1, 6, 4), 5, axis=0)
    np.testing.assert_allclose(by_predictions(same), 1.0)


@pytest.mark.parametrize("seed", range(5))
def test_planted_liars_have_least_trust(seed: int) -> None:
    """20 clients say noisily what is so, four of them with the classes exchanged."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(5, size=40)
    said = np.stack([predictions(rng, 40, 5) + 1.5 * np.eye(5)[(truth + 1) % 5 if n < 4 else truth] for n in range(20)])
    said /= said.sum(-1, keepdims=True)
    assert roc_auc_score(np.arange(20) >= 4, by_predictions(said)) == 1.0


def skewed(rng: np.random.Generator, sharpness: float, count: int = 20, liars: int = 4) -> np.ndarray:
    """Predictions [N, Q, C] of clients with strong priors of their own; the first ones have the classes exchanged."""
    truth = rng.integers(5, size=40)
    priors = 6.0 * rng.normal(size=(count, 1, 5))
    noise = 0.5 * sharpness * rng.normal(size=(count, 40, 5))
    said = np.stack([np.eye(5)[(truth + 1) % 5 if n < liars else truth] for n in range(count)])
    logits = sharpness * said + priors + noise
    odds = np.exp(logits - logits.max(-1, keepdims=True))
    return np.asarray(odds / odds.sum(-1, keepdims=True))


@pytest.mark.parametrize("seed", range(5))
def test_liars_are_found_among_clients_with_priors_of_their_own(seed: int) -> None:
    """Most of them predict one class for most probes, honest ones and liars alike."""
    said = skewed(np.random.default_rng(seed), 3.0)
    assert np.median(said.mean(1).max(-1)) > 0.65
    honest = np.arange(20) >= 4
    assert roc_auc_score(honest, by_deviations(said)) >= 0.9
    assert roc_auc_score(honest, by_predictions(said)) < 0.8


def test_who_says_nothing_is_not_trusted_more_than_who_agrees() -> None:
    rng = np.random.default_rng(0)
    said = skewed(rng, 4.0, liars=0)
    said[0] = said[0].mean(0)
    found = by_deviations(said)
    assert found[0] == found.min() < np.median(found)


def test_deviations_by_hand() -> None:
    """Two clients, two probes, two classes; X = +-a in every entry, half as much for the second: one direction."""
    first, second = np.array([[0.9, 0.1], [0.1, 0.9]]), np.array([[0.8, 0.2], [0.4, 0.6]])
    np.testing.assert_allclose(by_deviations(np.stack([first, second])), 1.0)
    liar = second[:, ::-1]  # the mean of all X is (0.4 - 0.2) / 2 = 0.1 in every entry: TV 0.1, over 1 - 1/2: k^2 = 0.2
    np.testing.assert_allclose(by_deviations(np.stack([first, liar])), 1.0 - np.sqrt(0.2))
    three = by_deviations(np.stack([first, second, liar]))  # mean X 0.4 / 3; the liar finds no one to agree with
    np.testing.assert_allclose(three, [1.0, 1.0, 1.0 - np.sqrt(0.4 / 3 / 0.5)], atol=1e-6)


def test_while_nothing_is_known_everybody_is_trusted() -> None:
    rng = np.random.default_rng(3)
    priors = predictions(rng, 9, 1, 5)
    np.testing.assert_allclose(by_deviations(np.repeat(priors, 30, axis=1)), 1.0)
    faint = by_deviations(skewed(rng, 0.01))
    assert faint.min() > 0.9 * np.median(faint)
    assert by_deviations(predictions(rng, 1, 6, 4)).tolist() == [1.0]


def test_similarity_needs_no_common_labels_nor_coordinates() -> None:
    rng = np.random.default_rng(4)
    base = rng.normal(size=(30, 8))
    honest = []
    for _ in range(5):
        turn, _ = np.linalg.qr(rng.normal(size=(8, 8)))
        honest.append(similarity(3.0 * (base + 0.3 * rng.normal(size=base.shape)) @ turn + 5.0))
    free = similarity(rng.normal(size=(30, 8)))
    found = by_similarity(np.stack([*honest, free]))
    assert ((found >= 0) & (found <= 1)).all()
    assert found[:5].min() > found[5] + 0.3
    np.testing.assert_allclose(by_similarity(np.stack([honest[0]] * 3)), 1.0)
    assert similarity(np.ones((4, 3))).tolist() == np.zeros((4, 4)).tolist()
    assert by_similarity(np.zeros((3, 4, 4))).tolist() == [0.0] * 3


def test_the_similarity_of_two_is_linear_cka() -> None:
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(12, 6)), rng.normal(size=(12, 4))
    x, y = x - x.mean(0), y - y.mean(0)
    cka = np.linalg.norm(y.T @ x) ** 2 / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y))
    np.testing.assert_allclose(by_similarity(np.stack([similarity(x), similarity(y)])), [cka, cka], rtol=1e-12)
