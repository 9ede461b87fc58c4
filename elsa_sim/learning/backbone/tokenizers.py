"""Which tokenizer a run uses: the backbone's, the task's own, or one learned from the task's texts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...base.errors import Fault, InputFaults
from ...base.files import Unreadable, read
from ..tasks.base import Task, Texts, Vocabulary
from .configuration import MOST_JSON
from .options import Source
from .places import cached, file_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

#: Vocabulary of a tokenizer learned from the task's own training texts.
LEARNED_VOCABULARY = 4096
#: Classes of tokenizers that are what ``tokenizer.json`` says.
_PLAIN = {"PreTrainedTokenizer", "TokenizersBackend", "BertTokenizer", "RobertaTokenizer", "DistilBertTokenizer",
          "GPT2Tokenizer", "LlamaTokenizer", "Qwen2Tokenizer"}  # fmt: skip
#: How a scenario does without one.
_WITHOUT = "; timing mode with task.kind: lengths needs none"
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def tokenizer_for(source: Source, task: Task, texts: Texts) -> PreTrainedTokenizerFast:
    """The tokenizer that came with the backbone's weights; else the task's own; else one learned from its texts.

    Raises:
        InputFaults: the backbone's tokenizer cannot be loaded, or has no vocabulary.
    """
    if source.tokenizer is not None:
        from transformers import AutoTokenizer

        try:
            tokenizer = AutoTokenizer.from_pretrained(source.tokenizer)
        except Exception as error:  # a damaged file fails in as many ways as there are libraries that read it
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:300].rstrip(": ")
            raise InputFaults(
                [Fault("name", f"the backbone's tokenizer cannot be loaded: {reason}{_WITHOUT}")]
            ) from None
        if {*tokenizer.get_vocab().values()} <= {*tokenizer.all_special_ids}:  # as made of a folder without its files
            message = f"{source.tokenizer} holds no vocabulary of a tokenizer; add its files, such as tokenizer.json{_WITHOUT}"
            raise InputFaults([Fault("name", message)])
        _fits(max(tokenizer.get_vocab().values()) + 1, source)
        return tokenizer
    return task.tokenizer(texts) or learned(texts.train.texts, causal=source.architecture.decoder)


def vocabulary_for(source: Source, task: Task, texts: Texts) -> Vocabulary:
    """That of :func:`tokenizer_for`, told without the tensor library where ``tokenizer.json`` alone says what it will be.

    The size of one that is to be learned is the largest it can get.

    Raises:
        InputFaults: as :func:`tokenizer_for`.
    """
    if task.textless:
        return Vocabulary(source.architecture.vocabulary, 0)
    if source.tokenizer is None:
        special = 0 if source.architecture.decoder else 2
        return task.vocabulary(texts) or Vocabulary(LEARNED_VOCABULARY, special)
    return _of_file(source) or _of(tokenizer_for(source, task, texts))


def _of(tokenizer: PreTrainedTokenizerFast) -> Vocabulary:
    return Vocabulary(max(tokenizer.get_vocab().values()) + 1, int(tokenizer.num_special_tokens_to_add()))


def _of_file(source: Source) -> Vocabulary | None:
    """What the backbone's ``tokenizer.json`` tells; ``None`` where it has none, or where transformers must say more."""
    from tokenizers import Tokenizer

    assert source.tokenizer is not None
    try:
        file: Path = file_of(source.tokenizer, "tokenizer.json")
        tokenizer = Tokenizer.from_file(str(file))
        known = tokenizer.get_vocab(with_added_tokens=True)
        size = max(known.values()) + 1
    except Exception:  # the tokenizers' library and the hub's client have no common class of errors
        return None
    if not _says_all(source.tokenizer, known):
        return None
    _fits(size, source)
    return Vocabulary(size, tokenizer.num_special_tokens_to_add(False))


def _says_all(place: str, known: Mapping[str, int]) -> bool:
    """Whether the files beside ``tokenizer.json`` neither add tokens nor ask for a class that transformers may not have."""
    for name in ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"):
        if (path := cached(place, name)) is None:
            continue
        try:
            fields = json.loads(read(path, MOST_JSON))
            tokens = set(fields if name == "added_tokens.json" else _tokens(fields))
            kind = str(fields.get("tokenizer_class") or "").removesuffix("Fast")
        except (Unreadable, ValueError, TypeError, AttributeError, RecursionError):
            return False
        if not tokens <= known.keys() or "auto_map" in fields or (kind and kind not in _PLAIN):
            return False
    return True


def _tokens(fields: Mapping[str, Any]) -> Iterator[str]:
    """The tokens that a tokenizer's settings name, which are added to its vocabulary where they are not in it."""
    for key, value in fields.items():
        named = value.values() if key == "added_tokens_decoder" else value if isinstance(value, list) else (value,)
        if key == "added_tokens_decoder" or key.endswith(("_token", "_special_tokens")):
            for each in named:
                token = each["content"] if isinstance(each, dict) else each
                if isinstance(token, str):
                    yield token


def _fits(size: int, source: Source) -> None:
    rows = source.architecture.vocabulary
    if size > rows:
        what = f"the tokenizer of {source.tokenizer} gives token ids up to {size - 1}"
        raise InputFaults([Fault("name", f"{what}, but the backbone has embeddings for {rows} tokens only")])


def learned(texts: list[str], *, causal: bool) -> PreTrainedTokenizerFast:
    """A lower-case subword tokenizer trained on ``texts``; sequences of an encoder get [CLS] and [SEP].

    Byte-pair merges (Sennrich et al., arXiv:1508.07909) of words that begin with ``▁``: unlike the training of
    WordPieces, whose token ids depend on the order of a hash table, it gives the same vocabulary in every process.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.BertPreTokenizer(), pre_tokenizers.Metaspace()])
    trainer = trainers.BpeTrainer(vocab_size=LEARNED_VOCABULARY, special_tokens=SPECIAL, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    named = {
        "unk_token": "[UNK]",
        "pad_token": "[PAD]",
        "mask_token": "[MASK]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
    }
    if causal:
        return PreTrainedTokenizerFast(
            tokenizer_object=tokenizer, eos_token="[SEP]", unk_token="[UNK]", pad_token="[PAD]"
        )
    ends = [(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named)
