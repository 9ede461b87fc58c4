"""The attacks on made-up states, where what they must recover is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.stats import multivariate_normal, ortho_group

from elsa_sim.base.streams import Streams
from elsa_sim.privacy.attacks.complement import Complement, complement
from elsa_sim.privacy.attacks.discriminant import Discriminant, discriminant
from elsa_sim.privacy.attacks.inversion import Inversion
from elsa_sim.privacy.attacks.nearest_mean import NearestMean, nearest_mean
from elsa_sim.privacy.attacks.procrustes import Procrustes, procrustes
from elsa_sim.privacy.base import Intercepted, Knowledge, View
from elsa_sim.privacy.decoder import invert, padded
from elsa_sim.privacy.known import Known
from elsa_sim.privacy.measures import common_subsequence, cosine, mean_squared_error, rouge_l
from elsa_sim.privacy.options import InversionOptions, PrivacyOptions

WIDTH, CLASSES = 24, 30


def states(count: int, seed: int, noise: float = 0.3, strong: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    """States of random tokens: a centre of its own per token, and noise, ``strong`` times as much along the first axis."""
    centres = 2 * torch.randn(CLASSES, WIDTH, generator=torch.Generator().manual_seed(0))
    draw = torch.Generator().manual_seed(seed)
    tokens = torch.randint(CLASSES, (count,), generator=draw)
    spread = torch.ones(WIDTH)
    spread[0] = strong
    return centres[tokens] + noise * spread * torch.randn(count, WIDTH, generator=draw), tokens + 100


def share(found: torch.Tensor, tokens: torch.Tensor) -> float:
    return float((found == tokens).double().mean())


def test_clean_states_are_identified_and_noise_is_not() -> None:
    public, private = states(600, 1), states(300, 2)
    known = Known.of(*public)
    for attack in (nearest_mean, discriminant):
        assert share(attack(known, private[0]), private[1]) > 0.99
        noise = torch.randn(300, WIDTH, generator=torch.Generator().manual_seed(9))
        assert share(attack(known, noise), private[1]) < 0.15


def test_the_discriminant_weighs_directions_by_their_noise() -> None:
    """One direction has thirty times the noise: Euclidean distance drowns in it, the discriminant leaves it out."""
    public, private = states(900, 1, 0.5, strong=60.0), states(300, 2, 0.5, strong=60.0)
    known = Known.of(*public)
    assert share(nearest_mean(known, private[0]), private[1]) < 0.5
    assert share(discriminant(known, private[0]), private[1]) > 0.95


def test_the_complement_is_blind_to_a_rotation_of_the_principal_directions() -> None:
    public, private = states(600, 1), states(300, 2)
    known = Known.of(*public)
    rest = complement(public[0], 6)
    assert rest.shape == (WIDTH, WIDTH - 6)
    torch.testing.assert_close(rest.t() @ rest, torch.eye(WIDTH - 6, dtype=torch.float64), atol=1e-9, rtol=0)
    whole = torch.linalg.qr(torch.cat([rest, torch.randn(WIDTH, 6, dtype=torch.float64)], dim=1)).Q
    top = whole[:, -6:]
    turn = torch.from_numpy(ortho_group.rvs(6, random_state=3)) - torch.eye(6, dtype=torch.float64)
    rotated = private[0].double() + 5 * (private[0].double() @ top) @ turn @ top.t()
    torch.testing.assert_close(rotated @ rest, private[0].double() @ rest, atol=1e-9, rtol=0)
    hidden = share(nearest_mean(known, rotated), private[1])
    assert share(nearest_mean(known, rotated, rest), private[1]) > max(0.9, hidden + 0.2)


@pytest.mark.parametrize("pairs", [WIDTH + 10, 200])
def test_procrustes_finds_the_rotation(pairs: int) -> None:
    q = torch.from_numpy(ortho_group.rvs(WIDTH, random_state=1))
    x, tokens = states(600, 1)
    found = procrustes(x[:pairs], x[:pairs].double() @ q)
    torch.testing.assert_close(found @ found.t(), torch.eye(WIDTH, dtype=torch.float64), atol=1e-9, rtol=0)
    known = Known.of(x, tokens)
    private, truth = states(300, 2)
    payload = private.double() @ q
    assert share(discriminant(known, payload), truth) < 0.3
    assert share(discriminant(known, payload @ found.t()), truth) > 0.95


def test_procrustes_without_evidence_stays_at_the_identity() -> None:
    x, _ = states(5, 1)
    found = procrustes(x, x)
    torch.testing.assert_close(found, torch.eye(WIDTH, dtype=torch.float64), atol=1e-6, rtol=0)


def texts_of(count: int, length: int) -> torch.Tensor:
    return torch.arange(count).repeat_interleave(length)


def test_inversion_learns_and_leaves_random_state_alone() -> None:
    (public, tokens), (private, truth) = states(800, 1), states(200, 2)
    options = {"steps": 150, "width": 32, "lr": 5e-3}
    before = torch.random.get_rng_state()
    found = invert(public, tokens, texts_of(100, 8), private, texts_of(25, 8), seed=1, **options)
    again = invert(public, tokens, texts_of(100, 8), private, texts_of(25, 8), seed=1, **options)
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.equal(found, again)
    assert share(found, truth) > 0.9
    blind = invert(torch.randn(800, WIDTH), tokens, texts_of(100, 8), private, texts_of(25, 8), seed=1, **options)
    assert share(blind, truth) < 0.3


def test_inversion_uses_the_context() -> None:
    """Every second state is noise, but its token is always one more than that of the state before it."""

    def pairs(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        x, tokens = states(count, seed)
        x, tokens = x.clone(), tokens.clone()
        x[1::2] = torch.randn(count // 2, WIDTH, generator=torch.Generator().manual_seed(seed))
        tokens[1::2] = tokens[::2] + 50
        return x, tokens

    (public, tokens), (private, truth) = pairs(1600, 1), pairs(200, 2)
    found = invert(public, tokens, texts_of(800, 2), private, texts_of(100, 2),
                   steps=400, width=64, lr=3e-3, seed=1)  # fmt: skip
    assert share(found[1::2], truth[1::2]) > 0.6
    assert share(discriminant(Known.of(public, tokens), private)[1::2], truth[1::2]) < 0.2


def test_the_discriminant_is_the_likeliest_class() -> None:
    """Gaussians about the shrunk means, each with its own variance, and a prior by how often a token was seen."""
    public, private = states(200, 1, 1.5), states(100, 2, 1.5)
    known = Known.of(public[0][:120], public[1][:120])
    whiten, means, spread = known.shape
    y = (private[0].double() @ whiten).numpy()
    scores = [
        multivariate_normal.logpdf(y, mean.numpy(), float(each) * np.eye(WIDTH)) + np.log(float(count))
        for mean, each, count in zip(means, spread, known.counts, strict=True)
    ]
    assert len(set(known.counts.tolist())) > 3  # or the prior would say nothing
    expected = known.classes[torch.from_numpy(np.argmax(scores, axis=0))]
    assert torch.equal(discriminant(known, private[0]), expected)


def test_the_complement_is_that_of_the_directions_that_are_turned_where_they_are_known() -> None:
    """Four directions at random, not the principal ones, are replaced by noise; who knows them leaves them out."""
    (public, public_tokens), (private, tokens) = states(600, 1), states(300, 2)
    v = torch.from_numpy(ortho_group.rvs(WIDTH, random_state=1)[:, :4]).float()
    noise = 20 * torch.randn(300, 4, generator=torch.Generator().manual_seed(3))
    payload = private - (private @ v) @ v.t() + noise @ v.t()
    numbers = torch.arange(600)
    view = View(public_tokens, numbers, public, public)
    seen = Intercepted(payload, torch.arange(300))
    for turned, least, most in ((v, 0.95, 1.0), (None, 0.0, 0.5)):
        guess = Complement().guess(Knowledge(view, 4, Streams(1), turned), seen)
        assert least <= share(guess, tokens) <= most


def test_the_complement_is_that_of_deviations_from_the_mean() -> None:
    """A common offset is not a direction that varies."""
    x, _ = states(600, 1, strong=30.0)
    rest = complement(x + 1e3 * torch.eye(WIDTH)[5], 1)
    assert float(rest[0].norm()) < 0.1  # the first axis varies most, and is left out
    assert float(rest[5].norm()) > 0.9


# -- as members of their family ------------------------------------------------------------------------------------------


def intercepted() -> tuple[Knowledge, list[Intercepted], list[torch.Tensor]]:
    """Public text, and two clients whose payloads are turned by a secret, each with pairs that are known."""
    (public, tokens), seen, truth = states(900, 1), [], []
    turn = torch.from_numpy(ortho_group.rvs(WIDTH, random_state=1)).float()
    for seed in (2, 3):
        private, true = states(160, seed)
        truth.append(true[80:])
        seen.append(Intercepted(private[80:] @ turn, texts_of(10, 8), (private[:80], private[:80] @ turn)))
    return Knowledge(View(tokens, torch.arange(900) // 9, public, public), 6, Streams(0)), seen, truth


def test_each_attack_is_its_function() -> None:
    knowledge, seen, truth = intercepted()
    known, first = knowledge.known, seen[0]
    assert torch.equal(NearestMean().guess(knowledge, first), nearest_mean(known, first.payload))
    assert torch.equal(Discriminant().guess(knowledge, first), discriminant(known, first.payload))
    for attack, rank in ((Complement(), 6), (Complement(rank=2), 2)):  # its own rank goes before that of the chain
        basis = complement(knowledge.public.clean, rank)
        assert torch.equal(attack.guess(knowledge, first), nearest_mean(known, first.payload, basis))
    found = Procrustes().recover(knowledge, seen)
    for guess, true in zip(found, truth, strict=True):
        assert guess is not None
        assert share(guess, true) > 0.9
        assert share(nearest_mean(known, first.payload), truth[0]) < 0.4
    assert Procrustes().guess(knowledge, Intercepted(first.payload, first.texts)) is None


def test_inversion_trains_once_for_all_clients_and_tells_whose_tokens_are_whose() -> None:
    knowledge, seen, truth = intercepted()
    clean = [Intercepted(states(160, seed)[0][80:], each.texts) for seed, each in zip((2, 3), seen, strict=True)]
    attack = Inversion(steps=200, width=32, lr=5e-3)
    found = attack.recover(knowledge, clean)
    for guess, true in zip(found, truth, strict=True):
        assert guess is not None
        assert share(guess, true) > 0.8
    again = attack.recover(knowledge, clean)
    assert all(torch.equal(a, b) for a, b in zip(found, again, strict=True) if a is not None and b is not None)


def test_what_an_attack_leaves_open_is_the_sections() -> None:
    section = PrivacyOptions(inversion=InversionOptions(steps=7, width=16, lr=0.5))
    assert Inversion(width=32).completed(section) == Inversion(steps=7, width=32, lr=0.5)
    assert Inversion(width=32).completed(PrivacyOptions(inversion=None)) is None
    assert [attack.completed(section) for attack in section.attacks[:4]] == list(section.attacks[:4])


def test_whole_texts_are_read_by_the_trained_attack_alone() -> None:
    assert [attack.kind for attack in PrivacyOptions().attacks if attack.reads_texts] == ["inversion"]
    assert Inversion(steps=1, width=8, lr=1e-9).width == 8
    for wrong in ({"steps": 0}, {"width": 7}, {"lr": 0.0}):
        with pytest.raises(ValidationError):
            Inversion(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ValidationError):
        Complement(rank=0)
    assert Complement(rank=1).rank == 1


def test_each_attack_is_one_column() -> None:
    with pytest.raises(ValidationError, match="'complement' is given twice"):
        PrivacyOptions(attacks=("complement", {"kind": "complement", "rank": 3}))  # type: ignore[arg-type]
    with pytest.raises(ValidationError):
        PrivacyOptions(attacks=())


def test_views_are_joined_with_texts_numbered_anew() -> None:
    one = View(torch.tensor([5, 6, 7]), torch.tensor([0, 0, 2]), torch.zeros(3, 1), torch.ones(3, 1))
    joined = View.joined([one, one.take(torch.tensor([True, False, True])), one])
    assert joined.texts.tolist() == [0, 0, 2, 3, 5, 6, 6, 8]
    assert joined.tokens.tolist() == [5, 6, 7, 5, 7, 5, 6, 7]


def test_padding() -> None:
    x, valid = padded(torch.arange(6.0)[:, None], torch.tensor([4, 4, 4, 9, 9, 9])[[0, 1, 3, 3, 3, 3]])
    assert x.shape == (2, 4, 1)
    assert valid.tolist() == [[True, True, False, False], [True] * 4]
    assert x[valid].flatten().tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("a", "b", "length"),
    [([], [], 0), ([1, 2, 3], [1, 2, 3], 3), ([1, 2, 3], [3, 2, 1], 1), ([1, 5, 2, 6], [5, 6, 1], 2)],
)
def test_common_subsequence(a: list[int], b: list[int], length: int) -> None:
    assert common_subsequence(a, b) == common_subsequence(b, a) == length


def test_rouge_l_is_the_mean_over_texts() -> None:
    true, texts = np.array([1, 2, 3, 4, 7, 8]), np.array([0, 0, 0, 0, 1, 1])
    assert rouge_l(true, true, texts) == 1.0
    assert rouge_l(np.array([1, 9, 3, 9, 9, 9]), true, texts) == pytest.approx((0.5 + 0.0) / 2)
    assert rouge_l(np.array([2, 1, 4, 3, 8, 7]), true, texts) == pytest.approx(0.5)


def test_similarity() -> None:
    x = torch.randn(50, 8, generator=torch.Generator().manual_seed(1))
    assert cosine(x, 3 * x) == pytest.approx(1)
    assert cosine(x, -x) == pytest.approx(-1)
    assert cosine(torch.zeros(50, 8), x) == 0
    assert mean_squared_error(x + 2, x) == pytest.approx(4)
