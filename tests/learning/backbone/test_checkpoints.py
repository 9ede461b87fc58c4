"""A checkpoint computes what plain transformers computes with it, whatever its padding token is called or numbered."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_models import CASES, CLASSES, LAYERS, VOCABULARY, configuration, made
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

from elsa_sim.base.context import Context
from elsa_sim.base.errors import InputFaults
from elsa_sim.base.streams import Streams
from elsa_sim.learning.backbone.model import Backbone
from elsa_sim.learning.backbone.options import BackboneOptions, LoraOptions, Part, locate, three_parts, whole
from elsa_sim.learning.tasks.data import Batch, joined
from elsa_sim.learning.training.kernels import EvaluateBatch, Forward, Learn
from elsa_sim.learning.training.optim import Optimizer

ADAMW = Optimizer(0.01, 0.1)
#: What the tokenizer pads with (the run's), and what the checkpoint's configuration says.
PADS = [(0, 0), (1, 1), (2, 1), (1, 0), (0, 3)]


def checkpoint(folder: Path, family: str, objective: str, pad: int | None) -> tuple[Any, Backbone]:
    """Plain transformers on a folder, and this program's backbone, which was told another padding token."""
    factory = AutoModelForCausalLM if objective == "causal_lm" else AutoModelForSequenceClassification
    configuration(folder, family, pad_token_id=pad)
    config = AutoConfig.from_pretrained(folder, num_labels=CLASSES)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        plain = factory.from_config(config)
        for parameter in plain.parameters():  # rows of padding tokens and biases are zero at first
            torch.nn.init.normal_(parameter, std=0.5, mean=1.0 if parameter.dim() == 1 else 0.0)
        plain.save_pretrained(folder)
    plain = factory.from_pretrained(folder).eval()
    assert plain.config.pad_token_id == pad
    options = BackboneOptions(name=str(folder), lora=LoraOptions(rank=2))
    return plain, made(options, objective, pad=9)  # type: ignore[arg-type]


def texts(seed: int = 0, words: int = 5) -> list[list[int]]:
    """Token ids of texts without padding; the small numbers are ordinary tokens in some vocabularies."""
    rng = np.random.default_rng(seed)
    return [rng.integers(0, VOCABULARY, length).tolist() for length in rng.integers(2, 12, words)]


def batch(rows: Sequence[Sequence[int]], pad: int, objective: str, seed: int = 0) -> Batch:
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    tokens = np.full((len(rows), lengths.max()), pad, dtype=np.int64)
    for row, line in zip(rows, tokens, strict=True):
        line[: len(row)] = row
    labels = np.random.default_rng(seed).integers(0, CLASSES, len(rows))
    return Batch(tokens, lengths, labels if objective == "classification" else None)


def plain_loss(plain: Any, rows: Sequence[Sequence[int]], labels: Any) -> float:
    """The mean loss of plain transformers on texts, each alone and so without padding; ``labels`` ``None``: of tokens."""
    losses, weights = [], []
    with torch.no_grad():
        for index, row in enumerate(rows):
            ids = torch.tensor([row])
            truth = ids if labels is None else torch.tensor([labels[index]])
            losses.append(float(plain(input_ids=ids, attention_mask=torch.ones_like(ids), labels=truth).loss))
            weights.append(1 if labels is not None else len(row) - 1)
    return float(np.average(losses, weights=weights))


@pytest.mark.parametrize(("family", "objective"), CASES)
@pytest.mark.parametrize(("filler", "pad"), PADS)
def test_losses_are_those_of_plain_transformers(
    tmp_path: Path, family: str, objective: str, filler: int, pad: int
) -> None:
    plain, backbone = checkpoint(tmp_path, family, objective, pad)
    assert backbone.family.config.pad_token_id == pad
    rows = [[*row, 7] for row in texts()]  # a decoder's class head finds the end of a text by what is not padding
    given = batch(rows, filler, objective)
    other = batch([[*row, 7] for row in texts(1, 3)], filler, objective, seed=1)
    expected = plain_loss(plain, rows, given.labels)
    adapters, everything = backbone.initial(), whole(LAYERS)
    assert EvaluateBatch(backbone, everything, given.lengths, given)(adapters, given)[0] == pytest.approx(
        expected, rel=1e-5
    )
    both = joined([given, other])
    with_other = EvaluateBatch(backbone, everything, both.lengths, both)(adapters, both)[0]
    assert with_other == pytest.approx(plain_loss(plain, [*rows, *rows_of(other)], both.labels), rel=1e-5)
    first, middle, last = three_parts(LAYERS, 1, 1)
    states: Any = given
    for part in (first, middle):
        states = Forward(backbone, part, given.lengths)(adapters, states)[0]
    split = EvaluateBatch(backbone, last, given.lengths, given)(adapters, states)[0]
    assert split == pytest.approx(expected, rel=1e-5)

    def together(parts: Sequence[Part]) -> list[float]:
        sources: list[Any] = [given, other]
        for part in parts[:-1]:
            calls = [
                (Forward(backbone, part, b.lengths), (adapters, x))
                for b, x in zip((given, other), sources, strict=True)
            ]
            sources = [states for states, _ in calls[0][0].together(calls)]
        learn = [(Learn(backbone, parts[-1], b.lengths, ADAMW, b), (adapters, None, None, x))
                 for b, x in zip((given, other), sources, strict=True)]  # fmt: skip
        return [float(result[-1]) for result in learn[0][0].together(learn)]

    wanted = [expected, plain_loss(plain, rows_of(other), other.labels)]
    for parts in ((everything,), (first, middle, last)):
        assert together(parts) == pytest.approx(wanted, rel=1e-5)


def rows_of(given: Batch) -> list[list[int]]:
    return [row[:length].tolist() for row, length in zip(given.tokens, given.lengths, strict=True)]


def test_positions_of_a_roberta_are_counted_from_its_own_padding_token(tmp_path: Path) -> None:
    """The law above can fail: another padding token gives another loss."""
    plain, _ = checkpoint(tmp_path / "one", "roberta", "classification", 1)
    _, other = checkpoint(tmp_path / "other", "roberta", "classification", 2)
    rows = [[*row, 7] for row in texts()]
    given = batch(rows, 0, "classification")
    loss = EvaluateBatch(other, whole(LAYERS), given.lengths, given)(other.initial(), given)[0]
    assert abs(loss - plain_loss(plain, rows, given.labels)) > 5e-4


@pytest.mark.parametrize("family", ["bert", "distilbert", "gpt2", "llama", "mistral", "qwen2", "qwen3", "opt", "gpt_neox",
                                    "smollm3"])  # fmt: skip
def test_a_checkpoint_without_a_padding_token_stays_without(tmp_path: Path, family: str) -> None:
    plain, backbone = checkpoint(tmp_path, family, "classification", None)
    assert backbone.family.config.pad_token_id is None
    rows = [[*row, 7] for row in texts()]
    given = batch(rows, 3, "classification")
    loss = EvaluateBatch(backbone, whole(LAYERS), given.lengths, given)(backbone.initial(), given)[0]
    assert loss == pytest.approx(plain_loss(plain, rows, given.labels), rel=1e-5)


@pytest.mark.parametrize(("family", "pad", "message"), [
    ("roberta", None, "counts positions from it, and there is none"),
    ("roberta", 29, "29 is no token; there are embeddings for 29"),
    ("bert", -30, "-30 is no token; there are embeddings for 29"),
    ("llama", 29, "29 is no token; there are embeddings for 29"),
    ("llama", "x", "expected int, got 'x'"),
])  # fmt: skip
def test_a_padding_token_that_cannot_be_is_a_fault(tmp_path: Path, family: str, pad: Any, message: str) -> None:
    folder = configuration(tmp_path, family, pad_token_id=pad)
    with pytest.raises(InputFaults, match=message) as caught:
        locate(BackboneOptions(name=str(folder), weights="random"), Context(Streams(0)))
    assert caught.value.faults[0].path == "name"
    good = configuration(tmp_path / "good", family)
    if isinstance(pad, int):
        options = BackboneOptions(name=str(good), weights="random", config={"pad_token_id": pad})
        with pytest.raises(InputFaults, match=message) as caught:
            locate(options, Context(Streams(0)))
        assert caught.value.faults[0].path == "config.pad_token_id"
