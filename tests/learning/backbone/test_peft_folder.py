"""Adapters as peft saves them: loaded by peft they give the logits of the run, for every family and objective."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from small_models import (
    CASES,
    CLASSES,
    LINEAR,
    PAD,
    VOCABULARY,
    batch_of,
    configuration,
    made,
    perturbed,
    small,
)
from torch import Tensor
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from elsa_sim.learning.backbone.model import Backbone
from elsa_sim.learning.backbone.options import BackboneOptions, LoraOptions, whole
from elsa_sim.learning.backbone.peft_folder import PeftFolder
from elsa_sim.learning.backbone.tokenizers import learned

LORA = LoraOptions(rank=2, alpha=3.0)
LENGTHS = [6, 3, 5]


def ours(backbone: Backbone, theta: dict[str, Tensor], pad: int) -> Tensor:
    batch = batch_of(LENGTHS, pad)
    with torch.no_grad():
        tokens, lengths = torch.from_numpy(batch.tokens), torch.from_numpy(batch.lengths)
        return backbone.call(theta, whole(backbone.layers), tokens, lengths)


def theirs(backbone: Backbone, base: str | Path, folder: Path, pad: int) -> Tensor:
    """Logits of what peft makes of a folder on the checkpoint ``base``."""
    classify = backbone.objective == "classification"
    factory: Any = AutoModelForSequenceClassification if classify else AutoModelForCausalLM
    more = {"num_labels": CLASSES, "ignore_mismatched_sizes": True} if classify else {}
    model = PeftModel.from_pretrained(factory.from_pretrained(base, **more), folder).eval()
    batch = batch_of(LENGTHS, pad)
    mask = torch.arange(max(LENGTHS)) < torch.from_numpy(batch.lengths)[:, None]
    with torch.no_grad():
        return model(input_ids=torch.from_numpy(batch.tokens), attention_mask=mask.long()).logits


def same(one: Tensor, other: Tensor, backbone: Backbone) -> None:
    if backbone.objective == "causal_lm":  # what follows the end of a sequence means nothing
        valid = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]
        one, other = one[valid], other[valid]
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return learned(["a b c", "d e f"], causal=False)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(
    ("family", "objective", "targets"),
    [*((*case, "usual") for case in CASES), *((name, "classification", "all") for name in ("bert", "roberta", "gpt2"))],
)
def test_peft_gives_our_logits(tmp_path: Path, family: str, objective, targets: str, tokenizer: Any) -> None:
    named = LINEAR[family] if targets == "all" else None
    backbone = small(tmp_path, family, objective, targets=named)
    theta = perturbed(backbone.initial())
    written = PeftFolder(backbone, LORA, None)
    written.save(theta, tmp_path / "out")
    written.save_backbone(tmp_path / "out/backbone", tokenizer)
    assert sorted(os.listdir(tmp_path / "out")) == ["adapter_config.json", "adapter_model.safetensors", "backbone"]
    pad = PAD.get(family, 0)
    there = theirs(backbone, tmp_path / "out/backbone", tmp_path / "out", pad)
    same(there, ours(backbone, theta, pad), backbone)
    assert not torch.allclose(there, ours(backbone, backbone.initial(), pad), atol=1e-3), "adapters do something"
    values = load_file(tmp_path / "out/adapter_model.safetensors")
    assert len(values) == len(theta)
    assert all(tensor.dtype == torch.float32 for tensor in values.values())
    if family in ("bert", "gpt2", "llama"):  # the families whose tokenizer a run may learn
        assert AutoTokenizer.from_pretrained(tmp_path / "out/backbone").get_vocab() == tokenizer.get_vocab()


def checkpoint(folder: Path, kind: Any) -> Path:
    """A pretrained BERT; of AutoModel without a pooler it lacks head and pooler."""
    configuration(folder, "bert")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        config = AutoConfig.from_pretrained(folder)
        more = {"add_pooling_layer": False} if kind is AutoModel else {}
        kind.from_config(config, **more).save_pretrained(folder)
    return folder


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("kind", [AutoModel, AutoModelForSequenceClassification])
def test_a_pooler_that_a_checkpoint_lacks_comes_with_the_adapters(tmp_path: Path, kind: Any) -> None:
    base = checkpoint(tmp_path / "ckpt", kind)
    lora = LoraOptions(rank=2, alpha=3.0, targets=("query", "dense"))
    backbone = made(BackboneOptions(name=str(base), lora=lora), "classification")
    theta = perturbed(backbone.initial())
    written = PeftFolder(backbone, lora, str(base))
    written.save(theta, tmp_path / "out")
    fields = json.loads((tmp_path / "out/adapter_config.json").read_text())
    assert fields["base_model_name_or_path"] == str(base)
    assert fields["modules_to_save"] == ["classifier", *(["pooler"] if kind is AutoModel else [])]
    same(theirs(backbone, base, tmp_path / "out", 0), ours(backbone, theta, 0), backbone)
    assert backbone.random is False


def test_what_is_written_twice_is_the_same_and_replaces(tmp_path: Path) -> None:
    backbone = small(tmp_path, "bert")
    theta, state = perturbed(backbone.initial()), torch.random.get_rng_state()
    for name in ("one", "two"):
        PeftFolder(backbone, LORA, None).save(theta, tmp_path / name)
    assert torch.equal(torch.random.get_rng_state(), state), "it draws nothing"
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    fields = json.loads((tmp_path / "one/adapter_config.json").read_text())
    assert (fields["r"], fields["lora_alpha"], fields["task_type"]) == (2, 3.0, "SEQ_CLS")
    assert fields["target_modules"] == ["query", "value"]
    before = (tmp_path / "one/adapter_model.safetensors").read_bytes()
    PeftFolder(backbone, LORA, None).save(backbone.initial(), tmp_path / "one")
    assert (tmp_path / "one/adapter_model.safetensors").read_bytes() != before
    assert sorted(os.listdir(tmp_path / "one")) == ["adapter_config.json", "adapter_model.safetensors"]


@pytest.mark.processes
def test_the_order_of_names_does_not_depend_on_the_process(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
sys.path[:0] = [sys.argv[1]]
from small_models import LINEAR, small
from elsa_sim.learning.backbone.options import LoraOptions
from elsa_sim.learning.backbone.peft_folder import PeftFolder
backbone = small(Path(sys.argv[2]), "bert", targets=LINEAR["bert"])
PeftFolder(backbone, LoraOptions(rank=2, alpha=3.0), None).save(backbone.initial(), Path(sys.argv[2]) / sys.argv[3])
"""
    helpers = str(Path(__file__).parents[1])
    for seed in ("1", "2"):
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code, helpers, str(tmp_path), seed],
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
        )
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


def test_the_classes_of_a_saved_backbone_have_names(tmp_path: Path, tokenizer: Any) -> None:
    backbone = small(tmp_path, "bert")
    PeftFolder(backbone, LORA, None).save_backbone(tmp_path / "out", tokenizer, ["no", "yes", "perhaps"])
    config = AutoConfig.from_pretrained(tmp_path / "out")
    assert config.id2label == {0: "no", 1: "yes", 2: "perhaps"}
    assert config.vocab_size == VOCABULARY
    assert backbone.family.config.id2label[0] == "LABEL_0", "that of the run is left alone"
