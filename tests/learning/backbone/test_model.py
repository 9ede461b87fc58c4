"""The one frozen backbone: what is trained in which part, where weights come from, and what building leaves alone."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from small_models import (
    CASES,
    CLASSES,
    HIDDEN,
    LAYERS,
    LINEAR,
    VOCABULARY,
    batch_of,
    configuration,
    made,
    perturbed,
    small,
    tiny,
)
from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM, AutoModelForSequenceClassification

from elsa_sim.base.context import Context
from elsa_sim.base.errors import InputFaults
from elsa_sim.base.streams import Streams
from elsa_sim.learning.backbone.model import Backbone
from elsa_sim.learning.backbone.options import BackboneOptions, LoraOptions, Part, locate, three_parts, whole

CUTS = [(p, q) for p in range(LAYERS) for q in range(LAYERS - p)]


# Parts --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("p", "q"), [(-1, 1), (1, -1), (2, 1), (3, 0), (0, 3), (5, 5)])
def test_a_cut_leaves_at_least_one_layer_to_the_server(p: int, q: int) -> None:
    with pytest.raises(ValueError, match=f"cannot cut 3 layers at p = {p}, q = {q}"):
        three_parts(LAYERS, p, q)


@pytest.mark.parametrize(("family", "objective"), CASES)
def test_every_trained_and_every_frozen_tensor_is_in_exactly_one_part(tmp_path: Path, family: str, objective) -> None:
    backbone = small(tmp_path, family, objective, meta=True, targets=LINEAR[family], tie_word_embeddings=False)
    trained = sum(spec.nbytes for spec in backbone.specs.values())
    frozen = sum(p.numel() * 4 for p in backbone.model.parameters()) - trained
    shares = tuple(f"{backbone.family.prefix}{each}." for each in backbone.family.shares)
    shared = sum(p.numel() * 4 for name, p in backbone.model.named_parameters() if name.startswith(shares))
    assert trained > 0
    assert (shared > 0) == bool(shares)
    for p, q in CUTS:
        parts = three_parts(LAYERS, p, q)
        names = [name for part in parts for name in backbone.names(part)]
        assert sorted(names) == sorted(backbone.specs)
        again = (
            sum(part.start < part.stop for part in parts) - 1
        )  # a table that all layers look at is in each such part
        assert sum(backbone.bytes(part) for part in parts) == frozen + again * shared
        per_layer = {len([n for n in names if f".{i}." in n.split("lora_")[0]]) for i in range(LAYERS)}
        assert len(per_layer) == 1, "layers have equal numbers of adapters"
    assert backbone.names(whole(LAYERS)) == tuple(backbone.specs)
    assert backbone.bytes(whole(LAYERS)) == frozen
    first = backbone.bytes(three_parts(LAYERS, 0, 0)[0])
    assert first >= VOCABULARY * backbone.hidden * 4, "Part 1 has the embeddings"
    assert set(backbone.names(three_parts(LAYERS, 0, 0)[2])) == {n for n in backbone.specs if "lora_" not in n}, (
        "the head is in Part 3, whatever the cut"
    )


@pytest.mark.parametrize(
    ("family", "objective", "count"),
    [
        ("bert", "classification", HIDDEN * HIDDEN + HIDDEN),  # the pooler
        ("roberta", "classification", 0),
        ("distilbert", "classification", 0),
        ("gpt2", "classification", 2 * HIDDEN),  # weight and bias of the last norm
        ("llama", "classification", HIDDEN),
        ("qwen3", "causal_lm", HIDDEN + VOCABULARY * HIDDEN),  # the last norm and the head
    ],
)
def test_what_comes_after_the_layers_is_part_3s(tmp_path: Path, family: str, objective, count: int) -> None:
    backbone = small(tmp_path, family, objective, meta=True, tie_word_embeddings=False)
    assert backbone.bytes(three_parts(LAYERS, 0, 0)[2]) == 4 * count


def test_tied_weights_count_once_in_each_part_that_needs_them(tmp_path: Path) -> None:
    tied = small(tmp_path, "llama", "causal_lm", meta=True, tie_word_embeddings=True)
    apart = small(tmp_path, "llama", "causal_lm", meta=True, tie_word_embeddings=False)
    for part in three_parts(LAYERS, 1, 1):
        assert tied.bytes(part) == apart.bytes(part)
    assert apart.bytes(whole(LAYERS)) - tied.bytes(whole(LAYERS)) == VOCABULARY * tied.hidden * 4


# Adapters -----------------------------------------------------------------------------------------------------------


def test_adapters_start_without_effect_and_are_copies() -> None:
    backbone = tiny()
    theta = backbone.initial()
    assert {name: tuple(t.shape) for name, t in theta.items()} == {n: s.shape for n, s in backbone.specs.items()}
    assert all(not tensor.any() for name, tensor in theta.items() if "lora_B" in name)
    assert all(tensor.any() for name, tensor in theta.items() if "lora_A" in name)
    own = {parameter.data_ptr() for parameter in backbone.parameters()}
    assert not own & {tensor.data_ptr() for tensor in theta.values()}


def test_shapes_follow_rank_and_targets(tmp_path: Path) -> None:
    backbone = small(tmp_path, "bert", rank=3, targets=("query",))
    lora = {name: spec.shape for name, spec in backbone.specs.items() if "lora_" in name}
    assert len(lora) == 2 * LAYERS
    assert {name.rsplit(".", 3)[1]: shape for name, shape in lora.items()} == {
        "lora_A": (3, backbone.hidden),
        "lora_B": (backbone.hidden, 3),
    }
    assert {n: s.shape for n, s in backbone.specs.items() if "lora_" not in n} == {
        "classifier.weight": (CLASSES, backbone.hidden),
        "classifier.bias": (CLASSES,),
    }


def test_an_outline_has_the_shapes_and_nothing_else(tmp_path: Path) -> None:
    for family, objective in CASES:
        outline, real = (small(tmp_path, family, objective, meta=meta) for meta in (True, False))
        assert outline.specs == real.specs
        assert outline.outline
        assert not real.outline
        assert outline.bytes(whole(LAYERS)) == real.bytes(whole(LAYERS))
        for part in three_parts(LAYERS, 1, 1):
            assert outline.names(part) == real.names(part)


def test_calls_swap_adapters_in_and_put_the_backbones_own_back() -> None:
    backbone, batch = tiny(), batch_of([4, 2])
    part, tokens, lengths = whole(4), torch.from_numpy(batch.tokens), torch.from_numpy(batch.lengths)
    before = {name: (p.data_ptr(), p.detach().clone()) for name, p in backbone.named_parameters()}
    plain = backbone.forward(part, tokens, lengths)
    theta = perturbed(backbone.initial())
    changed = backbone.call(theta, part, tokens, lengths)
    assert not torch.allclose(changed, plain)
    with pytest.raises(IndexError):
        backbone.call(theta, part, tokens + 10**6, lengths)
    assert torch.equal(backbone.forward(part, tokens, lengths), plain)
    assert torch.equal(backbone.call(theta, part, tokens, lengths), changed)
    for name, parameter in backbone.named_parameters():
        assert parameter.data_ptr() == before[name][0]
        assert torch.equal(parameter, before[name][1])


# Where weights come from ----------------------------------------------------------------------------------------------


def same(one: Backbone, two: Backbone) -> bool:
    pairs = zip(one.model.named_parameters(), two.model.named_parameters(), strict=True)
    return all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)


def test_random_weights_depend_on_the_seed_only(tmp_path: Path) -> None:
    one = small(tmp_path, "gpt2", seed=1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(99)
        assert same(small(tmp_path, "gpt2", seed=1), one)
    torch.set_num_threads(2)
    assert same(small(tmp_path, "gpt2", seed=1), one)
    assert not same(small(tmp_path, "gpt2", seed=2), one)


def test_pretrained_weights_do_not_depend_on_the_seed_but_new_ones_do() -> None:
    one, two = (made(BackboneOptions(name="minilm"), "classification", seed=seed) for seed in (1, 2))
    left, right = dict(one.model.named_parameters()), dict(two.model.named_parameters())
    differing = {name for name in left if not torch.equal(left[name], right[name])}
    assert differing <= set(one.specs)
    assert "classifier.weight" in differing
    assert any("lora_A" in name for name in differing)
    assert (one.layers, one.hidden) == (6, 384)


def test_building_touches_no_global_random_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object) -> None:
        raise AssertionError("the accelerators' random state was written")

    monkeypatch.setattr(torch.cuda, "manual_seed_all", forbidden)
    monkeypatch.setattr(torch.mps, "manual_seed", forbidden)
    legacy = np.random.get_state()  # noqa: NPY002
    before = (torch.random.get_rng_state(), random.getstate(), legacy[1].tolist(), legacy[2])
    small(tmp_path, "bert")
    small(tmp_path, "llama", "causal_lm", meta=True)
    made(BackboneOptions(name="minilm"), "classification")
    made(BackboneOptions(name="tiny-gpt2"), "causal_lm")
    legacy = np.random.get_state()  # noqa: NPY002
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert (random.getstate(), legacy[1].tolist(), legacy[2]) == before[1:]
    assert torch.get_default_dtype() == torch.float32


def test_a_built_in_backbone_takes_the_vocabulary_of_the_task() -> None:
    for name, objective in (("tiny-bert", "classification"), ("tiny-gpt2", "causal_lm"), ("tiny-llama", "causal_lm")):
        backbone = made(BackboneOptions(name=name), objective)
        assert backbone.model.get_input_embeddings().weight.shape == (VOCABULARY, 64)
        assert backbone.layers == 4
    assert made(BackboneOptions(name="tiny-bert", config={"num_hidden_layers": 2}), "classification").layers == 2


def test_other_formats_than_safetensors_are_refused(tmp_path: Path) -> None:
    folder = configuration(tmp_path / "model", "bert")
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises(InputFaults, match="cannot be loaded from safetensors") as caught:
        made(BackboneOptions(name=str(folder)), "classification")
    assert caught.value.faults[0].path == "name"


def test_damaged_weights_are_a_fault(tmp_path: Path) -> None:
    folder = configuration(tmp_path / "model", "bert")
    for content in (b"", b"\xff" * 64, b"\x08\0\0\0\0\0\0\0{}      "):
        (folder / "model.safetensors").write_bytes(content)
        with pytest.raises(InputFaults):
            made(BackboneOptions(name=str(folder)), "classification")


def test_weights_that_are_not_there_are_a_fault_unless_they_are_the_heads(tmp_path: Path) -> None:
    folder = configuration(tmp_path / "model", "bert")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        AutoModelForMaskedLM.from_config(AutoConfig.from_pretrained(folder)).save_pretrained(folder)
    options = BackboneOptions(name=str(folder))
    backbone = made(options, "classification")
    weights = load_file(folder / "model.safetensors")
    name = "bert.encoder.layer.1.output.dense.weight"
    assert torch.equal(dict(backbone.model.named_parameters())[name], weights[name])
    del weights[name]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputFaults, match=f"lack 1 tensors of the model, such as {name}"):
        made(options, "classification")


def test_weights_of_another_shape_are_a_fault(tmp_path: Path) -> None:
    folder = configuration(tmp_path / "model", "bert")
    with torch.random.fork_rng(devices=[]):
        AutoModelForSequenceClassification.from_config(AutoConfig.from_pretrained(folder)).save_pretrained(folder)
    configuration(folder, "bert", intermediate_size=40)
    with pytest.raises(InputFaults):
        made(BackboneOptions(name=str(folder)), "classification")


# Faults -------------------------------------------------------------------------------------------------------------


def test_lora_targets_that_do_not_exist_are_named_with_those_that_do(tmp_path: Path) -> None:
    with pytest.raises(InputFaults, match=r"no linear module named 'querry' in its layers; valid: .*query") as caught:
        small(tmp_path, "bert", targets=("querry", "value"))
    assert caught.value.faults[0].path == "lora.targets"
    with pytest.raises(InputFaults, match="no linear module named 'classifier' in its layers; valid: dense, key"):
        small(tmp_path, "bert", targets=("classifier",))


def test_an_encoder_models_no_language() -> None:
    with pytest.raises(InputFaults, match=r"'tiny-bert' is an encoder; causal_lm needs one of .*gpt2, gpt_neox, llama"):
        made(BackboneOptions(name="tiny-bert"), "causal_lm")


@pytest.mark.parametrize(
    ("options", "path", "message"),
    [
        ({"name": "tiny-brt"}, "name", "no backbone 'tiny-brt'. Did you mean 'tiny-bert'?"),
        ({"name": "/nowhere/at/all"}, "name", "no backbone '/nowhere/at/all'"),
        ({"name": "bad\0name"}, "name", "no backbone"),
        ({"name": "tiny-bert", "config": {"num_layer": 3}}, "config.num_layer", "no configuration field 'num_layer'"),
        ({"name": "tiny-bert", "config": {"hidden_size": "big"}}, "config.hidden_size", "expected int, got 'big'"),
        ({"name": "minilm", "config": {"hidden_size": 8}}, "config", "add weights: random"),
    ],
)
def test_what_cannot_be_located_is_a_fault(options: dict[str, object], path: str, message: str) -> None:
    with pytest.raises(InputFaults) as caught:
        locate(BackboneOptions(**options), Context(Streams(0)))
    assert caught.value.faults[0].path == path
    assert message in caught.value.faults[0].message


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", '{"model_type": "t5"}', '{"model_type": "nonsense"}', "{}", "\xff"]
)
def test_a_folder_with_a_strange_configuration_is_a_fault(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputFaults) as caught:
        locate(BackboneOptions(name=str(tmp_path)), Context(Streams(0)))
    assert caught.value.faults[0].path == "name"


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("bert", {"hidden_size": "x"}),
        ("bert", {"hidden_size": 10}),
        ("bert", {"hidden_size": None}),
        ("bert", {"hidden_size": 10**12}),
        ("bert", {"vocab_size": 0}),
        ("bert", {"hidden_act": "nope"}),
        ("bert", {"num_hidden_layers": 0}),
        ("bert", {"model_type": ["bert"]}),
        ("gpt2", {"n_head": 0}),
        ("llama", {"num_attention_heads": 3}),
        ("llama", {"rope_parameters": {"rope_type": "nope"}}),
    ],
)
@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors:UserWarning")
def test_a_configuration_that_makes_no_model_is_a_fault(
    tmp_path: Path, family: str, changes: dict[str, object]
) -> None:
    folder = configuration(tmp_path, family, **changes)
    with pytest.raises(InputFaults):
        made(BackboneOptions(name=str(folder), weights="random"), "classification", meta=True)


@pytest.mark.parametrize(
    ("config", "path", "message"),
    [
        ({"hidden_size": 10}, "config", "hidden size 10 is not a multiple of the 4 attention heads"),
        ({"hidden_size": -8}, "config.hidden_size", "must be >= 1, got -8"),
        ({"num_attention_heads": 3}, "config", "hidden size 64 is not a multiple of the 3 attention heads"),
        ({"hidden_act": "nope"}, "config", "cannot be built"),
    ],
)
def test_changes_that_make_no_model_are_a_fault_of_the_configuration(
    config: dict[str, Any], path: str, message: str
) -> None:
    with pytest.raises(InputFaults) as caught:
        made(BackboneOptions(name="tiny-bert", config=config), "classification")
    assert caught.value.faults[0].path == path
    assert message in caught.value.faults[0].message


def test_a_folder_is_found_from_the_scenario_file(tmp_path: Path) -> None:
    configuration(tmp_path / "mine", "bert")
    source = locate(BackboneOptions(name="mine", weights="random"), Context(Streams(0), tmp_path))
    assert source.layers == LAYERS
    assert source.location is None
    source = locate(BackboneOptions(name="mine"), Context(Streams(0), tmp_path))
    assert source.location == str((tmp_path / "mine").resolve())


def test_no_code_of_a_folder_is_run(tmp_path: Path) -> None:
    """A configuration may name Python files of its own; they are never imported."""
    fields = {"model_type": "mine", "auto_map": {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"}}
    (tmp_path / "config.json").write_text(json.dumps(fields), encoding="utf-8")
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')", encoding="utf-8")
    with pytest.raises(InputFaults):
        locate(BackboneOptions(name=str(tmp_path)), Context(Streams(0)))
    assert not (tmp_path / "ran").exists()


def test_options_out_of_range_are_refused() -> None:
    for wrong in ({"rank": 0}, {"rank": 2000}, {"alpha": 0.0}, {"targets": "query"}, {"dropout": 0.1}):
        with pytest.raises(ValueError, match="validation error"):
            LoraOptions(**wrong)
    assert LoraOptions.model_validate({"targets": ["query", "value"]}).targets == ("query", "value")
    assert Part("x", 0, 1) == Part("x", 0, 1, first=False, last=False)


@pytest.mark.parametrize(
    ("family", "objective", "tied"),
    [(f, o, t) for f, o in CASES for t in (True, False) if o == "causal_lm" or not t],
)
def test_weights_of_the_body_alone_are_enough_where_the_head_is_new_or_tied(
    tmp_path: Path, family: str, objective: str, tied: bool
) -> None:
    folder = configuration(tmp_path, family, tie_word_embeddings=tied)
    with torch.random.fork_rng(devices=[]):
        AutoModel.from_config(AutoConfig.from_pretrained(folder)).save_pretrained(folder)
    options = BackboneOptions(name=str(folder))
    if objective == "causal_lm" and not tied:
        with pytest.raises(InputFaults, match=r"lack 1 tensors of the model, such as lm_head\.weight"):
            made(options, objective)
        return
    backbone = made(options, objective)
    if tied:
        assert backbone.model.get_output_embeddings().weight is backbone.model.get_input_embeddings().weight
