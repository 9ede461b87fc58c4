"""Which tokenizer is used, and that a learned one is the same in every process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from small_models import CONFIGS, configuration

from elsa_sim.base.context import Context
from elsa_sim.base.errors import InputFaults
from elsa_sim.base.streams import Streams
from elsa_sim.learning.backbone.options import BackboneOptions, Source, locate
from elsa_sim.learning.backbone.tokenizers import LEARNED_VOCABULARY, SPECIAL, learned, tokenizer_for, vocabulary_for
from elsa_sim.learning.tasks.base import Texts, TextSplit
from elsa_sim.learning.tasks.synthetic import Synthetic
from elsa_sim.learning.tasks.text_file import TextFile
from elsa_sim.learning.tasks.tokenising import tokenize

CONTEXT = Context(Streams(0))
MAKE = """
import hashlib, random
from elsa_sim.learning.backbone.tokenizers import learned
draw = random.Random(1)
words = ["".join(draw.choices("abcdefghijklmnopqrst", k=draw.randint(2, 9))) for _ in range(1500)]
texts = [" ".join(draw.choices(words, k=10)) for _ in range(800)]
tokenizer = learned(texts, causal=False)
print(hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode()).hexdigest(), len(tokenizer))
"""


def test_a_learned_vocabulary_is_the_same_in_every_process() -> None:
    """Vocabulary and token ids: hash tables with random seeds must leave no trace."""
    seen = set()
    for seed, threads in (("0", "1"), ("1", "2")):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "RAYON_NUM_THREADS": threads}
        run = subprocess.run([sys.executable, "-c", MAKE], env=environment, capture_output=True, text=True, check=True)
        seen.add(run.stdout)
    assert len(seen) == 1
    assert int(seen.pop().split()[1]) > LEARNED_VOCABULARY / 2


TEXTS = ["How far is the Moon ?", "How many moons are there, and who counted them?", "Café, naïve!"] * 5


@pytest.mark.parametrize("causal", [False, True])
def test_a_learned_tokenizer_knows_its_texts(causal: bool) -> None:
    tokenizer = learned(TEXTS, causal=causal)
    assert [tokenizer.convert_tokens_to_ids(token) for token in SPECIAL] == list(range(len(SPECIAL)))
    ids = tokenizer(TEXTS[0])["input_ids"]
    assert tokenizer.unk_token_id not in ids
    assert ids == tokenizer(TEXTS[0].upper())["input_ids"], "upper and lower case differ"
    assert tokenizer.pad_token_id == 0
    ends = [tokenizer.convert_tokens_to_ids(token) for token in ("[CLS]", "[SEP]")]
    if causal:
        assert tokenizer.eos_token == "[SEP]"
        assert not set(ends) & set(ids)
    else:
        assert [ids[0], ids[-1]] == ends
        assert len(ids) > 4
    assert tokenizer.unk_token_id in tokenizer("漢")["input_ids"]
    assert max(tokenizer.get_vocab().values()) == len(tokenizer) - 1


def task_and_texts() -> tuple[TextFile, Texts]:
    part = TextSplit(TEXTS, np.zeros(len(TEXTS), dtype=np.int64))
    return TextFile(train="train.txt", test="test.txt", format="labelled_lines"), Texts(part, part, ("a",))


def test_a_backbone_with_weights_brings_its_tokenizer() -> None:
    source = locate(BackboneOptions(name="minilm"), CONTEXT)
    tokenizer = tokenizer_for(source, *task_and_texts())
    assert len(tokenizer) == 30522
    data = tokenize(task_and_texts()[1], tokenizer, task_and_texts()[0])
    assert data.train.tokens(0)[[0, -1]].tolist() == [101, 102]


def test_a_task_with_its_own_language_brings_its_tokenizer() -> None:
    task = Synthetic(train_size=40, test_size=20)
    texts = task.read(CONTEXT)
    source = locate(BackboneOptions(name="tiny-bert"), CONTEXT)
    assert tokenizer_for(source, task, texts).get_vocab() == task.tokenizer(texts).get_vocab()


@pytest.mark.parametrize(("name", "marked"), [("tiny-bert", True), ("tiny-gpt2", False)])
def test_else_one_is_learned_from_the_training_texts(name: str, marked: bool) -> None:
    source = locate(BackboneOptions(name=name), CONTEXT)
    tokenizer = tokenizer_for(source, *task_and_texts())
    assert (tokenizer(TEXTS[0])["input_ids"][0] == 2) == marked


@pytest.mark.parametrize("family", CONFIGS)
def test_a_folder_without_a_tokenizer_is_a_fault(tmp_path: Path, family: str) -> None:
    source = locate(BackboneOptions(name=str(configuration(tmp_path, family)), weights="random"), CONTEXT)
    with pytest.raises(InputFaults, match="tokenizer"):
        tokenizer_for(source, *task_and_texts())


def bert_folder(folder: Path, rows: int = 64, **settings: object) -> Source:
    """A folder with the configuration of a BERT and a tokenizer of 30 words and five special tokens."""
    where = configuration(folder, "bert", vocab_size=rows)
    learned([f"w{i}" for i in range(30)] * 2, causal=False).save_pretrained(where)
    path = where / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings), encoding="utf-8")
    return locate(BackboneOptions(name=str(where), weights="random"), Context(Streams(0)))


def own_texts() -> tuple[TextFile, Texts]:
    task = TextFile.model_validate({"train": "t", "test_fraction": 0.5, "format": "csv"})
    return task, Texts(TextSplit(["w1 w2"]), TextSplit(["w3"]))


@pytest.mark.parametrize("settings", [
    {},
    {"tokenizer_class": "BertTokenizer"},
    {"tokenizer_class": "PreTrainedTokenizerFast"},
    {"tokenizer_class": "NoSuchTokenizer"},
    {"bos_token": "<begin>"},
    {"extra_special_tokens": ["<a>", "<b>"]},
    {"added_tokens_decoder": {"5": {"content": "w1", "special": False}}},
], ids=str)  # fmt: skip
def test_a_check_knows_the_tokenizer_of_the_run(tmp_path: Path, settings: dict[str, object]) -> None:
    source = bert_folder(tmp_path, **settings)
    tokenizer = tokenizer_for(source, *own_texts())
    size = max(tokenizer.get_vocab().values()) + 1
    assert vocabulary_for(source, *own_texts()) == (size, tokenizer.num_special_tokens_to_add())


@pytest.mark.parametrize(("name", "content"), [
    ("tokenizer.json", "{"),
    ("tokenizer.json", "[]"),
    ("tokenizer_config.json", "{"),
    ("tokenizer_config.json", '{"bos_token": "<a token more than there are embeddings>"}'),
])  # fmt: skip
def test_what_the_run_could_not_make_is_a_fault_of_the_check(tmp_path: Path, name: str, content: str) -> None:
    source = bert_folder(tmp_path)
    rows = vocabulary_for(source, *own_texts()).size
    source = bert_folder(tmp_path, rows=rows)
    (tmp_path / name).write_text(content, encoding="utf-8")
    for read in (tokenizer_for, vocabulary_for):
        with pytest.raises(InputFaults) as caught:
            read(source, *own_texts())
        assert [fault.path for fault in caught.value.faults] == ["name"]
