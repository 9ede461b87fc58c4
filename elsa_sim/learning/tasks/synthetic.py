"""A made-up language with topics, drawn from the seed: no file, no download, no pretrained tokenizer.

There are ``topics`` vocabularies of ``topic_words`` words, disjoint, and one of ``shared_words``. A sentence of topic
t has a length drawn uniformly from ``length``. Each of its words comes from the vocabulary of t with probability
``purity``, else from the shared one. Within that vocabulary it is, with probability ``predictability``, the fixed
successor of the previous word, else drawn uniformly. Classification recovers t; its Bayes error is at least the
chance of a sentence without a topic word, (1 - purity)**length, times (1 - 1/topics). Language modelling can learn
the successors: with s = predictability and V words in the vocabulary, one word costs the entropy of (purity,
1 - purity) plus that of (s + (1 - s)/V, (1 - s)/V, ...).

Does not model: grammar, word frequencies of natural text (Zipf), ambiguous words, label noise.

Tested in tests/learning/tasks/test_tasks.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from ...base.context import Context
from ...base.registry import Items
from ...base.units import MOST_COUNT
from .base import Task, Texts, TextSplit, Vocabulary

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_SYLLABLES = tuple(consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou")
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_MOST_WORDS = 100_000
MOST_TEXTS, _MOST_LENGTH = 10_000_000, 100_000  # what memory holds; words of a book
_MOST_MADE = 40_000_000  # words in all: some ten seconds of every check


class Synthetic(Task):
    """Sentences of made-up words whose topic is the class, from a seeded generator; works offline."""

    kind: Literal["synthetic"] = "synthetic"
    topics: int = Field(default=4, ge=2, le=1000)
    """Number of topics: the classes."""
    topic_words: int = Field(default=20, ge=1, le=MOST_COUNT)
    """Words that belong to one topic."""
    shared_words: int = Field(default=200, ge=1, le=MOST_COUNT)
    """Words that all topics use."""
    length: Items[tuple[int, int]] = (8, 20)
    """Shortest and longest sentence, in words."""
    purity: float = Field(default=0.5, gt=0.0, le=1.0)
    """Probability that a word belongs to the topic of its sentence."""
    predictability: float = Field(default=0.5, ge=0.0, le=1.0)
    """Probability that a word is the fixed successor of the previous one in its vocabulary."""
    train_size: int = Field(default=2000, ge=1, le=MOST_TEXTS)
    """Training sentences."""
    test_size: int = Field(default=400, ge=1, le=MOST_TEXTS)
    """Test sentences."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        problems = []
        if not 1 <= self.length[0] <= self.length[1] <= _MOST_LENGTH:
            problems.append(
                f"length must be [shortest, longest] with 1 <= shortest <= longest <= {_MOST_LENGTH}, got {list(self.length)}"
            )
        words = self.topics * self.topic_words + self.shared_words
        if words > _MOST_WORDS:
            problems.append(
                f"topics * topic_words + shared_words is {words}; at most {_MOST_WORDS} words can be made up"
            )
        if self.train_size < self.topics:
            problems.append(f"train_size must be at least the number of topics, {self.topics}, got {self.train_size}")
        made = (self.train_size + self.test_size) * self.length[1]
        if made > _MOST_MADE:
            problems.append(
                f"train_size + test_size sentences of length words are {made} words; at most {_MOST_MADE} are made up: "
                "fewer sentences, or shorter ones"
            )
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def load(self, context: Context) -> Texts:
        """Draw the language, then both parts, each from a stream of its own. Classes are balanced to within one."""
        rng = context.streams.numpy("task", "synthetic", "language")
        words = _words(rng, self.topics * self.topic_words + self.shared_words)
        # Vocabulary v < topics belongs to topic v, the last one is shared; successor[v, w] is a word of vocabulary v.
        first = np.arange(self.topics + 1) * self.topic_words
        size = np.array([self.topic_words] * self.topics + [self.shared_words])
        successor = np.stack([rng.integers(f, f + n, len(words)) for f, n in zip(first, size, strict=True)])

        def part(name: str, count: int) -> TextSplit:
            rng = context.streams.numpy("task", "synthetic", name)
            topics = rng.permutation(np.arange(count) % self.topics)
            lengths = rng.integers(self.length[0], self.length[1], count, endpoint=True)
            drawn: NDArray[np.int64] = np.empty((count, self.length[1]), dtype=np.int64)
            for position in range(self.length[1]):
                vocabulary = np.where(rng.random(count) < self.purity, topics, self.topics)
                word = rng.integers(first[vocabulary], first[vocabulary] + size[vocabulary])
                follows = rng.random(count) < (self.predictability if position else 0.0)
                previous = drawn[:, position - 1] if position else word
                drawn[:, position] = np.where(follows, successor[vocabulary, previous], word)
            texts = [" ".join(words[row[:n]]) for row, n in zip(drawn, lengths, strict=True)]
            names = np.array([f"topic{topic}" for topic in topics], dtype=object)
            labels = topics.astype(np.int64) if self.objective == "classification" else None
            return TextSplit(texts, labels, {"topic": names})

        classes = tuple(f"topic{t}" for t in range(self.topics)) if self.objective == "classification" else ()
        return Texts(part("train", self.train_size), part("test", self.test_size), classes)

    def tokenizer(self, texts: Texts) -> PreTrainedTokenizerFast:
        """One token per word that occurs in training, and BERT's special tokens.

        Samples are ``[CLS] words [SEP]``; for ``causal_lm``, ``[CLS]`` opens and ``[SEP]`` is the end-of-text token.
        """
        from tokenizers import Tokenizer, models, pre_tokenizers, processors
        from transformers import PreTrainedTokenizerFast

        words = sorted(_distinct(texts))
        vocabulary = {token: i for i, token in enumerate((*_SPECIAL, *words))}
        tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        causal = self.objective == "causal_lm"
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A" if causal else "[CLS] $A [SEP]",
            pair="[CLS] $A [SEP] $B:1" if causal else "[CLS] $A [SEP] $B:1 [SEP]:1",
            special_tokens=[(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")],
        )
        ends = {"bos_token": "[CLS]", "eos_token": "[SEP]"} if causal else {}
        return PreTrainedTokenizerFast(
            tokenizer_object=tokenizer,
            pad_token="[PAD]",
            unk_token="[UNK]",
            cls_token="[CLS]",
            sep_token="[SEP]",
            mask_token="[MASK]",
            **ends,
        )

    def vocabulary(self, texts: Texts) -> Vocabulary:
        """That of :meth:`tokenizer`, told without making it."""
        return Vocabulary(len(_distinct(texts)) + len(_SPECIAL), 1 if self.objective == "causal_lm" else 2)


def _distinct(texts: Texts) -> set[str]:
    return {word for text in texts.train.texts for word in text.split()}


def _words(rng: np.random.Generator, count: int) -> NDArray[np.object_]:
    """Distinct words of three open syllables, each a consonant and a vowel."""
    n = len(_SYLLABLES)
    codes = rng.choice(n**3, count, replace=False)
    return np.array([_SYLLABLES[c // n**2] + _SYLLABLES[c // n % n] + _SYLLABLES[c % n] for c in codes], dtype=object)
