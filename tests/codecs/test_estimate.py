"""The linear estimate from a sketch: the conditional mean, its error, exact where it can be, and the exact chain rule."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from exchange import MadeUp, Pair, hidden
from pydantic import ValidationError
from small_runs import played

from elsa_sim.codecs.base import MessageContext
from elsa_sim.codecs.estimate import Moments, estimator, relative_error
from elsa_sim.codecs.sketch import Sketch, hashes

WIDTH, ROWS, COLUMNS = 24, 3, 4
STATES = MessageContext("activation", up=True)


def gaussian() -> tuple[np.ndarray, np.ndarray]:
    """A mean and a covariance with a few strong directions."""
    draw = np.random.default_rng(3)
    mixing = draw.standard_normal((WIDTH, 5)) * 3
    return draw.standard_normal(WIDTH), mixing @ mixing.T + np.eye(WIDTH)


def sketch_matrix(key: int = 11, width: int = WIDTH, rows: int = ROWS, columns: int = COLUMNS) -> torch.Tensor:
    return hashes(key, width, rows, columns, even=True).matrix


def test_the_matrix_is_the_sketch() -> None:
    x = hidden(rows=7, width=WIDTH)
    made, _ = Sketch(rows=ROWS, columns=COLUMNS, decoder="linear").encode(x, 11, STATES)
    torch.testing.assert_close(made.main, x @ sketch_matrix().t())


def test_it_is_the_conditional_mean_of_a_gaussian() -> None:
    """Of (h, t) jointly normal, E[h | t] = m + C_ht C_tt^-1 (t - m_t), by numpy."""
    mean, covariance = gaussian()
    s = sketch_matrix().double().numpy()
    h = np.random.default_rng(5).multivariate_normal(mean, covariance, 20)
    expected = mean + (h - mean) @ s.T @ np.linalg.inv(s @ covariance @ s.T) @ (s @ covariance)
    a = estimator(torch.from_numpy(s), torch.from_numpy(covariance)).numpy()
    found = mean + (h @ s.T - s @ mean) @ a.T
    assert np.abs(found - expected).max() < 1e-6 * np.abs(expected).max()


def test_the_expected_error_is_no_less_than_nothing() -> None:
    """States in fewer directions than buckets are estimated exactly; what rounding leaves has any sign, an error has not."""
    s = sketch_matrix()
    for seed in range(20):
        few = torch.randn(5, WIDTH, generator=torch.Generator().manual_seed(seed))
        assert 0.0 <= relative_error(s, Moments.of(few)) < 1e-12


def test_its_error_is_the_closed_form() -> None:
    mean, covariance = gaussian()
    s, moments = sketch_matrix(), Moments(torch.from_numpy(mean), torch.from_numpy(covariance))
    h = torch.from_numpy(np.random.default_rng(7).multivariate_normal(mean, covariance, 10_000))
    a = estimator(s, moments.covariance)
    estimate = moments.mean + (h - moments.mean) @ s.double().t() @ a.t()
    measured = float((estimate - h).square().sum() / h.square().sum())
    assert measured == pytest.approx(relative_error(s, moments), rel=0.02)
    # nobody does better by another linear map of the same sketch, e.g. the pseudo-inverse
    blind = moments.mean + (h - moments.mean) @ s.double().t() @ estimator(s, None).t()
    assert float((blind - h).square().sum()) > 1.2 * float((estimate - h).square().sum())


@pytest.mark.parametrize("public", [True, False])
def test_it_is_exact_from_as_many_buckets_as_coordinates_on(public: bool) -> None:
    pair = Pair([Sketch(rows=5, columns=20, decoder="linear")])
    if not public:
        pair.public = None  # type: ignore[assignment]
    x = hidden()
    torch.testing.assert_close(pair.send(x), x, rtol=1e-4, atol=1e-4)


def test_public_text_tells_more_than_nothing_and_more_than_the_other_decoders() -> None:
    x, errors = hidden(rows=200, seed=0), {}
    for decoder in ("median", "mean", "shrink", "linear"):
        pair = Pair([Sketch(rows=3, columns=8, decoder=decoder)])  # type: ignore[arg-type]
        errors[decoder] = float((pair.send(x) - x).norm() / x.norm())
    pair = Pair([Sketch(rows=3, columns=8, decoder="linear")])
    pair.public = None  # type: ignore[assignment]
    errors["blind"] = float((pair.send(x) - x).norm() / x.norm())
    assert errors["linear"] == min(errors.values())
    assert errors["blind"] < errors["mean"]


def test_gradients_cross_by_the_chain_rule() -> None:
    """<u, f(x + e d)> by central differences is e <what arrives of u, d>."""
    codec = Sketch(rows=ROWS, columns=COLUMNS, decoder="linear").at(STATES, MadeUp(WIDTH))
    assert codec is not None
    pair = Pair([codec], width=WIDTH)
    x, u, d = (hidden(rows=5, width=WIDTH, seed=seed) for seed in (1, 2, 3))
    step = 1e-2
    above, below = pair.send(x + step * d), pair.send(x - step * d, index=1)
    differences = float((u * (above - below)).sum()) / (2 * step)
    arrived = pair.send(u, "gradient", up=False)
    assert differences == pytest.approx(float((arrived * d).sum()), rel=1e-3)
    assert pair.pipeline[0].shape == (5, ROWS * COLUMNS)  # no more numbers than a state takes


def test_buckets_are_filled_evenly() -> None:
    for width, columns in ((24, 4), (25, 4), (384, 64), (7, 12)):
        filled = sketch_matrix(width=width, columns=columns).abs().sum(dim=1)
        assert filled.max() - filled.min() <= 1
    assert sketch_matrix().abs().sum(dim=0).tolist() == [ROWS] * WIDTH
    assert not torch.equal(sketch_matrix(11), sketch_matrix(12))


def test_a_fit_anew_is_an_option_of_it_only() -> None:
    with pytest.raises(ValidationError, match="has an effect with decoder: linear only"):
        Sketch(refresh_every=2)
    assert Sketch(decoder="linear", refresh_every=2).fitted_anew == 2


def test_in_runs_more_arrives() -> None:
    """One run with each decoder: what arrives is nearer to what was sent."""
    base = "protocol={kind: elsa, rounds: 2, local_steps: 3, lr: 2.0e-2}"
    rows = {}
    for decoder in ("median", "linear"):
        codec = f"[{{kind: sketch, rows: 3, columns: 4, decoder: {decoder}}}]"
        rows[decoder] = played(base, f"codec={{activation: {codec}, gradient: {codec}}}").rounds.iloc[-1]
    assert rows["linear"]["activation_error"] < 0.7 < 1.0 < rows["median"]["activation_error"]


def test_it_is_exact_also_for_what_public_text_never_showed() -> None:
    """From as many buckets as coordinates on, S has full column rank and A S = I, whatever the covariance."""
    matrix = sketch_matrix(rows=5, columns=20)
    few = Moments.of(hidden(rows=3, width=WIDTH))
    found = estimator(matrix, few.covariance) @ matrix.double()
    torch.testing.assert_close(found, torch.eye(WIDTH, dtype=torch.float64), rtol=0, atol=1e-9)
