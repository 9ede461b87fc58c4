"""Lengths in the place of texts: drawn, read, cut; and a run of them against one of texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from small_runs import loaded, played

from elsa_sim.base.context import Context
from elsa_sim.base.errors import InputFaults, ScenarioError
from elsa_sim.base.streams import Streams
from elsa_sim.learning.tasks.base import Dataset, Texts
from elsa_sim.learning.tasks.data import collate
from elsa_sim.learning.tasks.lengths import Lengths, LogNormal
from elsa_sim.run import checks

TIMING = "execution.mode=timing"


def read(folder: Path = Path(), seed: int = 0, **options: Any) -> Texts:
    return Lengths(**options).read(Context(Streams(seed), folder))


def data(folder: Path = Path(), seed: int = 0, **options: Any) -> Dataset:
    return Lengths(**options).counted(read(folder, seed, **options), 100)


def test_a_fixed_length_is_the_longest() -> None:
    task = Lengths(objective="causal_lm", length=512, train_size=400, batch_size=4)
    assert task.max_length == 512
    made = data(objective="causal_lm", length=512, train_size=400)
    assert made.train.lengths.tolist() == [512] * 400
    assert (made.train.labels, made.labels, len(made.test), made.vocab_size) == (None, (), 0, 100)
    assert data(length=9, max_length=5, train_size=2).train.lengths.tolist() == [5, 5]
    assert len(read(length=9).train) == 2000


def test_batches_are_padded_to_their_longest(tmp_path: Path) -> None:
    (tmp_path / "n.txt").write_text("3\n\n 7 \n2\n9\n", encoding="utf-8")
    made = data(tmp_path, file="n.txt", max_length=8)
    assert made.train.lengths.tolist() == [3, 7, 2, 8]
    batch = collate(made.train, np.array([0, 2, 1]), made.pad_id)
    assert (batch.shape, batch.valid, batch.lengths.tolist()) == ((3, 7), 12, [3, 2, 7])
    assert read(tmp_path, file="n.txt", max_length=8).notes == ("25 % of the lengths are cut to max_length, 8 tokens",)
    assert not read(tmp_path, file="n.txt", max_length=9).notes


@pytest.mark.parametrize(("text", "told"), [("4\nx\n", "line 2: 'x' is no length"), ("0\n", "line 1"), ("-3\n", "line 1"),
                                            ("1.5\n", "line 1"), ("\n \n", "has no lengths"), ("²\n", "line 1")])  # fmt: skip
def test_lines_that_are_no_lengths(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "n.txt").write_text(text, encoding="utf-8")
    with pytest.raises(InputFaults, match=told):
        read(tmp_path, file="n.txt", max_length=8)


def test_a_file_is_an_input(tmp_path: Path) -> None:
    (tmp_path / "n.txt").write_text("3\n", encoding="utf-8")
    context = Context(Streams(0), tmp_path)
    Lengths(file="n.txt", max_length=8).read(context)
    assert "n.txt" in context.inputs.digests


def test_log_normal_lengths_have_the_stated_median_and_mean() -> None:
    rng = np.random.default_rng(3)
    drawn = LogNormal(median=300.0, sigma=0.6).draw(40_000, rng)
    assert np.median(drawn) == pytest.approx(300, rel=0.02)
    assert np.log(drawn).std() == pytest.approx(0.6, rel=0.02)
    assert LogNormal(mean=300.0, sigma=0.6).draw(40_000, rng).mean() == pytest.approx(300, rel=0.02)
    assert set(LogNormal(median=7.0, sigma=0.0).draw(5, rng)) == {7.0}
    how: dict[str, Any] = {"length": {"median": 90.0, "sigma": 1.5}, "max_length": 200, "objective": "causal_lm"}
    lengths = data(seed=1, **how).train.lengths
    assert np.array_equal(lengths, data(seed=1, **how).train.lengths)
    assert not np.array_equal(lengths, data(seed=2, **how).train.lengths)
    assert (lengths.min() >= 2, lengths.max(), len(read(seed=1, **how).notes)) == (True, 200, 2)


def test_classes_are_as_frequent_as_each_other() -> None:
    made = data(length=5, train_size=10, classes=4)
    assert made.train.labels is not None
    assert sorted(np.bincount(made.train.labels)) == [2, 2, 3, 3]
    assert made.labels == ("class0", "class1", "class2", "class3")
    assert data(length=5, train_size=10).labels == ("class0", "class1")


def test_public_lengths_are_set_apart() -> None:
    made = data(length=5, train_size=10, public=3, train_limit=4)
    assert (len(made.train), len(made.public)) == (4, 3)


def test_a_million_long_sequences_take_little_memory() -> None:
    assert data(length=100_000, train_size=1_000_000, objective="causal_lm").train.ids.strides == (0,)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "state length or file, one of them"),
        ({"length": 5, "file": "n.txt"}, "state length or file, one of them"),
        ({"length": {"median": 5.0, "sigma": 1.0}}, "state max_length"),
        ({"file": "n.txt"}, "state max_length"),
        ({"length": 1, "max_length": 5, "objective": "causal_lm"}, "at least 2"),
        ({"file": "n.txt", "max_length": 5, "train_size": 3}, "train_size has no effect"),
        ({"length": 5, "objective": "causal_lm", "classes": 3}, "classes has no effect"),
        ({"length": 5, "public": 1, "public_file": "n.txt"}, "public_file has no effect"),
        ({"length": 5, "test_limit": 3}, "test_limit has no effect"),
        ({"length": {"median": 5.0, "mean": 5.0, "sigma": 1.0}, "max_length": 9}, "median or mean, one of them"),
        ({"length": {"sigma": 1.0}, "max_length": 9}, "median or mean, one of them"),
    ],
)
def test_what_makes_no_sense_is_a_fault(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        Lengths(**options)


def test_a_fault_of_a_distribution_is_told_once() -> None:
    with pytest.raises(ScenarioError) as caught:
        loaded("task={kind: lengths, length: {median: 5, sigma: -1}, max_length: 9}")
    assert [fault.path for fault in caught.value.faults] == ["task.length.sigma"]


def test_real_arithmetic_needs_texts() -> None:
    with pytest.raises(ScenarioError, match="there are lengths only"):
        checks.check(loaded("task={kind: lengths, length: 8}"))


def test_a_run_is_that_of_texts_of_these_lengths() -> None:
    """Sentences of 6 words are 8 tokens of BERT."""
    common = "train_size: 90, batch_size: 4, public: 8"
    texts = played(f"task={{kind: synthetic, topics: 3, length: [6, 6], test_size: 9, {common}}}", TIMING)
    lengths = played(f"task={{kind: lengths, length: 8, classes: 3, {common}}}", TIMING)
    assert lengths.summary["timeline_sha256"] == texts.summary["timeline_sha256"]
    longer = played(f"task={{kind: lengths, length: 9, classes: 3, {common}}}", TIMING)
    assert longer.summary["bytes"]["total"] > lengths.summary["bytes"]["total"]


def test_a_run_of_drawn_lengths_repeats() -> None:
    task = "task={kind: lengths, length: {median: 20, sigma: 0.7}, max_length: 64, train_size: 60, batch_size: 4}"
    one, two, other = (played(task, TIMING, seed=seed) for seed in (1, 1, 2))
    assert one.summary["timeline_sha256"] == two.summary["timeline_sha256"] != other.summary["timeline_sha256"]


def test_what_is_needed_is_told_of_the_longest_length_there_is(tmp_path: Path) -> None:
    """``max_length`` is how far lengths are cut, not how long they are: nothing is as long as that."""
    (tmp_path / "n.txt").write_text("3\n7\n" * 40, encoding="utf-8")
    longest = checks.check(loaded(f"task={{kind: lengths, file: {tmp_path}/n.txt, max_length: 20}}", TIMING))
    exact = checks.check(loaded(f"task={{kind: lengths, file: {tmp_path}/n.txt, max_length: 7}}", TIMING))
    assert longest.scenario.task.max_length == exact.scenario.task.max_length == 7
    assert longest.cuts == exact.cuts
