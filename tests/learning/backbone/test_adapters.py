"""Adapters to start from: what does not fit is told by its kind, from headers; what fits starts a backbone."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_models import CASES, CLASSES, LINEAR, VOCABULARY, configuration, perturbed, small
from torch import Tensor

from elsa_sim.base.context import Context
from elsa_sim.base.errors import Fault, InputFaults
from elsa_sim.base.streams import Streams
from elsa_sim.learning.backbone.adapters import PEFT, adapter_files, examine_adapters, expected, frozen_of, own_name
from elsa_sim.learning.backbone.model import Backbone, build
from elsa_sim.learning.backbone.options import BackboneOptions, LoraOptions, Source, locate
from elsa_sim.learning.backbone.peft_folder import PeftFolder

LORA = LoraOptions(rank=2, alpha=3.0)
NAMES = ["a", "b", "c"]
assert len(NAMES) == CLASSES


def saved(tmp_path: Path, family: str = "bert", objective: Any = "classification", **changes: Any) -> Backbone:
    """A backbone, and adapters that were trained on it in ``tmp_path/out``."""
    backbone = small(tmp_path, family, objective, **changes)
    targets = changes.get("targets")
    PeftFolder(backbone, LORA.model_copy(update={"targets": targets}), None).save(
        perturbed(backbone.initial()), tmp_path / "out"
    )
    return backbone


def source_of(tmp_path: Path, family: str = "bert", lora: LoraOptions = LORA, adapters: str = "out") -> Source:
    folder = configuration(tmp_path / "config", family)
    options = BackboneOptions(name=str(folder), weights="random", lora=lora, adapters=adapters)
    return locate(options, Context(Streams(0), tmp_path))


def told(source: Source, lora: LoraOptions = LORA, *, causal_lm: bool = False, labels: Any = NAMES) -> list[str]:
    """The faults, all at ``adapters``."""
    found: list[Fault] = []
    try:
        examine_adapters(source, lora, name="here", causal_lm=causal_lm, labels=labels)
    except InputFaults as error:
        found = list(error.faults)
    assert {fault.path for fault in found} <= {"adapters"}
    return [fault.message for fault in found]


@pytest.mark.parametrize(("family", "objective"), CASES)
def test_what_is_expected_is_what_peft_writes(tmp_path: Path, family: str, objective: Any) -> None:
    saved(tmp_path, family, objective, targets=LINEAR[family])
    lora = LORA.model_copy(update={"targets": LINEAR[family]})
    source = source_of(tmp_path, family, lora)
    held = {name: tuple(t.shape) for name, t in load_file(tmp_path / "out/adapter_model.safetensors").items()}
    low_rank = {name: shape for name, shape in held.items() if ".lora_" in name}
    assert expected(source.architecture, LINEAR[family], 2) == low_rank
    assert told(source, lora, causal_lm=objective == "causal_lm") == []


@pytest.mark.parametrize(("family", "objective"), CASES)
def test_a_backbone_starts_from_them(tmp_path: Path, family: str, objective: Any) -> None:
    first = saved(tmp_path, family, objective)
    source = source_of(tmp_path, family)
    options = BackboneOptions(name=str(tmp_path / "config"), weights="random", lora=LORA, adapters="out")
    how = {"labels": CLASSES, "vocabulary": VOCABULARY, "pad_id": 0, "seed": 9}
    begun = build(options, source, objective, **how).initial()
    theirs = perturbed(first.initial())
    assert begun.keys() == theirs.keys()
    assert all(torch.equal(begun[name], theirs[name]) for name in begun)
    outline = build(options, source, objective, **how, meta=True)
    assert outline.outline


def settings(folder: Path, **changes: Any) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def tensors(folder: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> None:
    path = folder / "adapter_model.safetensors"
    save_file(change(load_file(path)), path)


def lora_of(**changes: Any) -> LoraOptions:
    return LORA.model_copy(update=changes)


@pytest.mark.parametrize(
    ("lora", "fault"),
    [
        (lora_of(rank=4), "they have rank 2, the scenario 4; make lora.rank the same"),
        (lora_of(alpha=8.0), "they have alpha 3.0, the scenario 8; make lora.alpha the same"),
        (
            lora_of(targets=("query", "key")),
            "they are on query, value (6 modules), the scenario's on key, query (6); make lora.targets the same",
        ),
        (
            lora_of(targets=("query",)),
            "they are on query, value (6 modules), the scenario's on query (3); make lora.targets the same",
        ),
    ],
)
def test_each_thing_that_does_not_fit_is_one_fault(tmp_path: Path, lora: LoraOptions, fault: str) -> None:
    saved(tmp_path)
    assert told(source_of(tmp_path, lora=lora), lora) == [fault]


def test_all_that_does_not_fit_is_told_at_once(tmp_path: Path) -> None:
    saved(tmp_path)
    lora = lora_of(rank=3, alpha=1.0, targets=("key",))
    faults = told(source_of(tmp_path, lora=lora), lora, labels=[*NAMES, "d"])
    assert [fault.split()[2] for fault in faults] == ["rank", "alpha", "on", "head"]


def test_classes_count(tmp_path: Path) -> None:
    saved(tmp_path)
    source = source_of(tmp_path)
    assert told(source, labels=[*NAMES, "d"]) == ["their class head has 3 classes, the task 4"]
    saved(tmp_path / "lm", "gpt2", "causal_lm")
    source = source_of(tmp_path, "gpt2", adapters="lm/out")
    assert told(source) == ["they have no class head, which the task needs"]
    assert told(source, causal_lm=True) == []


def test_another_backbone_is_told(tmp_path: Path) -> None:
    saved(tmp_path, hidden_size=8, intermediate_size=12)
    (first, second) = told(source_of(tmp_path))
    assert first.startswith(
        "they have base_model.model.bert.encoder.layer.0.attention.self.query.lora_A.weight as [2, 8]"
    )
    assert "they were trained on another backbone" in first
    assert second.endswith("as [3, 8], and the backbone makes it [3, 16]") or "classes" in second
    saved(tmp_path / "deep", num_hidden_layers=4)
    (fault, *_) = told(source_of(tmp_path, adapters="deep/out"))
    assert fault.startswith("they have 4 tensors that the backbone (bert) has no place for, such as ")
    assert "layer.3." in fault
    saved(tmp_path / "flat", num_hidden_layers=2)
    assert told(source_of(tmp_path, adapters="flat/out")) == [
        "they are on query, value (4 modules), the scenario's on query, value (6); make lora.targets the same"
    ]


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"use_dora": True}, "they have use_dora: True, which is not modelled; valid: False"),
        ({"use_rslora": True}, "they have use_rslora: True, which is not modelled; valid: False"),
        ({"rank_pattern": {"query": 4}}, "they have rank_pattern: {'query': 4}, which is not modelled; valid: {}"),
        ({"bias": "all"}, "they have bias: 'all', which is not modelled; valid: 'none'"),
        ({"peft_type": "IA3"}, "they are of peft's type 'IA3'; LORA is needed"),
    ],
)
def test_other_kinds_of_adapters_are_told(tmp_path: Path, changes: dict[str, Any], fault: str) -> None:
    saved(tmp_path)
    settings(tmp_path / "out", **changes)
    assert told(source_of(tmp_path)) == [fault]


def test_damaged_files_are_told(tmp_path: Path) -> None:
    saved(tmp_path)
    name = own = next(iter(load_file(tmp_path / "out/adapter_model.safetensors")))
    assert own_name(own) in small(tmp_path, "bert").specs or own.startswith(f"{PEFT}classifier")
    whole = (tmp_path / "out/adapter_model.safetensors").read_bytes()
    tensors(tmp_path / "out", lambda held: {n: t for n, t in held.items() if n != _lora_a(held)})
    assert told(source_of(tmp_path))[0].startswith("they lack 1 tensors, such as ")
    (tmp_path / "out/adapter_model.safetensors").write_bytes(whole)
    tensors(tmp_path / "out", lambda held: {**held, name: held[name].to(torch.int32)})
    assert told(source_of(tmp_path)) == [f"they have {name} as I32; floating point numbers are needed"]
    (tmp_path / "out/adapter_model.safetensors").write_bytes(whole[:100])
    assert "adapter_model.safetensors cannot be opened" in told(source_of(tmp_path))[0]
    (tmp_path / "out/adapter_model.safetensors").write_bytes(whole)
    (tmp_path / "out/adapter_config.json").write_text("[]")
    assert "adapter_config.json cannot be read: it holds no mapping" in told(source_of(tmp_path))[0]


def _lora_a(held: dict[str, Tensor]) -> str:
    return next(name for name in held if "lora_A" in name)


def test_half_precision_is_taken_as_it_is(tmp_path: Path) -> None:
    saved(tmp_path)
    tensors(tmp_path / "out", lambda held: {name: tensor.bfloat16() for name, tensor in held.items()})
    assert told(source_of(tmp_path)) == []


def test_missing_files_are_faults(tmp_path: Path) -> None:
    with pytest.raises(InputFaults, match=r"no such file 'out/adapter_config\.json'"):
        source_of(tmp_path)
    saved(tmp_path / "run/adapters")
    (tmp_path / "run/adapters/out").rename(tmp_path / "moved")
    (tmp_path / "run/adapters").rename(tmp_path / "old")
    (tmp_path / "run").joinpath("adapters").mkdir()
    for path in (tmp_path / "moved").iterdir():
        path.rename(tmp_path / "run/adapters" / path.name)
    with pytest.raises(InputFaults, match=r"did you mean .*/run/adapters\?"):
        source_of(tmp_path, adapters="run")
    values = tmp_path / "run/adapters/adapter_model.safetensors"
    values.rename(values.with_name("adapter_model.bin"))
    (fault,) = told(source_of(tmp_path, adapters="run/adapters"))
    assert fault.startswith("there is no adapter_model.safetensors in ")
    assert "adapter_model.bin is a pickle, which is not read" in fault


def test_notes_tell_what_may_be_another_base(tmp_path: Path) -> None:
    saved(tmp_path)
    settings(tmp_path / "out", base_model_name_or_path="some/base")
    source = source_of(tmp_path)
    notes = examine_adapters(source, LORA, name="here", causal_lm=False, labels=NAMES)
    assert [note.partition(f" {tmp_path}/out ")[2] for note in notes] == [
        "say that they were trained on some/base; the backbone is here",
        "start on frozen weights drawn from the seed, which are not beside them",
    ]
    known = replace(source, location="some/base")
    assert examine_adapters(known, LORA, name="here", causal_lm=False, labels=NAMES) == ()


def test_frozen_weights_are_found_above_the_adapters_of_one_run_only(tmp_path: Path) -> None:
    for root in ("adapters", "other"):
        (tmp_path / root / "backbone").mkdir(parents=True)
        (tmp_path / root / "backbone/model.safetensors").write_text("")
        for name in ("best", "clients/client0", "a/b/c"):
            (tmp_path / root / name).mkdir(parents=True)
    found = tmp_path / "adapters/backbone/model.safetensors"
    for name in ("", "best", "clients/client0"):
        assert frozen_of(tmp_path / "adapters" / name) == found
    assert frozen_of(tmp_path / "adapters/a/b/c") is None
    assert frozen_of(tmp_path / "other/best") is None
    assert adapter_files(replace(source_of_nothing(tmp_path), adapters=None)) == {}


def source_of_nothing(tmp_path: Path) -> Source:
    return locate(
        BackboneOptions(name=str(configuration(tmp_path / "c", "bert")), weights="random"), Context(Streams(0))
    )


def test_nothing_heavy_is_needed_to_check() -> None:
    code = "import sys, elsa_sim.learning.backbone.adapters; sys.exit('torch' in sys.modules or 'peft' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
