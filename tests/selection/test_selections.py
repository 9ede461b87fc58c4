"""Laws of every way to select clients, and what each is known to choose; one that is added is held to the laws, too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from elsa_sim.base.registry import discover
from elsa_sim.base.streams import Streams
from elsa_sim.selection.base import (
    Candidates,
    CohortSelection,
    Prospect,
    Report,
    Roster,
    Selection,
    Selector,
    counted,
    drawn,
)
from elsa_sim.selection.fedcs import within
from elsa_sim.selection.probabilities import capped

discover("elsa_sim.selection")
#: Options of those that cannot do without.
NEEDED: dict[str, dict[str, Any]] = {"fedcs": {"deadline": 60.0, "ask": 6}, "probabilities": {"clients": 4}}
KINDS = sorted(kind for kind, member in Selection.members.items() if member.__module__.startswith("elsa_sim."))
COHORTS = [kind for kind in KINDS if issubclass(Selection.members[kind], CohortSelection)]
NAMES = [f"client{i}" for i in range(12)]
SAMPLES = {name: float(10 + i) for i, name in enumerate(NAMES)}
ROSTER = Roster(SAMPLES, lambda name: Prospect(1.0, float(NAMES.index(name) * 7 % 12), 2.0))


def made(kind: str, **options: Any) -> Selection:
    usual = NEEDED.get(kind, {"clients": 4} if kind in COHORTS else {})
    return Selection.members[kind](**{**usual, **options})  # type: ignore[return-value]


def chosen(selector: Selector, names: Sequence[str] = NAMES, *, round: int = 1, seed: int = 0) -> Mapping[str, float]:
    random = Streams(seed).numpy("selection", round)
    return selector.choose(Candidates(names, len(NAMES), round, random))


def rounds(
    selection: Selection, count: int, names: Sequence[str] = NAMES, *, seed: int = 0
) -> list[Mapping[str, float]]:
    """Whom a server chooses, round after round; who is chosen arrives, with a loss and a duration of its own."""
    selector, found = selection.start(ROSTER), []
    for number in range(1, count + 1):
        found.append(chosen(selector, names, round=number, seed=seed))
        for name in found[-1]:
            losses = (1.0 + SAMPLES[name] % 5, 2.0) if selection.needs_losses else ()
            selector.observe(Report(name, losses, ROSTER.prospect(name).time))
    return found


def test_all_are_here() -> None:
    assert set(KINDS) >= {
        "all",
        "uniform",
        "probabilities",
        "power_of_choice",
        "oort",
        "round_robin",
        "fastest",
        "fedcs",
    }
    assert set(COHORTS) == {"uniform", "power_of_choice", "oort", "round_robin", "fastest"}


# -- laws ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_only_candidates_are_chosen_and_no_more_than_are_asked(kind: str) -> None:
    selection = made(kind)
    for names in (NAMES, NAMES[3:9], NAMES[5:6]):
        for found in rounds(selection, 25, names):
            assert set(found) <= set(names)
            assert len(found) <= min(selection.asked(len(NAMES)), len(names))
            assert all(factor > 0.0 for factor in found.values())
            assert selection.unbiased or set(found.values()) <= {1.0}


@pytest.mark.parametrize("kind", KINDS)
def test_one_seed_chooses_alike(kind: str) -> None:
    assert rounds(made(kind), 12) == rounds(made(kind), 12)
    assert [list(each) for each in rounds(made(kind), 12)] == [list(each) for each in rounds(made(kind), 12)]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("all", "round_robin", "fastest")])
def test_another_seed_chooses_others(kind: str) -> None:
    options = {"candidates": 6} if kind == "power_of_choice" else {}
    assert rounds(made(kind, **options), 12) != rounds(made(kind, **options), 12, seed=1)


@pytest.mark.parametrize("kind", COHORTS)
def test_a_cohort_has_the_number_that_was_asked_for(kind: str) -> None:
    for count, wanted in ((4, 4), (1, 1), (0.25, 3), (0.3, 4), (1.0, 12)):
        assert {len(found) for found in rounds(made(kind, clients=count), 25)} == {wanted}
        assert {len(found) for found in rounds(made(kind, clients=count), 25, NAMES[:3])} == {min(3, wanted)}


@pytest.mark.parametrize("kind", COHORTS)
def test_over_commitment_chooses_more_and_closes_at_the_number(kind: str) -> None:
    plain, more = made(kind), made(kind, over_commit=1.3)
    assert (plain.closes(12), more.closes(12)) == (None, 4)
    assert {len(found) for found in rounds(more, 10)} == {6}  # ceil(5.2)
    assert more.most(12) == plain.most(12) == 4
    assert made(kind, over_commit=50.0).asked(12) == 12
    assert made(kind, clients=100, over_commit=1.1).asked(200) == 110  # 100 x 1.1 is a little more here


def test_a_count_is_a_number_or_a_share() -> None:
    assert [counted(each, 15) for each in (1, 10, 40, 0.1, 0.2, 1.0, 0.001)] == [1, 10, 15, 2, 3, 15, 1]
    for wrong in (0, -3, 0.0, 1.5, -0.1, True, "ten"):
        with pytest.raises(ValidationError):
            made("uniform", clients=wrong)


# -- draws --------------------------------------------------------------------------------------------------------------


def test_draws_without_replacement_are_in_proportion_one_after_another() -> None:
    weights, random = [1.0, 2.0, 4.0, 0.0], np.random.default_rng(3)
    times = Counter(tuple(drawn(random, weights, 2).tolist()) for _ in range(40_000))
    for (i, j), count in times.items():
        expected = weights[i] / 7.0 * weights[j] / (7.0 - weights[i])
        assert count / 40_000 == pytest.approx(expected, abs=4.5 * (expected / 40_000) ** 0.5)
    assert len(times) == 6
    assert drawn(random, weights, 4).tolist()[3] == 3  # who weighs nothing comes last
    first = Counter(int(drawn(random, [0.0, 0.0], 1)[0]) for _ in range(1000))
    assert 400 < first[0] < 600


def test_uniform_asks_everyone_as_often() -> None:
    times = Counter(name for found in rounds(made("uniform"), 6000) for name in found)
    assert all(abs(times[name] - 2000) < 5 * (6000 * 1 / 3 * 2 / 3) ** 0.5 for name in NAMES)


DRAWS = 10_000


@pytest.mark.parametrize(
    "options",
    [
        {"clients": 4},
        {"clients": 4, "by": "uniform"},
        {"clients": 11},
        {"clients": 4, "draw": "replacement"},
        {"clients": 0.25, "draw": "replacement", "by": "uniform"},
        {"clients": None, "given": {name: 0.05 + 0.07 * i for i, name in enumerate(NAMES)}},
    ],
)
def test_inverse_probabilities_are_unbiased(options: dict[str, Any]) -> None:
    """Over 10,000 draws: the mean of sum_n p_n f_n x_n is sum_n p_n x_n, within five standard errors of it."""
    values = np.random.default_rng(11).normal(size=(len(NAMES), 3)) * np.arange(1, 13)[:, None]
    share = np.array([SAMPLES[name] for name in NAMES]) / sum(SAMPLES.values())
    selector, index = made("probabilities", **options).start(ROSTER), {name: i for i, name in enumerate(NAMES)}
    sums, sizes = np.zeros((DRAWS, 3)), []
    for draw in range(DRAWS):
        found = chosen(selector, round=draw)
        sizes.append(len(found))
        for name, factor in found.items():
            sums[draw] += share[index[name]] * factor * values[index[name]]
    error = sums.std(axis=0, ddof=1) / DRAWS**0.5
    assert (error > 0).all()
    assert (np.abs(sums.mean(axis=0) - share @ values) < 5 * error).all()
    given = options.get("given")
    if "draw" not in options:
        expected = sum(given.values()) if given else options["clients"]
        assert np.mean(sizes) == pytest.approx(expected, abs=0.1)
        assert len(set(sizes)) > 1


def test_of_few_candidates_they_are_unbiased_for_these() -> None:
    """p_n are the shares of the candidates: whoever is away is not made up for."""
    selector, names = made("probabilities", clients=2, draw="replacement").start(ROSTER), NAMES[4:7]
    for draw in range(20):
        found = chosen(selector, names, round=draw)
        total = sum(SAMPLES[name] for name in names)
        assert sum(SAMPLES[name] * factor for name, factor in found.items()) == pytest.approx(total)


def test_probabilities_are_capped_and_add_up() -> None:
    found = capped(np.array([100.0, 1.0, 2.0, 3.0]), 3)
    assert found.tolist() == pytest.approx([1.0, 1 / 3, 2 / 3, 1.0])
    assert capped(np.ones(4), 4).tolist() == [1.0] * 4
    assert capped(np.array([1.0, 3.0]), 1).tolist() == [0.25, 0.75]


@pytest.mark.parametrize(
    "options",
    [
        {"clients": None},
        {"clients": 4, "given": {"client0": 0.5}},
        {"clients": None, "given": {"client0": 0.0}},
        {"clients": None, "given": {"client0": 0.5}, "draw": "replacement"},
    ],
)
def test_probabilities_are_stated_once(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        made("probabilities", **options)


# -- turns, times, losses -----------------------------------------------------------------------------------------------


def test_round_robin_covers_everyone() -> None:
    for count in (1, 4, 5, 12):
        found = rounds(made("round_robin", clients=count), 60)
        times = Counter(name for each in found for name in each)
        assert max(times.values()) - min(times[name] for name in NAMES) <= 1
        assert set().union(*found[: -(-12 // count)]) == set(NAMES)


def test_whose_turn_comes_while_it_is_away_keeps_it() -> None:
    selector = made("round_robin", clients=3).start(ROSTER)
    assert list(chosen(selector, NAMES[2:], round=1)) == NAMES[2:5]
    assert list(chosen(selector, NAMES, round=2)) == [NAMES[0], NAMES[1], NAMES[5]]


def test_the_fastest_by_what_counts() -> None:
    times = {
        "a": Prospect(5.0, 1.0, 5.0),
        "b": Prospect(1.0, 9.0, 1.0),
        "c": Prospect(2.0, 3.0, 2.0),
        "d": Prospect(2.0, 3.0, 2.0),
    }
    roster = Roster(dict.fromkeys(times, 1.0), times.__getitem__)

    def first(by: str) -> list[str]:
        return list(chosen(made("fastest", clients=2, by=by).start(roster), list(times)))

    assert first("time") == ["c", "d"]  # ties in natural order
    assert first("bandwidth") == ["b", "c"]
    assert first("compute") == ["a", "c"]


def test_fedcs_adds_clients_until_the_deadline() -> None:
    """By hand: uploads one after another, computing meanwhile; the one that prolongs the round least is added next."""
    a, b, c = Prospect(2.0, 1.0, 4.0), Prospect(1.0, 6.0, 3.0), Prospect(9.0, 0.0, 1.0)
    # alone: a 2 + 4 + 1 = 7, b 1 + 3 + 6 = 10, c 9 + 1 + 0 = 10: a, Theta 5, downloads 2
    # then b: 0 + 3 + (6 - 5) = 4, c: 7 + 1 + 0 = 8: b, Theta 9, the round 11
    # then c: Theta 10, downloads 9, the round 19
    assert within([a, b, c], 19.001) == [0, 1, 2]
    assert within([a, b, c], 19.0) == [0, 1]  # less than the deadline
    assert within([a, b, c], 11.0) == [0]
    assert within([a, b, c], 7.0) == []
    assert within([], 7.0) == []


def test_fedcs_asks_a_share() -> None:
    selection = made("fedcs", ask=0.5, deadline=1e6)
    found = rounds(selection, 200)
    assert {len(each) for each in found} == {6}
    assert set().union(*found) == set(NAMES)


def test_power_of_choice_takes_the_largest_losses() -> None:
    """By hand, with everyone drawn: who was never heard comes first, then the largest mean loss."""
    selector = made("power_of_choice", clients=2).start(ROSTER)
    names = NAMES[:4]
    for name, losses in zip(names[:3], [(1.0, 2.0), (4.0, 1.0), (1.9, 1.9)], strict=True):
        selector.observe(Report(name, losses, 1.0))
    assert set(chosen(selector, names)) == {"client3", "client1"}
    selector.observe(Report("client3", (0.1,), 1.0))
    assert list(chosen(selector, names, round=2)) == ["client1", "client2"]
    selector.observe(Report("client1", (0.2,), 1.0))  # the last loss counts
    assert list(chosen(selector, names, round=3)) == ["client2", "client0"]


def test_power_of_choice_draws_its_candidates_by_samples() -> None:
    samples = dict(zip(NAMES[:4], (1.0, 2.0, 3.0, 4.0), strict=True))
    selector = made("power_of_choice", clients=1, candidates=1).start(Roster(samples, ROSTER.prospect))
    times: Counter[str] = Counter()
    for i in range(8000):
        times.update(chosen(selector, NAMES[:4], round=i))
    assert [times[name] / 8000 for name in NAMES[:4]] == pytest.approx([0.1, 0.2, 0.3, 0.4], abs=0.025)


def paths(selection: Selection, homes: Mapping[str, Iterable[str]]) -> list[str]:
    return [fault.path for fault in selection.faults({server: list(names) for server, names in homes.items()})]


def test_faults() -> None:
    homes = {"edge0": NAMES[:5], "edge1": NAMES[5:]}
    assert paths(made("uniform", clients=8), homes) == ["clients"]
    assert paths(made("uniform", clients=7), homes) == []
    assert paths(made("fedcs", ask=8), homes) == ["ask"]
    assert paths(made("probabilities", clients=8), homes) == ["clients"]
    assert paths(made("probabilities", clients=None, given={"nobody": 0.5}), homes) == ["given", "given"]
    assert paths(made("power_of_choice", clients=3, candidates=2), homes) == ["candidates"]
    assert paths(made("power_of_choice", clients=3, candidates=3, over_commit=1.4), homes) == ["candidates"]
    assert paths(made("power_of_choice", clients=3, candidates=4, over_commit=1.4), homes) == ["candidates"]  # 5 of 7
