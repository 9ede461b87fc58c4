"""Texts made token ids, a part of a task at a time. Tested in tests/learning/tasks/test_tasks.py."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from .base import Dataset, Split, Task, Texts, TextSplit, fault

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

#: Texts that are tokenised at a time: what a tokenizer tells of each takes far more memory than its token ids.
_AT_ONCE = 4096


def _encoded(texts: Sequence[str], tokenizer: PreTrainedTokenizerFast, longest: int) -> Iterator[list[int]]:
    """The token ids of each text, with special tokens, cut to ``longest``."""
    for start in range(0, len(texts), _AT_ONCE):
        some = list(texts[start : start + _AT_ONCE])
        plain: dict[str, Any] = {"padding": False, "return_attention_mask": False, "return_token_type_ids": False}
        yield from tokenizer(some, truncation=True, max_length=longest, **plain)["input_ids"]


def tokenize(texts: Texts, tokenizer: PreTrainedTokenizerFast, task: Task) -> Dataset:
    """Token ids of all texts with the tokenizer's special tokens, cut to ``task.max_length``, without padding.

    For ``causal_lm`` the tokenizer's end-of-text token, where it has one, closes every text that was not cut: a cut
    text has not ended. A tokenizer without a padding token pads with its end-of-text token, else with 0; padded
    positions are masked by length, so the choice changes no result.

    Raises:
        InputFaults: ``max_length`` leaves no room beside the special tokens, or texts become too short to learn from
            (no token at all, or a single one for ``causal_lm``, which has nothing to predict).
    """
    special = int(tokenizer.num_special_tokens_to_add())
    task.fits(special)
    eos: int | None = tokenizer.eos_token_id if task.objective == "causal_lm" else None
    shortest = 2 if task.objective == "causal_lm" else special + 1

    def packed(part: TextSplit, name: str) -> Split:
        lengths: list[int] = []

        def tokens() -> Iterator[int]:
            for sample in _encoded(part.texts, tokenizer, task.max_length):
                yield from sample
                ended = eos is None or len(sample) >= task.max_length or (sample and sample[-1] == eos)
                if not ended:
                    yield cast("int", eos)
                lengths.append(len(sample) + (not ended))

        ids = np.fromiter(tokens(), dtype=np.int32)
        short = [i for i, length in enumerate(lengths) if length < shortest]
        if short:
            raise fault(
                "",
                f"{len(short)} {name} texts have too few tokens to learn from; the first is "
                f"{part.texts[short[0]][:40]!r}; remove them",
            )
        return Split(ids, np.cumsum([0, *lengths], dtype=np.int64), part.labels, part.columns)

    candidates = (tokenizer.pad_token_id, tokenizer.eos_token_id, 0)
    pad = next(int(token) for token in candidates if token is not None)
    train, test, public = packed(texts.train, "train"), packed(texts.test, "test"), packed(texts.public, "public")
    return Dataset(train, test, texts.labels, len(tokenizer), pad, public)
