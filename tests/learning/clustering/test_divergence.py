"""Fingerprints and divergences against closed forms and numerical integration."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from elsa_sim.learning.clustering.divergence import divergences, typical
from elsa_sim.learning.clustering.fingerprint import Gaussian, Projection, fingerprint


def gaussian(seed: int, size: int = 4, scale: float = 1.0) -> Gaussian:
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(size, size)) * scale
    return Gaussian(rng.normal(size=size), root @ root.T + 0.1 * np.eye(size))


def one_way(a: Gaussian, b: Gaussian) -> float:
    """KL(a || b), with its log determinants."""
    inverse, apart = np.linalg.inv(b.covariance), b.mean - a.mean
    logs = np.linalg.slogdet(b.covariance)[1] - np.linalg.slogdet(a.covariance)[1]
    return float(np.trace(inverse @ a.covariance) - len(a.mean) + apart @ inverse @ apart + logs) / 2.0


def test_the_closed_form_in_one_dimension() -> None:
    """KL(N(0, 1) || N(d, s^2)) = ln s + (1 + d^2) / (2 s^2) - 1/2."""
    d, s = 1.5, 2.0
    there = np.log(s) + (1 + d**2) / (2 * s**2) - 0.5
    back = -np.log(s) + (s**2 + d**2) / 2 - 0.5
    pair = [Gaussian(np.zeros(1), np.eye(1)), Gaussian(np.array([d]), s**2 * np.eye(1))]
    np.testing.assert_allclose(divergences(pair), [[0, (there + back) / 2], [(there + back) / 2, 0]], rtol=1e-14)


def test_numerical_integration_agrees() -> None:
    (m, s), (n, t) = (0.3, 0.8), (-0.6, 1.7)
    p, q = norm(m, s), norm(n, t)
    there = quad(lambda x: p.pdf(x) * (p.logpdf(x) - q.logpdf(x)), -20, 20)[0]
    back = quad(lambda x: q.pdf(x) * (q.logpdf(x) - p.logpdf(x)), -30, 30)[0]
    pair = [Gaussian(np.array([m]), np.array([[s**2]])), Gaussian(np.array([n]), np.array([[t**2]]))]
    assert divergences(pair)[0, 1] == pytest.approx((there + back) / 2, rel=1e-8)


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_every_pair_is_the_mean_of_both_ways(scale: float) -> None:
    some = [gaussian(seed, scale=scale) for seed in range(5)]
    found = divergences(some)
    assert found.dtype == np.float64
    expected = [[(one_way(a, b) + one_way(b, a)) / 2 for b in some] for a in some]
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-8 * found.max())
    assert (found == found.T).all()
    assert (np.diag(found) == 0).all()
    assert (found[~np.eye(5, dtype=bool)] > 0).all()


def test_coordinates_do_not_matter() -> None:
    """The divergence is the same in any invertible linear map of the space, so the scale of a direction has no say."""
    some, rng = [gaussian(seed) for seed in range(3)], np.random.default_rng(9)
    turn, shift = rng.normal(size=(4, 4)), rng.normal(size=4)
    moved = [Gaussian(turn @ g.mean + shift, turn @ g.covariance @ turn.T) for g in some]
    np.testing.assert_allclose(divergences(moved), divergences(some), rtol=1e-7, atol=1e-10)


def test_the_typical_divergence_is_the_median_of_pairs() -> None:
    found = np.array([[0, 1, 5], [1, 0, 2], [5, 2, 0]], dtype=float)
    assert typical(found) == 2.0
    assert typical(np.zeros((3, 3))) == typical(np.zeros((1, 1))) == 1.0


def test_the_projection_is_shared_and_of_unit_variance() -> None:
    rng = np.random.default_rng(0)
    pretrained = rng.normal(size=(60, 32)) @ np.diag(np.linspace(3, 0.01, 32)) + 7.0
    projection = Projection.fit(pretrained, 5)
    points = projection(pretrained)
    np.testing.assert_allclose(points.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(np.cov(points.T), np.eye(5), atol=1e-10)
    again = Projection.fit(pretrained[::-1], 5)  # the order of the probes does not matter
    np.testing.assert_allclose(again.basis, projection.basis, atol=1e-9)
    for dimensions in (0, 33, 60):
        with pytest.raises(ValueError, match="span at most"):
            Projection.fit(pretrained, dimensions)


def test_a_fingerprint_recovers_its_gaussian_and_is_never_singular() -> None:
    true, rng = gaussian(3), np.random.default_rng(1)
    points = rng.multivariate_normal(true.mean, true.covariance, size=40_000)
    found = fingerprint(points)
    np.testing.assert_allclose(found.mean, true.mean, atol=0.05)
    np.testing.assert_allclose(found.covariance, true.covariance, atol=0.15)
    for few in (rng.normal(size=(3, 8)), np.ones((6, 4))):  # fewer than dimensions; all alike
        assert np.linalg.eigvalsh(fingerprint(few).covariance).min() > 0
        assert np.isfinite(divergences([fingerprint(few), fingerprint(few + 1.0)])).all()
