"""How long texts are, without the texts: enough for time and bytes, of any model and data set, and for nothing else.

Lengths are tokens, special ones included. They are fixed, drawn from a log-normal distribution (its logarithm is normal with
standard deviation ``sigma``, rounded to whole tokens), or read from a file. Longer ones are cut to ``max_length``, as a tokenizer
cuts texts, and ones of less than a token (two, for language modelling) are lengthened; a note says how many.

Does not model: words, so nothing can be learned: timing mode only.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Discriminator, Field, Tag, model_validator

from ...base.context import Context
from ...base.registry import Options
from ...base.units import MOST_COUNT, MOST_FACTOR
from .base import Dataset, Split, Task, Texts, TextSplit, fault

MOST_SAMPLES = 10_000_000
#: Samples where a scenario does not say how many.
_USUAL = 2000


class LogNormal(Options):
    """Lengths whose logarithm is normal: many short ones, few long ones."""

    kind: Literal["log_normal"] = "log_normal"
    """What the distribution is called."""
    median: float | None = Field(default=None, ge=1, le=MOST_COUNT)
    """Tokens of the median length; instead of ``mean``."""
    mean: float | None = Field(default=None, ge=1, le=MOST_COUNT)
    """Tokens of the mean length, before any is cut; instead of ``median``, which is this times exp(-sigma^2 / 2)."""
    sigma: float = Field(ge=0, le=MOST_FACTOR)
    """Standard deviation of the natural logarithm of the length."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.median is None) == (self.mean is None):
            raise ValueError("state median or mean, one of them")
        return self

    def draw(self, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """So many lengths, not yet cut [count]."""
        location = math.log(self.median or self.mean or 1.0) - (0.0 if self.median else self.sigma**2 / 2)
        with np.errstate(over="ignore"):  # what is infinitely long is cut, too
            return np.asarray(np.rint(np.exp(location + self.sigma * rng.standard_normal(count))))


def _form(value: Any) -> str:
    return "distribution" if isinstance(value, dict | LogNormal) else "tokens"


class Lengths(Task):
    """Lengths of sequences in the place of texts: for timing mode, with a backbone of any size and no tokenizer."""

    textless: ClassVar[bool] = True

    kind: Literal["lengths"] = "lengths"
    length: (
        Annotated[
            Annotated[int, Field(ge=1, le=MOST_COUNT), Tag("tokens")] | Annotated[LogNormal, Tag("distribution")],
            Discriminator(_form),
        ]
        | None
    ) = None
    """Tokens of every sequence, or their distribution."""
    file: str | None = None
    """File with the length of one training sequence per line, in tokens, instead of ``length``: absolute, relative to the
    scenario file, or to $ELSA_SIM_DATA."""
    train_size: int | None = Field(default=None, ge=1, le=MOST_SAMPLES)
    """Training sequences; by default 2000, and with ``file`` as many as it has lines."""
    classes: int | None = Field(default=None, ge=2, le=100_000)
    """Classes, each as frequent as the others; by default 2. Not for causal_lm."""

    @model_validator(mode="before")
    @classmethod
    def _longest(cls, data: Any) -> Any:
        """The longest is a fixed length, where nothing else is said."""
        if (
            isinstance(data, dict)
            and type(data.get("length")) is int
            and "max_length" not in data
            and data["length"] > 1
        ):
            return {**data, "max_length": data["length"]}
        return data

    @model_validator(mode="after")
    def _possible(self) -> Self:
        problems = list(self._problems())
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _problems(self) -> Iterator[str]:
        if (self.length is None) == (self.file is None):
            yield "state length or file, one of them"
        elif "max_length" not in self.model_fields_set:
            yield "state max_length, in tokens; longer sequences are cut to it"
        if isinstance(self.length, int) and self.length < self._shortest:
            yield f"length must be at least {self._shortest} for {self.objective}, got {self.length}"
        if self.file is not None and self.train_size is not None:
            yield "train_size has no effect with file, whose lines are counted; train_limit takes fewer"
        if self.classes is not None and self.objective == "causal_lm":
            yield "classes has no effect with objective causal_lm"
        if self.public_file is not None:
            yield "public_file has no effect, as there are no texts; public sets lengths apart"
        if self.test_limit is not None:
            yield "test_limit has no effect, as nothing is tested"

    @property
    def _shortest(self) -> int:
        return 2 if self.objective == "causal_lm" else 1

    def load(self, context: Context) -> Texts:
        """The lengths, as a column of texts that are empty; no test.

        Raises:
            InputFaults: (at ``file``) it cannot be read, or a line is no length.
        """
        asked = self._asked(context)
        lengths = np.clip(asked, self._shortest, self.max_length).astype(np.int64)
        notes = [f"{100 * share:.3g} % of the lengths are {how}" for share, how in (
            (float((asked > self.max_length).mean()), f"cut to max_length, {self.max_length} tokens"),
            (float((asked < self._shortest).mean()), f"below {self._shortest} tokens, and lengthened"),
        ) if share]  # fmt: skip
        count, labels, names = len(lengths), None, tuple[str, ...]()
        if self.objective == "classification":
            classes = self.classes or 2
            labels = context.streams.numpy("task", "lengths", "labels").permutation(np.arange(count) % classes)
            names = tuple(f"class{number}" for number in range(classes))
        train = TextSplit([""] * count, labels, {"length": lengths})
        none = TextSplit([], None if labels is None else labels[:0], {"length": lengths[:0]})
        return Texts(train, none, names, notes=tuple(notes))

    def within(self, texts: Texts) -> Self:
        return self.model_copy(update={"max_length": int(texts.train.columns["length"].max())})

    def _asked(self, context: Context) -> NDArray[np.float64]:
        """Lengths as they are stated, whatever they are [n]."""
        if self.file is not None:
            return _of_lines(context.read(self.file, "file"), self.file)
        count = self.train_size or _USUAL
        if isinstance(self.length, LogNormal):
            return self.length.draw(count, context.streams.numpy("task", "lengths"))
        return np.full(count, float(self.length or 0))

    def counted(self, texts: Texts, vocabulary: int) -> Dataset:
        def split(part: TextSplit) -> Split:
            offsets = np.zeros(len(part) + 1, dtype=np.int64)
            if len(part):
                np.cumsum(part.columns["length"], out=offsets[1:])
            ids = np.broadcast_to(np.int32(0), (int(offsets[-1]),))  # a token for all, so that it takes no memory
            return Split(ids, offsets, part.labels, part.columns)

        return Dataset(split(texts.train), split(texts.test), texts.labels, vocabulary, 0, split(texts.public))


def _of_lines(data: bytes, path: str) -> NDArray[np.float64]:
    found = []
    for number, line in enumerate(data.decode("utf-8-sig", errors="replace").splitlines(), start=1):
        if text := line.strip():
            if not (text.isascii() and text.isdecimal() and 0 < int(text) <= MOST_COUNT):
                what = f"{path}, line {number}: {text[:40]!r} is no length"
                raise fault("file", f"{what}; one whole number of tokens per line, from 1 to {MOST_COUNT}")
            found.append(float(text))
    if not found:
        raise fault("file", f"{path} has no lengths; one whole number of tokens per line")
    return np.array(found)
