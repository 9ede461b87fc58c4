"""Batches: which samples come when, and how they are padded."""

from __future__ import annotations

from itertools import islice, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_models import samples

from elsa_sim.learning.tasks.base import Split
from elsa_sim.learning.tasks.data import Batch, Batches, collate, in_chunks

PAD = 99
SPLIT = samples(40)


def batches(indices: np.ndarray, size: int, stream: int = 1) -> Batches:
    return Batches(SPLIT, indices, size, PAD, np.random.default_rng(stream))


def firsts(batch: Batch) -> list[int]:
    """Sample i begins with token i."""
    return batch.tokens[:, 0].tolist()


def check(batch: Batch, split: Split = SPLIT) -> None:
    """A batch holds its samples whole, padded to the longest of them, with their labels."""
    assert batch.shape == (len(batch.lengths), batch.lengths.max())
    assert batch.valid == batch.lengths.sum()
    for row, length, index, label in zip(batch.tokens, batch.lengths, firsts(batch), batch.labels, strict=True):
        np.testing.assert_array_equal(row[:length], split.tokens(index))
        assert (row[length:] == PAD).all()
        assert label == split.labels[index]


def test_samples_are_padded_to_the_longest_of_the_batch() -> None:
    split = Split.of([[1, 2, 3], [4], [5, 6]], np.array([2, 0, 1]))
    batch = collate(split, np.array([1, 2]), PAD)
    assert batch.tokens.tolist() == [[4, PAD], [5, 6]]
    assert batch.lengths.tolist() == [1, 2]
    assert batch.labels.tolist() == [0, 1]
    assert (batch.tokens.dtype, batch.lengths.dtype, batch.labels.dtype) == (np.int64,) * 3
    assert collate(Split.of([[1, 2]]), np.array([0]), PAD).labels is None


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 12), st.integers(0, 5))
def test_an_epoch_has_every_sample_at_most_once_and_whole_batches_only(count: int, size: int, stream: int) -> None:
    indices = np.arange(40)[-count:]
    source = batches(indices, size, stream)
    each = min(size, count)
    for _ in range(3):
        epoch = list(islice(source, count // each))
        for batch in epoch:
            check(batch)
            assert len(batch.lengths) == each
        seen = [index for batch in epoch for index in firsts(batch)]
        assert len(seen) == len(set(seen)) == count // each * each
        assert set(seen) <= set(indices.tolist())


def test_what_an_epoch_leaves_out_is_a_matter_of_chance() -> None:
    source = batches(np.arange(10), 4)
    left = [set(range(10)) - {i for batch in islice(source, 2) for i in firsts(batch)} for _ in range(30)]
    assert all(len(rest) == 2 for rest in left)
    assert set().union(*left) == set(range(10))


def test_the_order_depends_on_the_stream_only() -> None:
    indices = np.arange(20)
    one = [firsts(batch) for batch in islice(batches(indices, 6, 1), 12)]
    other = batches(np.arange(20), 3, 9)
    two = []
    for batch in islice(batches(indices, 6, 1), 12):
        next(other)
        two.append(firsts(batch))
    assert one == two
    assert one != [firsts(batch) for batch in islice(batches(indices, 6, 2), 12)]
    assert len({tuple(row) for row in one}) == 12, "an epoch repeats the order of the one before"
    assert indices.tolist() == list(range(20)), "the indices were shuffled in place"


def test_a_client_costs_indices_not_copies_of_the_data() -> None:
    indices = np.arange(5)
    source = batches(indices, 2)
    next(source)
    assert source.indices is indices
    assert source.split is SPLIT


@settings(deadline=None)
@given(st.lists(st.integers(1, 30), max_size=40), st.integers(1, 100))
def test_chunks_cover_every_sample_once_within_their_budget(lengths: list[int], budget: int) -> None:
    split = Split.of([[i] * length for i, length in enumerate(lengths)], np.arange(len(lengths)))
    chunks = list(in_chunks(split, budget, PAD))
    for chunk in chunks:
        check(chunk, split)
        assert chunk.tokens.size <= budget or len(chunk.lengths) == 1, "only a sample that is too long stands alone"
    assert sorted(i for chunk in chunks for i in firsts(chunk)) == list(range(len(lengths)))
    longest = [chunk.shape[1] for chunk in chunks]
    assert longest == sorted(longest)
    for one, two in pairwise(chunks):
        assert (len(one.lengths) + 1) * two.lengths[0] > budget, "a chunk ended early"


def test_an_endless_stream() -> None:
    source = batches(np.arange(3), 2)
    assert iter(source) is source
    assert len(list(islice(source, 100))) == 100
    with pytest.raises(IndexError):
        collate(SPLIT, np.array([40]), PAD)


def test_outlines_are_the_same_batches_without_tokens() -> None:
    """Where nothing is computed: the same samples are drawn, with their lengths and labels, and nobody pads."""
    whole = batches(np.arange(40), 8)
    bare = Batches(SPLIT, np.arange(40), 8, PAD, np.random.default_rng(1), outlines=True)
    for one, other in islice(zip(whole, bare, strict=True), 12):
        assert (one.shape, one.valid) == (other.shape, other.valid)
        np.testing.assert_array_equal(one.lengths, other.lengths)
        np.testing.assert_array_equal(one.labels, other.labels)
        assert one.lengths.dtype == other.lengths.dtype
        assert not other.tokens.any()
