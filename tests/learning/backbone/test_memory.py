"""Bytes told from the configuration alone, against the real modules and what autograd really keeps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from small_models import CASES, CLASSES, CONFIGS, LINEAR, PAD, VOCABULARY, batch_of, configuration, made

from elsa_sim.base.context import Context
from elsa_sim.base.streams import Streams
from elsa_sim.learning.backbone.families import FAMILIES
from elsa_sim.learning.backbone.memory import Footprint, Outline
from elsa_sim.learning.backbone.model import Backbone, Objective
from elsa_sim.learning.backbone.numbers import SINGLE
from elsa_sim.learning.backbone.options import (
    BackboneOptions,
    LoraOptions,
    Part,
    locate,
    three_parts,
    two_parts,
    whole,
)
from elsa_sim.learning.training import reference
from elsa_sim.learning.training.optim import Optimizer, update

#: Changes of the configuration that move parameters, by family.
CHANGES: list[tuple[str, dict[str, Any]]] = [
    *((family, {}) for family in CONFIGS),
    ("gpt2", {"n_inner": None}),
    ("gpt2", {"tie_word_embeddings": False}),
    ("bert", {"type_vocab_size": 3}),
    ("llama", {"attention_bias": True}),
    ("llama", {"mlp_bias": True, "tie_word_embeddings": True}),
    ("qwen3", {"attention_bias": True, "head_dim": 8}),
    ("mistral", {"head_dim": 2, "num_key_value_heads": 4}),
    ("qwen2", {"tie_word_embeddings": True}),
    ("opt", {"enable_bias": False, "tie_word_embeddings": False}),
    ("opt", {"layer_norm_elementwise_affine": False}),
    ("opt", {"do_layer_norm_before": False}),
    ("opt", {"_remove_final_layer_norm": True}),
    ("gpt_neox", {"attention_bias": False, "tie_word_embeddings": True}),
    ("smollm3", {"attention_bias": True, "mlp_bias": True}),
    ("deberta-v2", {"share_att_key": False, "norm_rel_ebd": "none", "position_biased_input": True}),
    ("deberta-v2", {"relative_attention": False, "position_biased_input": True, "type_vocab_size": 2}),
    ("modernbert", {"attention_bias": True, "mlp_bias": True, "norm_bias": True, "classifier_bias": True}),
]


def pair(
    folder: Path, family: str, objective: Objective, lora: LoraOptions, **changes: Any
) -> tuple[Outline, Backbone]:
    where = configuration(folder / family, family, **changes)
    options = BackboneOptions(name=str(where), weights="random", lora=lora)
    source = locate(options, Context(Streams(0)))
    outline = Outline.of(source, lora, causal_lm=objective == "causal_lm", labels=CLASSES, vocabulary=0)
    return outline, made(options, objective, pad=PAD.get(family, 0), meta=True)


def test_alignment_holds_the_layers_and_grows_with_its_texts(tmp_path: Path) -> None:
    outline, backbone = pair(tmp_path, "bert", "classification", LoraOptions(rank=3))
    one, four = outline.aligning(4, 10), outline.aligning(16, 10)
    assert one.weights == four.weights == backbone.bytes(Part("align", 0, backbone.layers, first=True, last=False))
    assert one.adapters == 4 * 4 * outline.trained([whole(backbone.layers)])
    assert four.activations == 4 * one.activations > 0
    more, _ = pair(tmp_path / "more", "bert", "classification", LoraOptions(rank=3, targets=LINEAR["bert"]))
    assert more.aligning(4, 10).activations > one.activations


@pytest.mark.parametrize(("family", "changes"), CHANGES, ids=str)
@pytest.mark.parametrize("objective", ["classification", "causal_lm"])
def test_parameters_are_those_of_the_module(
    tmp_path: Path, family: str, changes: dict[str, Any], objective: Objective
) -> None:
    if (family, objective) not in CASES:
        pytest.skip("an encoder predicts no tokens")
    for targets in (None, LINEAR[family], LINEAR[family][:1]):
        outline, backbone = pair(tmp_path, family, objective, LoraOptions(rank=3, targets=targets), **changes)
        parts = [*three_parts(backbone.layers, 1, 1), whole(backbone.layers), three_parts(backbone.layers, 0, 2)[1]]
        for part in parts:
            assert 4 * outline.frozen([part]) == backbone.bytes(part), part
            assert outline.trained([part]) == sum(backbone.specs[n].numel for n in backbone.names(part)), part
        first, middle, last = three_parts(backbone.layers, 1, 1)
        together = {id(p): p.numel() for n, p in backbone.model.named_parameters() if n not in backbone.specs}
        assert outline.frozen([first, middle, last]) == sum(together.values())  # what is tied counts once
        assert outline.trained([first, last]) == outline.trained([first]) + outline.trained([last])


def test_default_targets_are_those_of_the_adapters(tmp_path: Path) -> None:
    from peft.utils.constants import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as DEFAULTS

    ours = {"distilbert": ("q_lin", "v_lin"), "olmo2": ("q_proj", "v_proj"), "phi3": ("qkv_proj",),
            "smollm3": ("q_proj", "v_proj"), "modernbert": ("Wqkv",)}  # fmt: skip # peft has none
    for family in CONFIGS:
        targets = FAMILIES[family].targets
        assert targets == tuple(DEFAULTS.get(family) or ours[family])
        _, backbone = pair(tmp_path, family, "classification", LoraOptions(rank=1))
        assert {name.split(".lora_")[0].rsplit(".", 1)[-1] for name in backbone.specs if "lora_" in name} == set(
            targets
        )
    assert set(FAMILIES) == set(CONFIGS)


def kept_bytes(backbone: Backbone, part: Any, lengths: list[int]) -> int:
    """Bytes of the tensors that autograd saves in a training step of a part, without its weights and adapters."""
    batch = batch_of(lengths)
    adapters = {n: torch.zeros(tuple(s.shape)) for n, s in backbone.specs.items() if n in backbone.names(part)}
    own = {p.untyped_storage().data_ptr() for p in backbone.parameters()}
    seen: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own and not isinstance(tensor, torch.nn.Parameter):
            seen[storage.data_ptr()] = storage.nbytes()
        held.append(tensor)  # so that no address is used twice
        return tensor

    held: list[torch.Tensor] = []
    tokens = torch.from_numpy(batch.tokens)
    x = tokens if part.first else torch.randn(int(batch.lengths.sum()), backbone.hidden).to(backbone.dtype)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        if part.last:
            labels = torch.from_numpy(batch.labels) if batch.labels is not None else None
            reference.learn(backbone, part, adapters, x, batch.lengths, tokens, labels)
        else:
            reference.forward(backbone, part, adapters, x, batch.lengths)
    return sum(seen.values()) - sum(4 * t.numel() for t in adapters.values())


BIG: dict[str, dict[str, Any]] = {
    "bert": {"hidden_size": 64, "intermediate_size": 192},
    "roberta": {"hidden_size": 64, "intermediate_size": 192},
    "distilbert": {"dim": 64, "hidden_dim": 192},
    "gpt2": {"n_embd": 64, "n_inner": 192},
    "llama": {"hidden_size": 64, "intermediate_size": 192},
    "mistral": {"hidden_size": 64, "intermediate_size": 192, "head_dim": 16},
    "qwen2": {"hidden_size": 64, "intermediate_size": 192},
    "qwen3": {"hidden_size": 64, "intermediate_size": 192, "head_dim": 16},
    **{
        family: {"hidden_size": 64, "intermediate_size": 192}
        for family in ("olmo2", "phi3", "gpt_neox", "smollm3", "modernbert", "deberta-v2")
    },
    "opt": {"hidden_size": 64, "ffn_dim": 192},
    **{family: {"hidden_size": 64, "intermediate_size": 192, "head_dim": 16} for family in ("gemma2", "gemma3_text")},
}


NUMBERS: list[dict[str, Any]] = [
    {},
    {"dtype": "bfloat16"},
    {"dtype": "float16", "quantize": "int8"},
    {"quantize": "nf4"},
]


@pytest.mark.parametrize("numbers", NUMBERS, ids=str)
@pytest.mark.parametrize(("family", "objective"), CASES, ids=str)
def test_the_whole_is_within_a_twentieth(
    tmp_path: Path, family: str, objective: Objective, numbers: dict[str, Any]
) -> None:
    """Weights to the byte; with what PyTorch keeps for the backward pass, everything within 5 % with the usual adapters."""
    where = configuration(tmp_path / family, family, **BIG[family])
    for targets, close in ((None, 0.05), (LINEAR[family], 0.07)):
        lora = LoraOptions(rank=4, targets=targets)
        options = BackboneOptions(name=str(where), weights="random", lora=lora, **numbers)
        backbone = made(options, objective, pad=PAD.get(family, 0))
        outline = Outline.of(locate(options, Context(Streams(0))), lora, causal_lm=objective == "causal_lm",
                             labels=CLASSES, vocabulary=0, numbers=options.numbers)  # fmt: skip
        for part in (*three_parts(backbone.layers, 1, 1), whole(backbone.layers)):
            assert outline.weights([part]) == backbone.bytes(part), part
            real = backbone.bytes(part) + 4 * 4 * outline.trained([part]) + kept_bytes(backbone, part, [24] * 6)
            assert outline.training([part], 6, 24).total() == pytest.approx(real, rel=close), part


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("gpt_neox", {"use_parallel_residual": False}),
        ("opt", {"do_layer_norm_before": False}),
        ("phi3", {"num_key_value_heads": 4}),
        ("deberta-v2", {"relative_attention": False}),
        ("deberta-v2", {"pos_att_type": ["c2p"]}),
    ],
)
def test_it_follows_the_configuration(tmp_path: Path, family: str, changes: dict[str, Any]) -> None:
    where = configuration(tmp_path / family, family, **{**BIG[family], **changes})
    options = BackboneOptions(name=str(where), weights="random", lora=LoraOptions(rank=4))
    backbone, source = made(options, "classification", pad=PAD.get(family, 0)), locate(options, Context(Streams(0)))
    outline = Outline.of(source, options.lora, causal_lm=False, labels=CLASSES, vocabulary=0)
    for part in (*three_parts(backbone.layers, 1, 1), whole(backbone.layers)):
        real = backbone.bytes(part) + 4 * 4 * outline.trained([part]) + kept_bytes(backbone, part, [24] * 6)
        assert outline.training([part], 6, 24).total() == pytest.approx(real, rel=0.05), part


@pytest.mark.parametrize("family", ["bert", "gpt2", "llama"])
def test_with_gradient_checkpointing_what_enters_each_layer_is_kept(tmp_path: Path, family: str) -> None:
    where = configuration(tmp_path / family, family, **BIG[family])
    options = BackboneOptions(name=str(where), weights="random", lora=LoraOptions(rank=4), gradient_checkpointing=True)
    backbone, source = made(options, "classification", pad=PAD.get(family, 0)), locate(options, Context(Streams(0)))
    outline = Outline.of(source, options.lora, causal_lm=False, labels=CLASSES, vocabulary=0, numbers=options.numbers)
    part, batch = Part("part2", 0, 3), batch_of([24] * 6)
    x = torch.randn(6 * 24, backbone.hidden)
    entered: list[torch.Tensor] = []
    layer = backbone.family.layer
    with patch.object(backbone.family, "layer", lambda i, h, c: entered.append(h) or layer(i, h, c)):  # type: ignore[func-returns-value]
        adapters = {n: torch.zeros(tuple(s.shape)) for n, s in backbone.specs.items() if n in backbone.names(part)}
        _, saved = reference.forward(backbone, part, adapters, x, batch.lengths)
        kept = sum(each.numel() * each.element_size() for each in entered)
        reference.backward(saved, torch.randn(6 * 24, backbone.hidden))
    assert len(entered) == 6, "each layer ran twice"
    one = replace(outline, numbers=SINGLE)
    layers = one.activations([Part("part2", 0, 2)], 6, 24) - one.activations([Part("part2", 0, 1)], 6, 24)
    ends = one.activations([Part("part2", 0, 1)], 6, 24) - layers
    assert outline.activations([part], 6, 24) == pytest.approx(kept + layers + ends, rel=1e-6)


def test_gradients_and_moments_are_as_large_as_what_is_trained() -> None:
    adapters = {"a": torch.zeros(3, 4), "b": torch.zeros(5)}
    _, moments = update(adapters, {n: torch.ones_like(t) for n, t in adapters.items()}, None, Optimizer(1e-3))
    assert moments is not None
    held = [adapters, adapters, moments.first, moments.second]
    assert sum(t.numel() * t.element_size() for each in held for t in each.values()) == 4 * 4 * 17


def test_copies_share_frozen_weights() -> None:
    assert Footprint(weights=100, adapters=10, activations=1).total(3) == 133


def test_a_vocabulary_that_is_still_to_be_learned() -> None:
    source = locate(BackboneOptions(name="tiny-bert"), Context(Streams(0)))
    outline = Outline.of(source, LoraOptions(), causal_lm=False, labels=2, vocabulary=VOCABULARY)
    assert (
        outline.frozen([whole(4)])
        - Outline.of(source, LoraOptions(), causal_lm=False, labels=2, vocabulary=0).frozen([whole(4)])
        == 64 * VOCABULARY
    )


@pytest.mark.parametrize("objective", ["classification", "causal_lm"])
def test_a_server_with_the_head_holds_it_once(tmp_path: Path, objective: Objective) -> None:
    """Three clients with one cut, a fourth with another: the layers and the head of the larger part, once."""
    outline, backbone = pair(tmp_path, "gpt2", objective, LoraOptions(rank=2))
    large, small = two_parts(backbone.layers, 1)[1], two_parts(backbone.layers, 2)[1]
    served = outline.served([large] * 3 + [small], 4, 8, shared=True)
    assert served.weights == backbone.bytes(large)
    assert served.adapters == 4 * 4 * (outline.trained([large]) + outline.trained([small]))
    assert served.activations == 3 * outline.activations([large], 4, 8) + outline.activations([small], 4, 8)
