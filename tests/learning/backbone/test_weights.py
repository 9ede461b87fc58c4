"""Headers of weights: what a run could not load is told without loading, and what it would draw is noted."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_models import CASES, CLASSES, CONFIGS, configuration, made
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForSequenceClassification

from elsa_sim.base.context import Context
from elsa_sim.base.errors import InputFaults
from elsa_sim.base.streams import Streams
from elsa_sim.learning.backbone import tensors
from elsa_sim.learning.backbone.options import BackboneOptions, Source, locate
from elsa_sim.learning.backbone.weights import INDEX, SINGLE, examine, weight_files

NAMES = tuple("abcdefgh")


def checkpoint(folder: Path, family: str, factory: Any = AutoModelForSequenceClassification, *, labels: int = CLASSES,
               shard: str = "5GB", **changes: Any) -> Path:  # fmt: skip
    """A folder with the weights of a small random model as transformers saves it."""
    configuration(folder, family, **changes)
    config = AutoConfig.from_pretrained(
        folder, **({} if factory is not AutoModelForSequenceClassification else {"num_labels": labels})
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        factory.from_config(config).save_pretrained(folder, max_shard_size=shard)
    return folder


def source_of(folder: Path) -> Source:
    return locate(BackboneOptions(name=str(folder)), Context(Streams(0)))


def notes(folder: Path, labels: int = CLASSES, *, causal_lm: bool = False) -> tuple[str, ...]:
    return examine(source_of(folder), causal_lm=causal_lm, labels=NAMES[:labels])


def fault(folder: Path, **how: Any) -> str:
    source = source_of(folder)
    with pytest.raises(InputFaults) as caught:
        _ = weight_files(source), examine(source, labels=NAMES[:CLASSES], **({"causal_lm": False} | how))
    assert {each.path for each in caught.value.faults} == {"name"}
    return " ".join(each.message for each in caught.value.faults)


def changed(folder: Path, **to: torch.Tensor | None) -> None:
    """Other tensors in the one file of weights; ``None`` takes one away. Dots are written ``__``."""
    weights = load_file(folder / SINGLE)
    for name, tensor in to.items():
        weights.pop(name.replace("__", "."), None)
        if tensor is not None:
            weights[name.replace("__", ".")] = tensor
    save_file(weights, folder / SINGLE, {"format": "pt"})


VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *((family, {}) for family in CONFIGS),
    ("llama", {"attention_bias": True, "mlp_bias": True}),
    ("qwen3", {"attention_bias": True, "tie_word_embeddings": True}),
    ("gpt2", {"n_inner": None}),
    ("opt", {"enable_bias": False, "tie_word_embeddings": False}),
    ("opt", {"do_layer_norm_before": False, "layer_norm_elementwise_affine": False}),
    ("opt", {"_remove_final_layer_norm": True}),
    ("gpt_neox", {"attention_bias": False, "tie_word_embeddings": True}),
    ("smollm3", {"attention_bias": True, "mlp_bias": True}),
    ("deberta-v2", {"share_att_key": False, "norm_rel_ebd": "none", "pos_att_type": "p2c|c2p"}),
    ("deberta-v2", {"relative_attention": False, "position_biased_input": True, "type_vocab_size": 2}),
    ("deberta-v2", {"position_buckets": -1, "max_relative_positions": 6, "pos_att_type": "c2p|p2c"}),
    ("modernbert", {"attention_bias": True, "mlp_bias": True, "norm_bias": True, "classifier_bias": True}),
]


@pytest.mark.parametrize(("family", "changes"), VARIANTS, ids=str)
@pytest.mark.parametrize("objective", ["classification", "causal_lm"])
def test_names_and_shapes_are_those_of_hugging_face(tmp_path: Path, family: str, changes: Any, objective: str) -> None:
    if (family, objective) not in CASES:
        return
    folder = configuration(tmp_path, family, **changes)
    shape = source_of_random(folder).architecture
    factory = AutoModelForCausalLM if objective == "causal_lm" else AutoModelForSequenceClassification
    with torch.device("meta"):
        model = factory.from_config(AutoConfig.from_pretrained(folder, num_labels=CLASSES))
    theirs = {name: tuple(each.shape) for name, each in model.named_parameters()}
    start = tensors.prefix(family)
    assert start == f"{model.base_model_prefix}."
    ours = {f"{start}{name}": size for name, size in (tensors.body(shape) | tensors.pooler(shape)).items()}
    if objective == "classification":
        ours |= tensors.class_head(shape, CLASSES)
        assert set(tensors.class_rows(shape)) <= set(tensors.class_head(shape, CLASSES))
    else:
        ours |= tensors.language_head(shape)
    assert ours == theirs


def source_of_random(folder: Path) -> Source:
    return locate(BackboneOptions(name=str(folder), weights="random"), Context(Streams(0)))


@pytest.mark.parametrize(("family", "objective"), CASES)
@pytest.mark.parametrize("shard", ["5GB", "6KB"])
def test_what_transformers_saves_is_complete(tmp_path: Path, family: str, objective: str, shard: str) -> None:
    factory = AutoModelForCausalLM if objective == "causal_lm" else AutoModelForSequenceClassification
    folder = checkpoint(tmp_path, family, factory, shard=shard)
    assert notes(folder, causal_lm=objective == "causal_lm") == ()
    assert (SINGLE in weight_files(source_of(folder))) == (shard == "5GB")
    assert set(weight_files(source_of(folder))) == {path.name for path in folder.glob("model*safetensors*")}
    made(BackboneOptions(name=str(folder)), objective)


@pytest.mark.parametrize("family", CONFIGS)
def test_a_body_without_its_prefix_is_complete_and_what_will_be_drawn_is_noted(tmp_path: Path, family: str) -> None:
    folder = checkpoint(tmp_path, family, AutoModel)
    if family == "bert":  # AutoModel has a pooler
        changed(folder, pooler__dense__weight=None)
    found = notes(folder)
    assert found[0] == "the checkpoint has no class head for this task: a fresh one is drawn from the seed"
    assert (len(found) == 2 and "no pooler" in found[1]) if family == "bert" else len(found) == 1
    made(BackboneOptions(name=str(folder)), "classification")


def test_the_old_name_of_a_head_is_known(tmp_path: Path) -> None:
    """Pythia's files have the head of GPT-NeoX as embed_out."""
    folder = checkpoint(tmp_path, "gpt_neox", AutoModelForCausalLM)
    weights = load_file(folder / SINGLE)
    old = {name.replace("lm_head.", "embed_out."): tensor for name, tensor in weights.items()}
    save_file(old, folder / SINGLE, {"format": "pt"})
    assert ("embed_out.weight" in old, notes(folder, causal_lm=True)) == (True, ())
    backbone = made(BackboneOptions(name=str(folder)), "causal_lm")
    assert torch.equal(backbone.model.lm_head.weight, old["embed_out.weight"])


def test_old_names_of_a_norm_are_known(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, "bert")
    weights = load_file(folder / SINGLE)
    old = {n.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): w
           for n, w in weights.items()}  # fmt: skip
    assert set(old) != set(weights)
    save_file(old, folder / SINGLE, {"format": "pt"})
    assert notes(folder) == ()
    made(BackboneOptions(name=str(folder)), "classification")


def test_every_shard_that_is_not_there_is_named(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, "bert", shard="6KB")
    shards = sorted(folder.glob("model-*.safetensors"))
    assert len(shards) > 3
    for gone in shards[1:3]:
        gone.unlink()
    said = fault(folder)
    assert f"{shards[1].name} is named by {INDEX}, and is not there" in said
    assert f"{shards[2].name} is named by {INDEX}, and is not there" in said
    assert shards[0].name not in said


@pytest.mark.parametrize("content", [b"", b"\xff" * 64, b"\x08\0\0\0\0\0\0\0{}      ", "cut", "fifo", "folder"])
def test_damaged_shards_are_named(tmp_path: Path, content: bytes | str) -> None:
    folder = checkpoint(tmp_path, "bert", shard="6KB")
    shard = sorted(folder.glob("model-*.safetensors"))[1]
    whole = shard.read_bytes()
    shard.unlink()
    if content == "fifo":
        os.mkfifo(shard)
    elif content == "folder":
        shard.mkdir()
    else:
        shard.write_bytes(whole[:-1] if isinstance(content, str) else content)
    said = fault(folder)
    assert shard.name in said or "lack" in said


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"weight_map": 3, "metadata": {}}', '{"weight_map": {"a": "b"}}',
                                  '{"weight_map": {"a": 1}, "metadata": {}}', "[" * 100_000])  # fmt: skip
def test_a_damaged_index_is_named(tmp_path: Path, text: str) -> None:
    folder = checkpoint(tmp_path, "bert", shard="6KB")
    (folder / INDEX).write_text(text, encoding="utf-8")
    assert INDEX in fault(folder)


def test_lacking_misshapen_and_whole_numbered_tensors_are_named(tmp_path: Path) -> None:
    name = "bert.encoder.layer.1.output.dense.weight"
    folder = checkpoint(tmp_path, "bert")
    changed(folder, **{name: None})
    assert f"lack 1 tensors of the model, such as {name}" in fault(folder)
    changed(folder, **{name: torch.zeros(3, 4)})
    assert f"{name} as [3, 4], and its config.json makes it [16, 24]" in fault(folder)
    changed(folder, **{name: torch.zeros(16, 24, dtype=torch.int8)})
    assert f"{name} as I8; floating point numbers are needed" in fault(folder)
    assert "lm_head.weight" in fault(checkpoint(tmp_path / "lm", "llama", AutoModel), causal_lm=True)


def test_other_formats_and_adapters_are_told(tmp_path: Path) -> None:
    folder = configuration(tmp_path, "bert")
    (folder / "pytorch_model.bin").write_bytes(b"x")
    assert f"there is no {SINGLE} or {INDEX}" in fault(folder)
    (folder / "adapter_config.json").write_text("{}")
    assert "adapters need the model that they belong to" in fault(folder)
    checkpoint(folder, "bert")
    assert "name a folder with a whole model" in fault(folder)


@pytest.mark.parametrize("family", CONFIGS)
def test_a_head_for_other_classes_gives_way_to_one_of_the_seed(tmp_path: Path, family: str) -> None:
    folder = checkpoint(tmp_path, family, labels=5)
    said = "the checkpoint's class head has 5 classes, the task 3: a fresh head is drawn from the seed"
    assert notes(folder) == (said,)
    rows = tensors.class_rows(source_of(folder).architecture)
    options = BackboneOptions(name=str(folder))
    one, again, other = (made(options, "classification", seed=seed).initial() for seed in (1, 1, 2))
    body = load_file(folder / SINGLE)
    name = rows[0] if rows[0] in one else next(n for n in one if n.endswith(rows[0]))
    assert one[name].shape[0] == 3
    assert torch.equal(one[name], again[name])
    assert not torch.equal(one[name], other[name])
    assert not torch.equal(one[name], body[name][:3])
    kept = [n for n in tensors.class_head(source_of(folder).architecture, 3) if n not in rows]
    assert all(torch.equal(one[n], body[n]) for n in kept), "the lower part of the head has the shape that it had"


def test_a_head_that_is_kept_for_other_names_is_noted(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, "bert", id2label={"0": "bad", "1": "good", "2": "so"})
    assert notes(folder) == (
        "the checkpoint's class head is kept; its classes are 'bad', 'good', 'so', in their places are 'a', 'b', 'c'",
    )
    folder = checkpoint(tmp_path, "bert", id2label={"0": "A", "1": "B", "2": "c"})
    assert notes(folder) == ()


def test_a_folder_without_weights_is_enough_for_random_ones(tmp_path: Path) -> None:
    source = source_of_random(configuration(tmp_path, "bert"))
    assert examine(source, causal_lm=False, labels=NAMES[:3]) == ()
    assert weight_files(source) == {}


@pytest.mark.parametrize("offline", [True, False])
def test_weights_of_the_hub_are_looked_for_in_the_cache_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, offline: bool
) -> None:
    folder = checkpoint(tmp_path, "bert", shard="6KB")
    source = Source(source_of(folder).architecture, "someone/model", "someone/model", {})
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", offline)

    def lacking() -> None:
        if offline:
            with pytest.raises(InputFaults, match="not in the local cache, and HF_HUB_OFFLINE is set"):
                examine(source, causal_lm=False, labels=NAMES[:3])
        else:
            (said,) = examine(source, causal_lm=False, labels=NAMES[:3])
            assert said == "the weights of someone/model are not in the local cache; the run will ask the hub for them"

    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda place, name: None)
    lacking()

    def there(place: str, name: str) -> str | None:
        return str(folder / name) if (folder / name).exists() else None

    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", there)
    assert examine(source, causal_lm=False, labels=NAMES[:3]) == ()
    sorted(folder.glob("model-*.safetensors"))[0].unlink()
    lacking()
