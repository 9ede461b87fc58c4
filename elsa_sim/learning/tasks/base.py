"""What every task is: texts with classes, read from somewhere, and the token ids made of them.

A task *reads* (no tensor library needed, so `elsa-sim check` may call it) and is then *tokenised* once, with the
tokenizer it brings itself or with that of the backbone. Token ids of all samples lie in one flat array.

Does not model: sentence pairs with segment ids, several labels per text, regression, packing of several texts into
one sample.

Tested in tests/learning/tasks/test_tasks.py.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ...base.context import Context
from ...base.errors import Fault, InputFaults
from ...base.registry import Component
from ...base.units import MOST_COUNT

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def fault(path: str, message: str) -> InputFaults:
    """A single fault, ready to be raised; ``path`` is relative to the section."""
    return InputFaults([Fault(path, message)])


Objective = Literal["classification", "causal_lm"]


@dataclass(frozen=True)
class Split:
    """Token ids of one part of a data set, without padding.

    ``ids`` int32 [tokens], sample i is ``ids[offsets[i]:offsets[i + 1]]``; ``offsets`` int64 [samples + 1];
    ``labels`` int64 [samples] (``None``: language modelling); ``columns`` name -> [samples], for partitions by column.
    """

    ids: NDArray[np.int32]
    offsets: NDArray[np.int64]
    labels: NDArray[np.int64] | None = None
    columns: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def tokens(self, index: int) -> NDArray[np.int32]:
        """The token ids of one sample, a view."""
        return self.ids[self.offsets[index] : self.offsets[index + 1]]

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens per sample, special tokens included."""
        return np.diff(self.offsets)

    @classmethod
    def of(
        cls,
        samples: Sequence[Sequence[int]],
        labels: NDArray[np.int64] | None = None,
        columns: Mapping[str, NDArray[Any]] | None = None,
    ) -> Split:
        """Pack lists of token ids."""
        offsets = np.zeros(len(samples) + 1, dtype=np.int64)
        np.cumsum([len(sample) for sample in samples], out=offsets[1:])
        ids = np.fromiter((token for sample in samples for token in sample), dtype=np.int32, count=int(offsets[-1]))
        return cls(ids, offsets, labels, columns or {})


@dataclass(frozen=True)
class Dataset:
    """A tokenised task. ``labels`` are the class names, ``()`` for language modelling."""

    train: Split
    test: Split
    labels: tuple[str, ...]
    vocab_size: int
    pad_id: int
    public: Split = field(default_factory=lambda: Split.of([]))


@dataclass(frozen=True)
class TextSplit:
    """One part of a task before tokenisation: n texts, n class indices (or ``None``), and columns of n values."""

    texts: list[str]
    labels: NDArray[np.int64] | None = None
    columns: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, indices: NDArray[np.int64]) -> TextSplit:
        """The samples at ``indices``, in that order."""
        return TextSplit(
            [self.texts[i] for i in indices],
            None if self.labels is None else self.labels[indices],
            {name: values[indices] for name, values in self.columns.items()},
        )


@dataclass(frozen=True)
class Texts:
    """A task before tokenisation. ``labels`` are the class names, ``()`` for language modelling."""

    train: TextSplit
    test: TextSplit
    labels: tuple[str, ...] = ()
    public: TextSplit = field(default_factory=lambda: TextSplit([]))
    notes: tuple[str, ...] = ()
    """What a user may not expect of the data."""

    def words_in_public(self) -> float:
        """The share of the words of the training texts, parted by white space, that public texts have, too."""
        words, public = (
            Counter(word for text in part.texts for word in text.lower().split()) for part in (self.train, self.public)
        )
        return sum(count for word, count in words.items() if word in public) / max(1, words.total())


class Vocabulary(NamedTuple):
    """What is known of a tokenizer that need not exist yet."""

    size: int
    """Token ids it can give, [0, size)."""
    special: int
    """Tokens it adds to a text."""


class Task(Component):
    """A text task: where its data come from and how they are cut into samples and batches."""

    family: ClassVar[str] = "task"
    #: Whether there are lengths in the place of texts, so that nothing can be computed: timing mode only.
    textless: ClassVar[bool] = False

    objective: Objective = "classification"
    """What is learned: the class of a text (accuracy, macro-F1), or its next token (loss, perplexity)."""
    max_length: int = Field(default=64, ge=2, le=MOST_COUNT)
    """Longest sample in tokens, special tokens included; longer texts are cut."""
    batch_size: int = Field(default=16, ge=1, le=MOST_COUNT)
    """Samples per training batch."""
    train_limit: int | None = Field(default=None, ge=1, le=MOST_COUNT)
    """Use a random subset of this many training texts at most (seeded)."""
    test_limit: int | None = Field(default=None, ge=1, le=MOST_COUNT)
    """Use a random subset of this many test texts at most (seeded)."""
    public: int = Field(default=0, ge=0, le=MOST_COUNT)
    """Training texts to set apart, at random (seeded): nobody trains on them, and everybody knows them, attackers too."""
    public_file: str | None = None
    """File that the public texts come from instead, one per line (UTF-8): absolute, relative to the scenario file, or to
    $ELSA_SIM_DATA."""

    def read(self, context: Context) -> Texts:
        """The texts of the task, ``public`` set apart, the others cut to ``train_limit`` and ``test_limit``.

        Raises:
            InputFaults: the data cannot be used; all faults, their paths relative to the task's section.
        """
        texts = self.load(context)
        if self.public_file is not None:
            texts = replace(texts, public=self._foreign(self.public_file, context))
        elif self.public:
            if self.public >= len(texts.train):
                raise fault("public", f"{self.public} of {len(texts.train)} training texts leave none to train on")
            order = context.streams.numpy("task", "public").permutation(len(texts.train))
            apart, rest = np.sort(order[: self.public]), np.sort(order[self.public :])
            texts = replace(texts, train=texts.train.take(rest), public=texts.train.take(apart))

        def limited(part: TextSplit, limit: int | None, name: str) -> TextSplit:
            if limit is None or limit >= len(part):
                return part
            rng = context.streams.numpy("task", "limit", name)
            return part.take(np.sort(rng.choice(len(part), limit, replace=False)))

        return replace(
            texts,
            train=limited(texts.train, self.train_limit, "train"),
            test=limited(texts.test, self.test_limit, "test"),
        )

    def _foreign(self, path: str, context: Context) -> TextSplit:
        """``public`` texts of a file, at random."""
        if not self.public:
            raise fault("public_file", "has no effect without public, the number of texts that are taken from it")
        try:
            lines = context.read(path, "public_file").decode("utf-8").removeprefix("\ufeff").splitlines()
        except UnicodeDecodeError as error:
            raise fault("public_file", f"{path} is not utf-8: {error.reason} at offset {error.start}") from None
        found = [line.strip() for line in lines if line.strip()]
        if len(found) < self.public:
            raise fault("public", f"{path} has {len(found)} lines with text, fewer than {self.public}")
        order = context.streams.numpy("task", "public").permutation(len(found))
        return TextSplit([found[i] for i in np.sort(order[: self.public])])

    @abstractmethod
    def load(self, context: Context) -> Texts:
        """All texts of the task; a member of the family implements this.

        Raises:
            InputFaults: the data cannot be used; all faults, their paths relative to the task's section.
        """

    def files(self) -> Mapping[str, Path]:
        """Files that another library reads for it, by name; those read through the context are known."""
        return {}

    def tokenizer(self, texts: Texts) -> PreTrainedTokenizerFast | None:
        """The task's own tokenizer, or ``None`` to use that of the backbone."""
        return None

    def fits(self, special: int, longest: int | None = None) -> None:
        """Raise if samples cannot hold text beside ``special`` tokens of a tokenizer, or are too long for a backbone.

        Raises:
            InputFaults: at ``max_length``.
        """
        if self.max_length <= special:
            raise fault(
                "max_length",
                f"{self.max_length} leaves no room for text beside the {special} special "
                f"tokens of the tokenizer; at least {special + 1}",
            )
        if longest is not None and self.max_length > longest:
            raise fault("max_length", f"the backbone has no positions beyond {longest} tokens, got {self.max_length}")

    def within(self, texts: Texts) -> Self:
        """This task with ``max_length`` that of the longest of its texts, where their lengths are known beforehand."""
        return self

    def vocabulary(self, texts: Texts) -> Vocabulary | None:
        """That of the task's own tokenizer; where it can be told without making one, a check is quicker."""
        own = self.tokenizer(texts)
        return None if own is None else Vocabulary(len(own), int(own.num_special_tokens_to_add()))

    def counted(self, texts: Texts, vocabulary: int) -> Dataset:
        """What :func:`.tokenising.tokenize` would give, of a task without texts; tokens are of so many kinds."""
        raise NotImplementedError
