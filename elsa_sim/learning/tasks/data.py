"""Batches: which samples of a client come when, padded to the longest of the batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from .base import Split

IntArray = npt.NDArray[np.int64]
_NO_TOKEN = np.zeros((), dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Batch:
    """Some samples: token ids [B, T] padded on the right, true lengths [B], labels [B] or ``None``."""

    tokens: IntArray
    lengths: IntArray
    labels: IntArray | None

    @property
    def shape(self) -> tuple[int, int]:
        """(B, T)."""
        return self.tokens.shape[0], self.tokens.shape[1]

    @cached_property
    def valid(self) -> int:
        """Number of valid tokens n."""
        return int(self.lengths.sum())

    @property
    def truth(self) -> IntArray:
        """What a loss needs to know beside states: classes [B], or the valid tokens themselves [n]."""
        if self.labels is not None:
            return self.labels
        return np.concatenate([row[:length] for row, length in zip(self.tokens, self.lengths, strict=True)])


def collate(split: Split, indices: npt.NDArray[np.integer], pad_id: int) -> Batch:
    """The samples at ``indices``, padded to the longest of them."""
    rows = [split.tokens(int(i)) for i in indices]
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    tokens = np.full((len(rows), int(lengths.max())), pad_id, dtype=np.int64)
    for row, line in zip(rows, tokens, strict=True):
        line[: len(row)] = row
    labels = None if split.labels is None else split.labels[indices].astype(np.int64)
    return Batch(tokens, lengths, labels)


def outlined(split: Split, indices: npt.NDArray[np.integer]) -> Batch:
    """What :func:`collate` gives, with a zero in the place of every token: where nothing is computed, nobody reads them."""
    lengths = split.lengths[indices]
    tokens = np.broadcast_to(_NO_TOKEN, (len(lengths), int(lengths.max())))
    labels = None if split.labels is None else split.labels[indices]
    return Batch(tokens, lengths, labels)


def joined(batches: Sequence[Batch]) -> Batch:
    """One batch of the samples of several, in their order, padded (with token 0) to the longest of all."""
    lengths = np.concatenate([batch.lengths for batch in batches])
    tokens = np.zeros((len(lengths), int(lengths.max())), dtype=np.int64)
    row = 0
    for batch in batches:
        rows, width = batch.shape
        tokens[row : row + rows, :width] = batch.tokens
        row += rows
    labels = [batch.labels for batch in batches if batch.labels is not None]
    return Batch(tokens, lengths, np.concatenate(labels) if labels else None)


class Batches(Iterator[Batch]):
    """An endless stream of shuffled batches over ``indices``; an incomplete batch at an epoch's end is left out."""

    def __init__(
        self,
        split: Split,
        indices: npt.NDArray[np.integer],
        size: int,
        pad_id: int,
        rng: np.random.Generator,
        *,
        outlines: bool = False,
    ) -> None:
        """With ``outlines``, batches have no tokens; see :func:`outlined`."""
        self.split, self.indices, self.pad_id, self.rng, self.outlines = split, indices, pad_id, rng, outlines
        self.size = min(size, len(indices))
        self._order = indices[:0]

    def __next__(self) -> Batch:
        if len(self._order) < self.size:
            self._order = self.rng.permutation(self.indices)
        taken, self._order = self._order[: self.size], self._order[self.size :]
        return outlined(self.split, taken) if self.outlines else collate(self.split, taken, self.pad_id)


def in_chunks(split: Split, tokens: int, pad_id: int) -> Iterator[Batch]:
    """All samples of ``split`` by length, in batches of about ``tokens`` padded tokens: little padding is computed."""
    order = np.argsort(split.lengths, kind="stable")
    lengths = split.lengths[order]
    start = 0
    while start < len(order):
        stop = start + 1
        while stop < len(order) and (stop + 1 - start) * lengths[stop] <= tokens:
            stop += 1
        yield collate(split, order[start:stop], pad_id)
        start = stop
