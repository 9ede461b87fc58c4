"""Tasks: the made-up language, tokenisation, the hub, the family."""

from __future__ import annotations

import subprocess
import sys
import types
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from elsa_sim.base.context import Context
from elsa_sim.base.errors import InputFaults
from elsa_sim.base.registry import choice, discover
from elsa_sim.base.streams import Streams
from elsa_sim.learning.tasks import tokenising
from elsa_sim.learning.tasks.base import Dataset, Split, Task, Texts, TextSplit
from elsa_sim.learning.tasks.hub import Hub
from elsa_sim.learning.tasks.synthetic import Synthetic
from elsa_sim.learning.tasks.tokenising import tokenize

ROOT = Path(__file__).parents[3]
CONTEXT = Context(Streams(7))

# Synthetic ----------------------------------------------------------------------------------------------------------


def test_synthetic_is_balanced_and_repeatable_by_seed() -> None:
    task = Synthetic(train_size=402, test_size=100)
    texts = task.read(Context(Streams(1)))
    assert (len(texts.train), len(texts.test), len(texts.labels)) == (402, 100, 4)
    assert sorted(np.bincount(texts.train.labels)) == [100, 100, 101, 101]
    assert all(8 <= len(text.split()) <= 20 for text in texts.train.texts)
    assert task.read(Context(Streams(1))).train.texts == texts.train.texts
    assert task.read(Context(Streams(2))).train.texts != texts.train.texts
    larger = task.model_copy(update={"train_size": 1000}).read(Context(Streams(1)))
    assert larger.test.texts == texts.test.texts, "the test set depends on the size of the training set"


def test_synthetic_words_follow_purity_and_predictability() -> None:
    task = Synthetic(topics=3, topic_words=10, shared_words=50, purity=0.3, predictability=0.6, train_size=3000)
    texts = task.read(Context(Streams(3)))
    sentences = [text.split() for text in texts.train.texts]
    homes: dict[str, set[int]] = {}
    for label, sentence in zip(texts.train.labels.tolist(), sentences, strict=True):
        for word in sentence:
            homes.setdefault(word, set()).add(label)
    topical = {word for word, labels in homes.items() if len(labels) == 1}
    assert len(homes) == 80
    assert len(topical) == 30, "topic vocabularies are disjoint from each other and from the shared one"
    assert np.mean([word in topical for sentence in sentences for word in sentence]) == pytest.approx(0.3, abs=0.01)
    follows: dict[str, dict[str, int]] = {}
    for sentence in sentences:
        for previous, word in pairwise(sentence):
            if word not in topical:
                row = follows.setdefault(previous, {})
                row[word] = row.get(word, 0) + 1
    top = sum(max(row.values()) for row in follows.values()) / sum(sum(row.values()) for row in follows.values())
    assert top == pytest.approx(0.6 + 0.4 / 50, abs=0.02)


@pytest.mark.parametrize(
    "options",
    [
        {"length": (3, 2)},
        {"length": (0, 2)},
        {"topics": 1},
        {"purity": 0.0},
        {"topic_words": 10**6},
        {"train_size": 2_000_000},
        {"train_size": 3},
    ],
)
def test_impossible_languages_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Synthetic(**options)


# Tokenisation -------------------------------------------------------------------------------------------------------


def tokenised(**options: object) -> tuple[Dataset, Texts, object]:
    task = Synthetic.model_validate({"train_size": 40, "test_size": 20, **options})
    texts = task.read(Context(Streams(1)))
    tokenizer = task.tokenizer(texts)
    return tokenize(texts, tokenizer, task), texts, tokenizer


def test_samples_are_the_words_between_the_special_tokens() -> None:
    data, texts, tokenizer = tokenised()
    assert len(data.train) == 40
    assert data.vocab_size == len(tokenizer) == 5 + len({w for text in texts.train.texts for w in text.split()})
    assert data.pad_id == 0
    assert (data.train.ids.dtype, data.train.offsets.dtype, data.train.labels.dtype) == (np.int32, np.int64, np.int64)
    for i in range(40):
        cls, *words, sep = tokenizer.convert_ids_to_tokens(data.train.tokens(i).tolist())
        assert (cls, sep) == ("[CLS]", "[SEP]")
        assert " ".join(words) == texts.train.texts[i]
    assert data.train.lengths.tolist() == [len(text.split()) + 2 for text in texts.train.texts]
    assert data.train.columns["topic"].tolist() == [data.labels[label] for label in data.train.labels]


def test_long_texts_are_cut_with_their_special_tokens_kept() -> None:
    data, _, _ = tokenised(max_length=6)
    assert set(data.train.lengths.tolist()) == {6}
    assert all(data.train.tokens(i)[-1] == 3 for i in range(40))


def test_language_modelling_ends_whole_texts_and_only_those() -> None:
    data, texts, tokenizer = tokenised(objective="causal_lm", max_length=14)
    assert data.labels == ()
    assert data.train.labels is None
    assert tokenizer.eos_token_id == 3
    lengths = [len(text.split()) for text in texts.train.texts]
    assert {n > 12 for n in lengths} == {True, False}
    for i, words in enumerate(lengths):
        assert len(data.train.tokens(i)) == min(14, words + 2)
        assert (data.train.tokens(i)[-1] == 3) == (words <= 12)


@pytest.mark.parametrize(("options", "path"), [({"max_length": 2}, "max_length")])
def test_a_length_without_room_for_text_is_a_fault(options: dict[str, object], path: str) -> None:
    with pytest.raises(InputFaults) as caught:
        tokenised(**options)
    assert [fault.path for fault in caught.value.faults] == [path]
    assert "at least 3" in caught.value.faults[0].message


def test_texts_without_tokens_are_a_fault() -> None:
    task = Synthetic()
    texts = task.read(Context(Streams(1)))
    empty = Texts(texts.train, TextSplit([" "], np.array([0])), texts.labels)
    with pytest.raises(InputFaults, match="1 test texts have too few tokens"):
        tokenize(empty, task.tokenizer(texts), task)


@given(st.lists(st.lists(st.integers(0, 2**31 - 1), max_size=5), max_size=8))
def test_a_split_gives_back_what_was_packed(samples: list[list[int]]) -> None:
    split = Split.of(samples)
    assert len(split) == len(samples)
    assert [split.tokens(i).tolist() for i in range(len(split))] == samples
    assert split.lengths.tolist() == [len(sample) for sample in samples]


# Hub ----------------------------------------------------------------------------------------------------------------


class FakeData(dict):
    features = types.MappingProxyType(
        {"text": types.SimpleNamespace(), "label": types.SimpleNamespace(names=["neg", "pos"])}
    )
    column_names = ("text", "label")

    def __len__(self) -> int:
        return len(self["text"])


def fake_datasets(monkeypatch: pytest.MonkeyPatch, load: object, version: str = "4.1.0") -> None:
    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load, __version__=version))


def test_hub_reads_both_splits_and_names_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str, config: str | None, *, split: str, revision: str | None) -> FakeData:
        assert (name, config, revision) == ("some/set", None, "abc")
        return {"train": FakeData(text=["x", "y"], label=[1, 0]), "test": FakeData(text=["z"], label=[1])}[split]

    fake_datasets(monkeypatch, load)
    texts = Hub(dataset="some/set", revision="abc").read(CONTEXT)
    assert texts.labels == ("neg", "pos")
    assert texts.train.labels.tolist() == [1, 0]
    assert texts.test.texts == ["z"]


def test_hub_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*args: object, **options: object) -> None:
        raise ConnectionError("Couldn't reach the hub\ntrace")

    def messages(**options: str) -> list[tuple[str, str]]:
        with pytest.raises(InputFaults) as caught:
            Hub(dataset="some/set", **options).read(CONTEXT)
        return [(fault.path, fault.message) for fault in caught.value.faults]

    fake_datasets(monkeypatch, offline)
    found = messages()
    assert {path for path, _ in found} == {"dataset"}
    assert "ConnectionError: Couldn't reach the hub; offline" in found[0][1]
    fake_datasets(monkeypatch, offline, version="3.6.0")
    assert [path for path, _ in messages()] == ["kind"]
    fake_datasets(monkeypatch, lambda *_, **__: FakeData(text=["x", "y"], label=[-1, 0]))
    assert [path for path, _ in messages()] == ["train_split", "test_split"]
    assert "did you mean 'text'?" in messages(text_column="texts")[0][1]
    monkeypatch.setitem(sys.modules, "datasets", None)
    [(path, message)] = messages()
    assert path == "kind"
    assert "elsa-sim[hub]" in message


# The family ---------------------------------------------------------------------------------------------------------


def test_tasks_are_chosen_by_kind() -> None:
    discover("elsa_sim.learning.tasks")
    adapter = TypeAdapter(choice(Task))
    assert adapter.validate_python({"kind": "synthetic"}) == Synthetic()
    assert {"hub", "synthetic", "text_file"} <= set(Task.members)


def test_importing_and_reading_needs_no_tensor_library() -> None:
    program = """
import sys
from elsa_sim.base.registry import discover
import elsa_sim.learning.tasks.partition
discover("elsa_sim.learning.tasks")
from elsa_sim.learning.tasks.synthetic import Synthetic
from elsa_sim.base.context import Context
from elsa_sim.base.streams import Streams
Synthetic().read(Context(Streams(1)))
loaded = {name.partition(".")[0] for name in sys.modules}
raise SystemExit(", ".join(loaded & {"torch", "transformers", "tokenizers", "datasets", "pandas", "simpy"}) or 0)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_public_texts_of_another_file(tmp_path: Path) -> None:
    """They come from there, and all training texts stay."""
    (tmp_path / "news.txt").write_text("one\n\n two words \nthree\nfour\n", encoding="utf-8")
    (tmp_path / "other.txt").write_bytes("caf\xe9\n".encode("latin-1") * 9)

    def read(**options: Any) -> Texts:
        return Synthetic(train_size=20, test_size=9, **options).read(Context(Streams(3), folder=tmp_path))

    found = read(public=3, public_file="news.txt")
    assert len(found.public) == 3
    assert set(found.public.texts) < {"one", "two words", "three", "four"}
    assert found.train.texts == read().train.texts
    for options, reason in (
        ({"public_file": "news.txt"}, "has no effect without public"),
        ({"public": 5, "public_file": "news.txt"}, "has 4 lines with text, fewer than 5"),
        ({"public": 5, "public_file": "other.txt"}, "is not utf-8"),
        ({"public": 5, "public_file": "none.txt"}, "none.txt"),
    ):
        with pytest.raises(InputFaults, match=reason):
            read(**options)


def test_public_texts_are_set_apart() -> None:
    """Nobody trains on them, the test is what it was, and they are drawn before the limits."""
    context = Context(Streams(3))
    plain = Synthetic(train_size=60, test_size=9).read(context)
    for limit in (None, 20):
        texts = Synthetic(train_size=60, test_size=9, public=25, train_limit=limit).read(context)
        assert len(texts.public) == 25
        assert len(texts.train) == (35 if limit is None else 20)
        assert texts.test.texts == plain.test.texts
        if limit is None:
            assert sorted(texts.public.texts + texts.train.texts) == sorted(plain.train.texts)
    with pytest.raises(InputFaults, match="leave none"):
        Synthetic(train_size=60, test_size=9, public=60).read(context)


@pytest.mark.parametrize("objective", ["classification", "causal_lm"])
def test_tokens_do_not_depend_on_how_many_texts_are_tokenised_at_a_time(
    objective: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"objective": objective, "max_length": 9, "length": [3, 20]}
    whole, _, _ = tokenised(**options)
    monkeypatch.setattr(tokenising, "_AT_ONCE", 3)
    pieces, _, _ = tokenised(**options)
    for one, other in ((whole.train, pieces.train), (whole.test, pieces.test)):
        np.testing.assert_array_equal(one.ids, other.ids)
        np.testing.assert_array_equal(one.offsets, other.offsets)
        assert one.lengths.max() == 9
