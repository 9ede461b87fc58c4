"""The catalogue: what each configuration makes is what was published, and how a scenario names one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from small_runs import loaded
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

from elsa_sim.base.context import Context
from elsa_sim.base.errors import InputFaults, ScenarioError
from elsa_sim.base.streams import Streams
from elsa_sim.learning.backbone import configuration
from elsa_sim.learning.backbone.architecture import DECODERS, ENCODERS, architecture
from elsa_sim.learning.backbone.catalogue import Entry, entries, told
from elsa_sim.learning.backbone.configuration import BUILT_IN
from elsa_sim.learning.backbone.memory import Outline
from elsa_sim.learning.backbone.options import BackboneOptions, LoraOptions, locate, whole
from elsa_sim.run import checks

USABLE = [name for name, entry in entries().items() if not entry.missing]
CONTEXT = Context(Streams(0))
LENGTHS = "task={kind: lengths, length: 64, batch_size: 4}"
TIMING = "execution.mode=timing"
HUGE = ("devices.client.memory=1 TB", "devices.edge.memory=9 TB", "devices.client.speed=100 TFLOP/s")


def counted(entry: Entry) -> int:
    """Parameters of the model that transformers makes of a configuration; all layers but the first two are alike."""
    fields = dict(entry.config)
    family = fields.pop("model_type")
    key = next(each for each in ("num_hidden_layers", "n_layers", "n_layer") if each in fields)
    factory = AutoModel if family in ENCODERS else AutoModelForCausalLM
    two, three = (_made(factory, AutoConfig.for_model(family, **fields | {key: layers})) for layers in (2, 3))
    return two + (three - two) * (fields[key] - 2)


def _made(factory: type, config: object) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in factory.from_config(config).parameters())


@pytest.mark.parametrize("name", entries())
def test_parameters_are_those_that_were_published(name: str) -> None:
    entry = entries()[name]
    assert abs(counted(entry) / entry.parameters - 1) < (1e-9 if entry.verified else 5e-3)


@pytest.mark.parametrize("name", USABLE)
def test_shapes_are_read_as_transformers_reads_them(name: str) -> None:
    """Frozen parameters of the unsplit model, with the head of a language model where it has one."""
    entry, source = entries()[name], locate(BackboneOptions(name=name), CONTEXT)
    decoder = source.architecture.decoder
    vocabulary = source.architecture.vocabulary
    outline = Outline.of(source, LoraOptions(), causal_lm=decoder, labels=2, vocabulary=vocabulary)
    pooler = source.architecture.hidden * (source.architecture.hidden + 1) * (source.architecture.family == "roberta")
    assert outline.frozen([whole(source.layers)]) + pooler == counted(entry)  # RoBERTa's class head has no pooler
    assert source.location is None
    assert source.tokenizer is None
    assert source.hub == entry.hub


def test_names_are_of_nothing_else_and_families_are_known() -> None:
    assert not entries().keys() & {*BUILT_IN, "minilm"}
    for entry in entries().values():
        assert entry.missing or entry.config["model_type"] in (*ENCODERS, *DECODERS)
        assert "/" in entry.hub


def test_what_is_told_of_an_entry() -> None:
    assert told(entries()["llama-3.1-8b"]) == (
        "llama, 8.03 billion parameters, 32 layers, width 4096; timing mode (weights: meta-llama/Llama-3.1-8B)"
    )
    assert told(entries()["distilbert-base"]).startswith("distilbert, 66.36 million parameters, 6 layers, width 768")
    assert "about 3.88 billion parameters (of the text part alone" in told(entries()["gemma-3-4b"])
    assert "cannot be cut yet" in told(entries()["phi-2"])


@pytest.mark.parametrize("name", [name for name, entry in entries().items() if entry.missing])
def test_what_is_said_to_be_missing_is_missing(name: str) -> None:
    family = str(entries()[name].config["model_type"])
    if family in (*ENCODERS, *DECODERS):
        with pytest.raises(InputFaults):
            architecture(family, entries()[name].config, {})


def test_one_that_cannot_be_cut_says_why() -> None:
    with pytest.raises(InputFaults, match="'phi-2' is in the catalogue, but it cannot be cut yet"):
        locate(BackboneOptions(name="phi-2"), CONTEXT)


def test_a_name_that_is_nearly_one_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(InputFaults, match=r"Did you mean 'llama-3\.1-8b'\?"):
        locate(BackboneOptions(name="Llama-3.1-8b"), CONTEXT)


def test_its_configuration_can_be_changed() -> None:
    source = locate(BackboneOptions(name="qwen3-8b", config={"num_hidden_layers": 3}), CONTEXT)
    assert (source.layers, source.architecture.hidden) == (3, 4096)


def test_a_folder_and_the_local_cache_go_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fields = {"model_type": "roberta", "hidden_size": 24, "num_attention_heads": 2, "pad_token_id": 1}
    (tmp_path / "roberta-base").mkdir()
    (tmp_path / "roberta-base" / "config.json").write_text(json.dumps(fields), encoding="utf-8")
    found = locate(BackboneOptions(name="roberta-base", weights="random"), Context(Streams(0), tmp_path))
    assert (found.architecture.hidden, found.hub) == (24, None)
    held = tmp_path / "roberta-base" / "config.json"
    monkeypatch.setattr(configuration, "cached", lambda place, name: held)
    monkeypatch.setattr(configuration, "file_of", lambda place, name: held)
    assert locate(BackboneOptions(name="roberta-base"), CONTEXT).architecture.hidden == 24
    assert locate(BackboneOptions(name="bert-base"), CONTEXT).architecture.hidden == 768  # no id of the hub


def test_it_has_neither_weights_nor_a_tokenizer() -> None:
    with pytest.raises(ScenarioError, match=r"architecture of the catalogue, without weights.*google-bert/bert-base"):
        checks.check(loaded("backbone={name: bert-base}", *HUGE))
    with pytest.raises(ScenarioError, match=r"without a tokenizer.*task.kind: lengths"):
        checks.check(loaded("backbone={name: bert-base}", TIMING, *HUGE))
    assert checks.check(loaded("backbone={name: bert-base}", TIMING, LENGTHS, *HUGE)).source.layers == 12


def test_positions_end_where_the_configuration_says() -> None:
    with pytest.raises(ScenarioError, match="no positions beyond 512 tokens"):
        checks.check(loaded("backbone={name: bert-base}", TIMING, "task={kind: lengths, length: 513}", *HUGE))
