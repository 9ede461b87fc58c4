"""Closed forms against what PyTorch's counter counts: every family, objective, part, phase and choice of targets."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from small_models import CASES, CLASSES, LAYERS, LINEAR, VOCABULARY, configuration, made, small

from elsa_sim.base.context import Context
from elsa_sim.base.streams import Streams
from elsa_sim.learning.backbone import flops_closed_form
from elsa_sim.learning.backbone.flops import FlopCounter
from elsa_sim.learning.backbone.memory import Outline
from elsa_sim.learning.backbone.options import BackboneOptions, LoraOptions, locate, three_parts, whole

PARTS = [*three_parts(LAYERS, 1, 1), *three_parts(LAYERS, 0, 0)[::2], whole(LAYERS)]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shapes")


@cache
def outline(root: Path, family: str, objective: str, targets: tuple[str, ...] | None) -> Outline:
    lora = LoraOptions(rank=2, alpha=3.0, targets=targets)
    place = configuration(root / f"{family}-shape", family)
    source = locate(BackboneOptions(name=str(place), weights="random", lora=lora), Context(Streams(0)))
    return Outline.of(source, lora, causal_lm=objective == "causal_lm", labels=CLASSES, vocabulary=VOCABULARY)


#: Besides the default choice: everything, one module before attention, the one behind it, one of the feed-forward block.
TARGETS = {"bert": (LINEAR["bert"], ("key",), ("dense",)), "gpt2": (("c_attn", "c_fc"), ("c_proj",), ("c_fc",)),
           "qwen3": (LINEAR["qwen3"], ("k_proj",), ("o_proj",), ("down_proj",)),
           "phi3": (LINEAR["phi3"], ("o_proj",), ("gate_up_proj",)), "gemma2": (("k_proj",), ("up_proj",)),
           "deberta-v2": (LINEAR["deberta-v2"], ("key_proj",), ("query_proj",), ("dense",)),
           "modernbert": (LINEAR["modernbert"], ("Wi",), ("Wo",)),
           "opt": (LINEAR["opt"], ("k_proj",), ("fc1",)),
           "gpt_neox": (LINEAR["gpt_neox"], ("dense",), ("dense_h_to_4h",), ("dense_4h_to_h",))}  # fmt: skip
CHOICES = [(*case, None) for case in CASES] + [
    (f, "classification", each) for f, some in TARGETS.items() for each in some
]


@pytest.mark.parametrize(("family", "objective", "targets"), CHOICES)
def test_the_formulas_are_the_count(root: Path, family: str, objective: str, targets: tuple[str, ...] | None) -> None:
    counter = FlopCounter(small(root, family, objective, meta=True, rank=2, targets=targets))
    shape = outline(root, family, objective, targets)
    for part in PARTS:
        for phase in ("learn",) if part.last else ("forward", "backward"):
            for rows, width in ((1, 3), (3, 8)):
                counted = counter.flops(part, phase, rows, width)
                assert (
                    flops_closed_form.flops(shape, part, "both" if phase == "learn" else phase, rows, width) == counted
                ), (
                    part,
                    phase,
                )


@pytest.mark.parametrize("family", ["bert", "gpt2", "llama"])
def test_with_gradient_checkpointing_each_layer_is_counted_once_more(root: Path, family: str) -> None:
    options = BackboneOptions(name=str(configuration(root / f"{family}-again", family)), weights="random",
                              lora=LoraOptions(rank=2, alpha=3.0), gradient_checkpointing=True)  # fmt: skip
    counter = FlopCounter(made(options, "classification", meta=True))
    shape = replace(outline(root, family, "classification", None), numbers=options.numbers)
    for part in PARTS:
        for phase in ("learn",) if part.last else ("forward", "backward"):
            formula = flops_closed_form.flops(shape, part, "both" if phase == "learn" else phase, 3, 7)
            assert formula == counter.flops(part, phase, 3, 7), (part, phase)


VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("gpt_neox", {"use_parallel_residual": False}),
    ("opt", {"do_layer_norm_before": False}),
    ("deberta-v2", {"share_att_key": False, "pos_att_type": ["c2p"]}),
    ("deberta-v2", {"relative_attention": False}),
]


@pytest.mark.parametrize(("family", "changes"), VARIANTS, ids=str)
def test_formulas_follow_the_configuration(tmp_path: Path, family: str, changes: dict[str, Any]) -> None:
    place = configuration(tmp_path / f"{family}-shape", family, **changes)
    plain = locate(BackboneOptions(name=str(place), weights="random"), Context(Streams(0)))
    for targets in (None, *((name,) for name in sorted({name for name, *_ in plain.architecture.linear()}))):
        lora = LoraOptions(rank=2, alpha=3.0, targets=targets)
        source = locate(BackboneOptions(name=str(place), weights="random", lora=lora), Context(Streams(0)))
        shape = Outline.of(source, lora, causal_lm=False, labels=CLASSES, vocabulary=VOCABULARY)
        counter = FlopCounter(small(tmp_path, family, meta=True, rank=2, targets=targets, **changes))
        for part in PARTS:
            for phase in ("learn",) if part.last else ("forward", "backward"):
                told = flops_closed_form.flops(shape, part, "both" if phase == "learn" else phase, 3, 8)
                assert told == counter.flops(part, phase, 3, 8), (targets, part, phase)


def test_an_update_is_counted_per_trained_parameter(root: Path) -> None:
    backbone = small(root, "bert", meta=True, rank=2)
    parts = three_parts(LAYERS, 1, 1)
    trained = sum(spec.numel for part in parts for name, spec in backbone.specs.items() if name in backbone.names(part))
    assert flops_closed_form.update(outline(root, "bert", "classification", None), parts) == 14.0 * trained
