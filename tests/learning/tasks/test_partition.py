"""Laws of every partition, and the shape of each kind."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elsa_sim.base.errors import InputFaults
from elsa_sim.learning.tasks.base import Split
from elsa_sim.learning.tasks.partition import ByColumn, Dirichlet, Iid, Partition, Quantity, Shards

KINDS = [
    Iid(),
    Quantity(alpha=0.5),
    Dirichlet(alpha=0.5),
    Dirichlet(alpha=0.5, column="place"),
    Shards(shards=2),
    ByColumn(column="place"),
]


def make(labels: list[int] | np.ndarray | None, places: list[str] | None = None, size: int = 0) -> Split:
    size = len(labels) if labels is not None else len(places) if places is not None else size
    columns = {"place": np.array(places, dtype=object)} if places is not None else {}
    array = None if labels is None else np.asarray(labels, dtype=np.int64)
    return Split.of([[1, 2]] * size, array, columns)


def check_laws(split: Split, parts: list[np.ndarray], clients: int, min_samples: int = 1) -> None:
    assert len(parts) == clients
    together = np.concatenate(parts)
    assert sorted(together.tolist()) == list(range(len(split))), "not a partition of the samples"
    for part in parts:
        assert part.dtype == np.int64
        assert (np.diff(part) > 0).all(), "not sorted"
        assert len(part) >= min_samples


@st.composite
def splits(draw: st.DrawFn) -> Split:
    size = draw(st.integers(1, 200))
    classes = draw(st.integers(1, 8))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return make(rng.integers(classes, size=size), [f"p{value}" for value in rng.integers(30, size=size)])


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.kind}-{getattr(kind, 'column', None)}")
@given(split=splits(), clients=st.integers(1, 12), seed=st.integers(0, 2**32), min_samples=st.integers(1, 3))
def test_a_partition_is_disjoint_complete_sorted_and_repeatable_or_refused(
    kind: Partition, split: Split, clients: int, seed: int, min_samples: int
) -> None:
    kind = kind.model_copy(update={"min_samples": min_samples})
    try:
        parts = kind.split(split, clients, np.random.default_rng(seed))
    except InputFaults:
        assert clients > 1 or len(split) < min_samples, "one client can always be served"
        return
    check_laws(split, parts, clients, min_samples)
    again = kind.split(split, clients, np.random.default_rng(seed))
    assert all(np.array_equal(a, b) for a, b in zip(parts, again, strict=True))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda parts: [*parts[:-1], parts[-1][:-1]],  # a sample is lost
        lambda parts: [*parts[:-1], np.append(parts[-1], parts[0][-1])],  # a sample is on two clients
        lambda parts: [part[::-1] for part in parts],  # not sorted
        lambda parts: [np.concatenate(parts), np.array([], dtype=np.int64)],  # an empty client
    ],
)
def test_the_laws_refuse_a_spoiled_partition(spoil) -> None:
    split = make([0, 1] * 10)
    with pytest.raises(AssertionError):
        check_laws(split, spoil(Iid().split(split, 2, np.random.default_rng(0))), 2)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_other_seeds_deal_other_samples_and_one_client_holds_all(kind: Partition) -> None:
    split = make([i % 4 for i in range(400)], [f"p{i % 40}" for i in range(400)])
    one, other = (kind.split(split, 5, np.random.default_rng(seed)) for seed in (1, 2))
    assert any(not np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    [alone] = kind.split(split, 1, np.random.default_rng(1))
    assert np.array_equal(alone, np.arange(400))


def test_iid_has_equal_sizes_and_mixed_classes() -> None:
    split = make(np.arange(1003) % 5)
    parts = Iid().split(split, 10, np.random.default_rng(0))
    assert {len(part) for part in parts} == {100, 101}
    assert all(len(np.unique(split.labels[part])) == 5 for part in parts)


@given(alpha=st.sampled_from([1e-300, 1e-7, 1e-5, 1e-3, 0.1, 1.0, 100.0, 1e300]), seed=st.integers(0, 1000))
def test_dirichlet_takes_any_positive_alpha(alpha: float, seed: int) -> None:
    split = make(np.arange(600) % 6)
    rng = np.random.default_rng(seed)
    for kind in (Dirichlet(alpha=alpha), Quantity(alpha=alpha)):
        parts = kind.deal(split, 5, rng)
        assert sorted(np.concatenate(parts).tolist()) == list(range(600))


def test_dirichlet_counts_follow_its_own_draws() -> None:
    """The counts of each class are the shares of the Dirichlet draw, to within one sample."""
    labels = np.repeat([0, 1, 2], [500, 300, 200])

    class Recorded(np.random.Generator):
        drawn: list[np.ndarray]

        def dirichlet(self, alpha, size=None):
            assert list(alpha) == [0.7] * 4
            self.drawn.append(super().dirichlet(alpha, size))
            return self.drawn[-1]

    rng = Recorded(np.random.PCG64(3))
    rng.drawn = []
    parts = Dirichlet(alpha=0.7).split(make(labels), 4, rng)
    for group, (count, shares) in enumerate(zip([500, 300, 200], rng.drawn[-1], strict=True)):
        held = np.array([(labels[part] == group).sum() for part in parts])
        assert np.abs(held - shares * count).max() <= 1.0


def test_dirichlet_shares_have_the_variance_of_the_distribution() -> None:
    """Mean 1/N and variance (1/N)(1 - 1/N)/(N alpha + 1) of a client's share of a class."""
    clients, alpha, labels = 5, 0.5, np.repeat(np.arange(4), 1000)
    split = make(labels)
    rng = np.random.default_rng(0)
    shares = np.array(
        [
            [
                np.bincount(labels[part], minlength=4) / 1000
                for part in Dirichlet(alpha=alpha).split(split, clients, rng)
            ]
            for _ in range(300)
        ]
    )
    assert shares.mean() == pytest.approx(1 / clients, abs=1e-9)
    assert shares.var() == pytest.approx((1 / clients) * (1 - 1 / clients) / (clients * alpha + 1), rel=0.05)


def test_a_large_alpha_is_nearly_iid() -> None:
    labels = np.repeat(np.arange(4), 1000)
    for part in Dirichlet(alpha=1e6).split(make(labels), 5, np.random.default_rng(0)):
        assert np.abs(np.bincount(labels[part], minlength=4) - 200).max() <= 2


def test_shards_bound_the_classes_of_a_client() -> None:
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(10), 60))
    parts = Shards(shards=2).split(make(labels), 15, np.random.default_rng(0))
    assert {len(part) for part in parts} == {40}
    assert all(len(np.unique(labels[part])) <= 2 for part in parts)  # 30 shards of 20: none straddles two classes of 60


def test_a_column_value_stays_on_one_client_and_values_are_spread() -> None:
    places = [f"p{i % 7}" for i in range(70)]
    parts = ByColumn(column="place").split(make(None, places), 3, np.random.default_rng(0))
    values = [{places[i] for i in part} for part in parts]
    assert sorted(map(len, values)) == [2, 2, 3]
    assert sum(map(len, values)) == 7


def test_quantity_skews_sizes_only() -> None:
    labels = np.arange(10_000) % 4
    sizes = [len(part) for part in Quantity(alpha=0.3).split(make(labels), 8, np.random.default_rng(0))]
    assert max(sizes) > 3 * min(sizes)
    for part in Quantity(alpha=2.0).split(make(labels), 4, np.random.default_rng(0)):
        assert np.abs(np.bincount(labels[part]) / len(part) - 0.25).max() < 0.1


@pytest.mark.parametrize(
    ("kind", "split", "path", "parts_of_message"),
    [
        (Iid(), make([0, 1]), "", ["2 training samples", "3 clients", "fewer clients"]),
        (
            Dirichlet(alpha=1e-9),
            make([0] * 60),
            "",
            ["clients hold fewer than 1", "1000 draws", "raise alpha"],
        ),
        (Quantity(alpha=1e-9), make([0] * 60), "", ["clients hold fewer", "raise alpha"]),
        (Dirichlet(alpha=1.0), make(None, size=60), "kind", ["no class labels", "by_column"]),
        (Shards(), make(None, size=60), "kind", ["no class labels"]),
        (Shards(shards=30), make([0] * 60), "shards", ["90 samples", "at most 20 shards"]),
        (ByColumn(column="place"), make(None, ["a", "b"] * 30), "column", ["2 values", "clients 2 to 2"]),
        (ByColumn(column="plac"), make(None, ["a", "b"] * 30), "column", ["'place'", "did you mean 'place'"]),
        (ByColumn(column="place"), make([0] * 60), "column", ["it has none"]),
    ],
)
def test_what_cannot_be_dealt_is_a_fault_with_a_way_out(kind, split, path, parts_of_message) -> None:
    with pytest.raises(InputFaults) as caught:
        kind.split(split, 3, np.random.default_rng(0))
    [fault] = caught.value.faults
    assert fault.path == path
    assert all(part in fault.message for part in parts_of_message), fault.message


def test_the_empty_clients_are_named() -> None:
    class LeavesTwoEmpty(Partition):
        def deal(self, split, clients, rng):
            return [np.arange(len(split)), *[np.array([], dtype=np.int64)] * (clients - 1)]

    with pytest.raises(InputFaults, match=r"2 of 3 clients hold fewer than 1 samples: 1, 2 \(counted from 0\)"):
        LeavesTwoEmpty(kind="uneven").split(make([0, 1, 0]), 3, np.random.default_rng(0))


@pytest.mark.parametrize("options", [{"alpha": 0.0}, {"alpha": -1.0}, {"alpha": float("nan")}, {"alpha": "0.5"}, {}])
def test_alpha_is_positive(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="alpha"):
        Dirichlet(**options)


def test_no_clients_at_all_is_a_programming_error() -> None:
    with pytest.raises(ValueError, match="clients"):
        Iid().split(make([0]), 0, np.random.default_rng(0))
