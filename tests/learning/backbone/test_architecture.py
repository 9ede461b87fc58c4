"""Shapes read from a configuration alone, against transformers' own classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from small_models import CASES, CONFIGS, configuration, small
from transformers import AutoConfig

from elsa_sim.base.context import Context
from elsa_sim.base.errors import InputFaults
from elsa_sim.base.streams import Streams
from elsa_sim.learning.backbone.architecture import Architecture, architecture, merged
from elsa_sim.learning.backbone.configuration import unheeded
from elsa_sim.learning.backbone.families import FAMILIES
from elsa_sim.learning.backbone.options import BackboneOptions, LoraOptions, locate
from elsa_sim.learning.backbone.tokenizers import _of, tokenizer_for, vocabulary_for
from elsa_sim.learning.tasks.base import Texts
from elsa_sim.learning.tasks.synthetic import Synthetic

CHANGES: list[tuple[str, dict[str, Any]]] = [
    *((family, {}) for family in CONFIGS),
    ("bert", {"hidden_size": 24, "num_hidden_layers": 2, "vocab_size": 7}),
    ("distilbert", {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}),
    ("gpt2", {"n_inner": None, "n_layer": 4}),
    ("gpt2", {"hidden_size": 32, "num_hidden_layers": 1}),
    ("llama", {"num_key_value_heads": None, "hidden_size": 32}),
    ("llama", {"head_dim": 8, "attention_bias": True, "mlp_bias": True}),
    ("mistral", {"head_dim": None, "tie_word_embeddings": True}),
    ("qwen2", {"num_attention_heads": 8}),
    ("qwen3", {"head_dim": 16, "attention_bias": True}),
]


def same(found: Architecture, config: Any) -> None:
    """Whether transformers reads the same shape."""
    family = found.family
    inner = {"gpt2": "n_inner", "distilbert": "hidden_dim", "opt": "ffn_dim"}.get(family, "intermediate_size")
    assert family == config.model_type
    assert (found.layers, found.hidden, found.heads, found.vocabulary) == (
        config.num_hidden_layers, config.hidden_size, config.num_attention_heads, config.vocab_size)  # fmt: skip
    assert found.inner == (getattr(config, inner) or 4 * config.hidden_size)
    assert found.key_heads == getattr(config, "num_key_value_heads", config.num_attention_heads)
    assert found.head == getattr(config, "head_dim", config.hidden_size // config.num_attention_heads)
    assert found.positions == config.max_position_embeddings
    assert found.token_types == getattr(config, "type_vocab_size", 0)
    assert found.tied == config.tie_word_embeddings
    assert found.attention_bias == getattr(config, "attention_bias", False)
    assert found.inner_bias == getattr(config, "mlp_bias", False)


@pytest.mark.parametrize("family", FAMILIES)
def test_defaults_are_those_of_transformers(family: str) -> None:
    config = AutoConfig.for_model(family)
    same(architecture(family, {}, {}), config)
    for name, default in FAMILIES[family].fields.items():
        assert hasattr(config, name), name
        if default is not None and name != "sliding_window":
            assert getattr(config, name) == default, name
    assert config.attribute_map == FAMILIES[family].aliases


@pytest.mark.parametrize(("family", "changes"), CHANGES, ids=str)
def test_a_configuration_means_what_transformers_takes_it_for(
    tmp_path: Path, family: str, changes: dict[str, Any]
) -> None:
    folder = configuration(tmp_path / "all", family, **changes)
    source = locate(BackboneOptions(name=str(folder), weights="random"), Context(Streams(0)))
    same(source.architecture, AutoConfig.from_pretrained(folder))
    same(source.architecture, source.config)
    given = {key: value for key, value in changes.items() if value is not None}
    folder = configuration(tmp_path / "less", family)
    changed = locate(BackboneOptions(name=str(folder), weights="random", config=given), Context(Streams(0)))
    same(changed.architecture, changed.config)
    assert all(getattr(changed.config, key) == value for key, value in given.items())


OBSTACLES: list[tuple[str, dict[str, Any], str, str]] = [
    ("opt", {"word_embed_proj_dim": 8}, "word_embed_proj_dim", "tokens are embedded in 8 dimensions and projected"),
    ("deberta-v2", {"conv_kernel_size": 3}, "conv_kernel_size", "a convolution beside the first layer"),
    ("deberta-v2", {"attention_head_size": 8}, "attention_head_size", "a width of its own, 8 and not 4"),
    ("deberta-v2", {"embedding_size": 8}, "embedding_size", "a width of its own, 8 and not 16"),
    ("gemma3_text", {"use_bidirectional_attention": True}, "use_bidirectional_attention", "a decoder here sees"),
]


@pytest.mark.parametrize(("family", "changes", "key", "message"), OBSTACLES, ids=str)
def test_what_stands_in_the_way_of_a_cut_is_told(
    tmp_path: Path, family: str, changes: dict[str, Any], key: str, message: str
) -> None:
    folder = configuration(tmp_path / "in", family, **changes)
    with pytest.raises(InputFaults, match=f"its configuration: {key}: {message}") as caught:
        locate(BackboneOptions(name=str(folder), weights="random"), Context(Streams(0)))
    assert caught.value.faults[0].path == "name"
    good = {name: value for name, value in changes.items() if not isinstance(value, list)}
    options = BackboneOptions(name=str(configuration(tmp_path / "ok", family)), weights="random", config=good)
    with pytest.raises(InputFaults, match=message) as caught:
        locate(options, Context(Streams(0)))
    assert caught.value.faults[0].path == f"config.{key}"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"torch_dtype": "bfloat16"}, "has no effect here: the type of numbers is backbone.dtype"),
        ({"dtype": "bfloat16"}, "has no effect here: the type of numbers is backbone.dtype"),
        ({"quantization_config": "nf4"}, "has no effect here: quantised weights are backbone.quantize"),
        ({"model_type": "mistral"}, "has no effect here: the family is that of backbone.name"),
        ({"num_key_value_heads": 3}, "4 attention heads are no multiple of the 3 heads of keys and values"),
    ],
    ids=str,
)
def test_what_a_configuration_cannot_change(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputFaults, match=message):
        locate(BackboneOptions(name="tiny-llama", config=change), Context(Streams(0)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"config\.json of '.*' is no JSON"),
        ("{", r"config\.json of '.*' is no JSON"),
        (None, "the folder '.*' has no config.json"),
        ('{"model_type": "gemma3", "text_config": {"model_type": "gemma3_text"}}', "its text_config is of gemma3_text"),
        ('{"model_type": "mamba"}', "is of the family mamba; supported: "),
    ],
)
def test_why_a_folder_is_none_of_a_backbone(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(InputFaults, match=message):
        locate(BackboneOptions(name=str(tmp_path)), Context(Streams(0)))


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputFaults, match=r"is a file; name the folder that its config\.json is in"):
        locate(BackboneOptions(name=str(tmp_path / "config.json")), Context(Streams(0)))


def test_what_a_configuration_says_of_numbers_is_told(tmp_path: Path) -> None:
    folder = configuration(tmp_path, "llama", torch_dtype="bfloat16", quantization_config={"load_in_4bit": True})
    fields = locate(BackboneOptions(name=str(folder), weights="random"), Context(Streams(0))).fields
    one, two = unheeded(fields, "float32", quantized=False)
    assert "says bfloat16; this run has float32" in one
    assert "weights are quantised; they are float32 here" in two
    assert not list(unheeded(fields, "bfloat16", quantized=True))


def test_a_field_has_one_name() -> None:
    assert merged("gpt2", {"n_layer": 3}, {"num_hidden_layers": 5}) == {"n_layer": 5}
    assert merged("bert", {"num_hidden_layers": 3}, {}) == {"num_hidden_layers": 3}


@pytest.mark.parametrize(("family", "objective"), CASES)
def test_adapters_fit_every_linear_module_of_a_layer(tmp_path: Path, family: str, objective: Any) -> None:
    options = BackboneOptions(
        name=str(configuration(tmp_path / "a", family)), weights="random", lora=LoraOptions(rank=2)
    )
    shape = locate(options, Context(Streams(0))).architecture
    targets = tuple(sorted({name for name, *_ in shape.linear()}))
    backbone = small(tmp_path, family, objective, targets=targets, meta=True)
    first = f"{backbone.family.layer_prefix}0."
    sizes = {n: spec.shape for n, spec in backbone.specs.items() if n.startswith(first)}
    found = sorted(
        (name.split(".lora_A")[0].rsplit(".", 1)[-1], shape[1], sizes[name.replace("lora_A", "lora_B")][0])
        for name, shape in sizes.items() if "lora_A" in name
    )  # fmt: skip
    assert found == sorted(shape.linear())


@pytest.mark.parametrize("family", ["bert", "roberta", "gpt2", "opt"])
def test_sequences_up_to_the_longest_have_positions(tmp_path: Path, family: str) -> None:
    import torch

    backbone = small(tmp_path, family)
    where = configuration(tmp_path / "a", family)
    longest = locate(BackboneOptions(name=str(where), weights="random"), Context(Streams(0))).architecture.longest
    assert longest is not None
    backbone.family.embed(torch.full((1, longest), 5))
    with pytest.raises((IndexError, RuntimeError)):
        backbone.family.embed(torch.full((1, longest + 1), 5))


def texts_of(task: Synthetic) -> Texts:
    return task.read(Context(Streams(0)))


@pytest.mark.parametrize(("name", "objective"), [("minilm", "classification"), ("tiny-bert", "classification"),
                                                 ("tiny-gpt2", "causal_lm")])  # fmt: skip
def test_a_vocabulary_is_that_of_the_tokenizer_made_later(name: str, objective: Any) -> None:
    task = Synthetic(objective=objective, train_size=50)
    texts, source = texts_of(task), locate(BackboneOptions(name=name), Context(Streams(0)))
    assert vocabulary_for(source, task, texts) == _of(tokenizer_for(source, task, texts))
