"""FLOPs by hand, and what adapters and frozen weights add to them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from small_models import CLASSES, CONFIGS, HIDDEN, INNER, LAYERS, LINEAR, VOCABULARY, configuration, outlined

from elsa_sim.learning.backbone.flops import Formulas
from elsa_sim.learning.backbone.model import Objective
from elsa_sim.learning.backbone.options import BackboneOptions, LoraOptions, Part, three_parts, whole

D, I, R = HIDDEN, INNER, 2


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("outlines")


@cache
def formulas(
    root: Path, family: str, objective: Objective = "classification", rank: int = R, every: bool = False
) -> Formulas:
    lora = LoraOptions(rank=rank, targets=LINEAR[family] if every else None)
    options = BackboneOptions(name=str(configuration(root / family, family)), weights="random", lora=lora)
    return Formulas(outlined(options, objective))


def middle(start: int = 1, stop: int = 2) -> Part:
    return Part("part2", start, stop)


@pytest.mark.parametrize(("rows", "width"), [(1, 4), (3, 7)])
def test_one_layer_by_hand(root: Path, rows: int, width: int) -> None:
    """A product of [n, a] and [a, b] is 2 n a b operations."""
    n, flops = rows * width, formulas(root, "bert")
    dense = 2 * n * (4 * D * D + 2 * D * I)  # query, key, value, output; the two of the feed-forward net
    attention = 2 * rows * (2 * width * width * D)  # scores and weighted values
    lora = 2 * (2 * n * R * (D + D))  # query and value
    assert flops.flops(middle(), "forward", rows, width) == dense + attention + lora
    # Backward: frozen products have an input gradient only; attention and LoRA have one gradient for each factor.
    assert flops.flops(middle(), "backward", rows, width) == dense + 2 * attention + 2 * lora


def test_the_first_layer_has_no_gradient_of_its_input(root: Path) -> None:
    rows, width, flops = 3, 7, formulas(root, "bert")
    n = rows * width
    inner, first = flops.flops(middle(0, 1), "backward", rows, width), Part("part1", 0, 1, first=True)
    frozen = 3 * 2 * n * D * D  # into the input through query, key and value
    keys = 2 * rows * width * width * D  # the gradient of the keys: nothing before them is trained
    lora = 2 * 2 * n * R * D  # into the input through the A of query and value
    assert flops.flops(first, "backward", rows, width) == inner - frozen - keys - lora
    assert flops.flops(first, "forward", rows, width) == flops.flops(middle(0, 1), "forward", rows, width)


@pytest.mark.parametrize("family", CONFIGS)
def test_embeddings_alone_cost_no_products(root: Path, family: str) -> None:
    part = three_parts(LAYERS, 0, 0)[0]
    assert formulas(root, family).flops(part, "backward", 2, 5) == 0
    assert formulas(root, family).flops(part, "forward", 2, 5) == 0


def test_the_head_by_hand(root: Path) -> None:
    """A part without layers: the pooler is frozen, the classifier is trained."""
    rows, part = 4, three_parts(LAYERS, 1, 0)[2]
    pooler, classifier = 2 * rows * D * D, 2 * rows * D * CLASSES
    assert formulas(root, "bert").flops(part, "learn", rows, 9) == 2 * pooler + 3 * classifier
    frozen = 2 * rows * 9 * D * VOCABULARY
    assert formulas(root, "gpt2", "causal_lm").flops(part, "learn", rows, 9) == 2 * frozen


@pytest.mark.parametrize("family", CONFIGS)
def test_the_rank_of_lora_adds_two_products_per_target(root: Path, family: str) -> None:
    """2 r (in + out) operations per token and target, besides what is done once per batch."""
    rows, width = 2, 6
    low, high = formulas(root, family, rank=2, every=True), formulas(root, family, rank=5, every=True)
    few, many = (high.flops(middle(), "forward", n, width) - low.flops(middle(), "forward", n, width)
                 for n in (1, 1 + rows))  # fmt: skip
    added = many - few
    shape = outlined(
        BackboneOptions(name=str(configuration(root / family, family)), weights="random"), "classification"
    ).shape
    sizes = [i + o for name, i, o in shape.linear() if name in LINEAR[family]]
    assert len(sizes) >= 3
    assert added == rows * width * 2 * 3 * sum(sizes)


@pytest.mark.parametrize("family", ["bert", "gpt2", "qwen3"])
def test_parts_add_up_and_learning_is_forward_and_backward(root: Path, family: str) -> None:
    flops, (rows, width) = formulas(root, family), (3, 8)
    for p, q in ((0, 0), (1, 1), (2, 0)):
        part1, part2, part3 = three_parts(LAYERS, p, q)
        body = Part("body", 0, LAYERS - q, first=True)
        forwards = [flops.flops(part, "forward", rows, width) for part in (part1, part2)]
        assert sum(forwards) == flops.flops(body, "forward", rows, width)
        total = sum(forwards) + flops.flops(part3, "learn", rows, width)
        total += sum(flops.flops(part, "backward", rows, width) for part in (part1, part2))
        # The cut costs what the whole model is spared: gradients into an input that nothing trained lies before.
        assert total >= flops.flops(whole(LAYERS), "learn", rows, width)
        if p > 0:
            assert total == flops.flops(whole(LAYERS), "learn", rows, width)
