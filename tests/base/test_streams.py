"""Random streams: one seed, one generator per name, and nothing in common between them."""

from __future__ import annotations

import random

import numpy as np
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from elsa_sim.base.streams import Streams

parts = st.text(max_size=5) | st.integers(-3, 10**6)
names = st.lists(parts, min_size=1, max_size=3)


@given(st.integers(0, 2**70), names)
def test_a_stream_is_a_function_of_seed_and_name(seed: int, name: list[str | int]) -> None:
    one, two = Streams(seed), Streams(seed)
    one.numpy("other").random(10)
    assert one.integer(*name) == two.integer(*name)
    assert 0 <= one.integer(*name) < 2**63
    assert one.integer(*name) != Streams(seed + 1).integer(*name)
    np.testing.assert_array_equal(one.numpy(*name).random(5), two.numpy(*name).random(5))


@given(names, names)
def test_other_names_are_other_streams(one: list[str | int], two: list[str | int]) -> None:
    assume(list(map(str, one)) != list(map(str, two)))
    streams = Streams(7)
    assert streams.integer(*one) != streams.integer(*two)


def test_names_that_join_alike_are_other_streams() -> None:
    streams = Streams(1)
    alike = [("a", "b"), ("a/b",), ("a/", "b"), ("a", "/b"), ("a\\", "b"), ("a\\/b",), ("a", "b", ""), ("", "a", "b")]
    assert len({streams.integer(*name) for name in alike}) == len(alike)
    assert Streams(11).integer("a") != Streams(1).integer("1", "a")
    assert streams.integer("batches", 7) == streams.integer("batches", "7")


def test_using_one_stream_does_not_move_another() -> None:
    streams = Streams(3)
    expected = streams.numpy("b").random(4)
    other, mine = streams.numpy("a"), streams.numpy("b")
    got = []
    for _ in range(4):
        other.random(100)
        got.append(mine.random())
    np.testing.assert_array_equal(got, expected)


def test_streams_are_not_correlated() -> None:
    draws = np.stack([Streams(0).numpy("batches", i).standard_normal(4000) for i in range(20)])
    correlation = np.corrcoef(draws) - np.eye(20)
    assert np.abs(correlation).max() < 5 / np.sqrt(4000)
    seeds = [Streams(0).integer("x", i) for i in range(2000)]
    assert len(set(seeds)) == 2000
    assert abs(np.mean([seed / 2**63 for seed in seeds]) - 0.5) < 0.03


def test_values_are_pinned() -> None:
    """The same scenario and seed meet the same data and stragglers in every version of the program."""
    assert Streams(7).integer("batches", 3) == 5558990179469967019
    assert Streams(7).integer("partition") == 3502189302364384949
    assert Streams(7).numpy("partition").integers(0, 1000, 4).tolist() == [776, 509, 958, 22]


def test_no_global_random_state_is_read_or_written() -> None:
    legacy = np.random.get_state()  # noqa: NPY002
    before = random.getstate(), legacy[1].tolist(), legacy[2]
    state = torch.random.get_rng_state()
    first = Streams(5).numpy("x").random(3)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        again = Streams(5).numpy("x").random(3)
    legacy = np.random.get_state()  # noqa: NPY002
    assert (random.getstate(), legacy[1].tolist(), legacy[2]) == before
    assert torch.equal(torch.random.get_rng_state(), state)
    np.testing.assert_array_equal(first, again)


def test_uniform_numbers_are_uniform_and_of_their_stream() -> None:
    numbers = [Streams(1).uniform("a", i) for i in range(10_000)]
    assert all(0.0 < each < 1.0 for each in numbers)
    assert len(set(numbers)) == 10_000
    below = np.searchsorted(np.sort(numbers), np.arange(1, 10) / 10) / 10_000
    assert np.abs(below - np.arange(1, 10) / 10).max() < 0.0195  # Kolmogorov-Smirnov at 0.1 %
    assert Streams(1).uniform("a", 3) == numbers[3] != Streams(2).uniform("a", 3)
