"""Closed forms against what PyTorch's counter counts: every family, objective, part, phase and choice of targets."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from flop_counter import counted, head
from small_models import CASES, CLASSES, LAYERS, LINEAR, VOCABULARY, configuration, made, small

from elsa_sim.base.context import Context
from elsa_sim.base.streams import Streams
from elsa_sim.learning.backbone.flops import Formulas, Phase, update_flops
from elsa_sim.learning.backbone.memory import Outline
from elsa_sim.learning.backbone.model import Backbone
from elsa_sim.learning.backbone.options import BackboneOptions, LoraOptions, Part, locate, three_parts, whole

PARTS = [*three_parts(LAYERS, 1, 1), *three_parts(LAYERS, 0, 0), whole(LAYERS),
         Part("align", 0, LAYERS, first=True)]  # fmt: skip


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


PHASES: list[tuple[Part, Phase]] = [
    (part, phase) for part in PARTS for phase in (("learn",) if part.last else ("forward", "backward"))
]


def assert_counted(shape: Outline, backbone: Backbone) -> None:
    """Every part and phase costs what the counter finds."""
    formulas = Formulas(shape)
    for part, phase in PHASES:
        for rows, width in ((3, 8), (1, 3))[: 1 + (part in PARTS[:3])]:
            assert formulas.flops(part, phase, rows, width) == counted(backbone, part, phase, rows, width), (
                part,
                phase,
            )


@pytest.mark.parametrize(("family", "objective", "targets"), CHOICES)
def test_the_formulas_are_the_count(root: Path, family: str, objective: str, targets: tuple[str, ...] | None) -> None:
    backbone = small(root, family, objective, rank=2, targets=targets)
    shape = outline(root, family, objective, targets)
    assert_counted(shape, backbone)
    assert Formulas(shape).head(5) == head(backbone, 5)


@pytest.mark.parametrize("family", ["bert", "gpt2", "llama"])
def test_with_gradient_checkpointing_each_layer_is_counted_once_more(root: Path, family: str) -> None:
    options = BackboneOptions(name=str(configuration(root / f"{family}-again", family)), weights="random",
                              lora=LoraOptions(rank=2, alpha=3.0), gradient_checkpointing=True)  # fmt: skip
    backbone = made(options, "classification")
    assert_counted(replace(outline(root, family, "classification", None), numbers=options.numbers), backbone)


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
        assert_counted(shape, small(tmp_path, family, rank=2, targets=targets, **changes))


def test_an_update_is_counted_per_trained_parameter(root: Path) -> None:
    backbone = small(root, "bert", rank=2)
    parts = three_parts(LAYERS, 1, 1)
    trained = sum(spec.numel for part in parts for name, spec in backbone.specs.items() if name in backbone.names(part))
    assert update_flops(outline(root, "bert", "classification", None), parts) == 14.0 * trained
