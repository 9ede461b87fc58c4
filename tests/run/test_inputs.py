"""Which files a run depends on: all that its scenario names, by their contents, and told in its summary."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from elsa_sim.base.errors import InputError, ScenarioError
from elsa_sim.learning.backbone.tokenizers import learned
from elsa_sim.run import builder, simulation
from elsa_sim.run.checks import check
from elsa_sim.run.inputs import named
from elsa_sim.scenario import model

SCENARIO = """\
seed: 3
protocol: {kind: fedavg, rounds: 1, local_steps: 1}
backbone: {name: ckpt, lora: {rank: 2}}
task: {kind: text_file, train: data/train.csv, test: data/test.csv, format: csv, max_length: 16, batch_size: 4}
topology: {kind: star, clients: 2, access: {up: 20 Mbit/s, trace: trace.csv}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A scenario with data, a trace, and a checkpoint of five classes for a task of three."""
    made = tmp_path / "scene"
    (made / "data").mkdir(parents=True)
    texts = [f"w{i % 7} w{i % 5} w{i % 3}" for i in range(24)]
    for name in ("train", "test"):
        rows = "".join(f"{text},{i % 3}{'.0' if name == 'test' else ''}\n" for i, text in enumerate(texts))
        (made / "data" / f"{name}.csv").write_text("text,label\n" + rows, encoding="utf-8")
    (made / "trace.csv").write_text("time_s,bandwidth_bps\n0,2000000\n1,2000000\n", encoding="utf-8")
    tokenizer = learned(texts, causal=False)
    tokenizer.save_pretrained(made / "ckpt")
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    config = AutoConfig.for_model("bert", vocab_size=len(tokenizer), max_position_embeddings=32, num_labels=5, **sizes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        AutoModelForSequenceClassification.from_config(config).save_pretrained(made / "ckpt", max_shard_size="6KB")
    (made / "scene.yaml").write_text(SCENARIO, encoding="utf-8")
    return made


def load(folder: Path, *changes: str) -> model.Loaded:
    return model.load(folder / "scene.yaml", changes)


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read_by(folder: Path) -> dict[str, str]:
    """Every file there that a run of the scenario reads, by its path."""
    names = ["data/test.csv", "data/train.csv", "trace.csv"]
    parts = ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors.index.json")
    names += [f"ckpt/{name}" for name in parts]
    names += [f"ckpt/{path.name}" for path in (folder / "ckpt").glob("model-*.safetensors")]
    return {str((folder / name).resolve()): sha(folder / name) for name in names}


def test_a_run_tells_what_it_read_and_what_may_surprise(folder: Path, tmp_path: Path) -> None:
    simulation.run(load(folder), tmp_path / "run")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["inputs"] == read_by(folder)
    assert len(summary["inputs"]) > 8, "the weights are in several files"
    assert summary["notes"] == list(check(load(folder)).notes)
    assert [note.partition(":")[0] for note in summary["notes"]] == [
        "all labels are numbers, and compared as numbers",
        "the checkpoint's class head has 5 classes, the task 3",
    ]
    again = simulation.run(model.load(tmp_path / "run" / "scenario.yaml")).summary
    assert again["inputs"] == summary["inputs"]
    assert again["trace_sha256"] == summary["trace_sha256"], "the fresh head is drawn from the seed"


def test_no_weights_are_needed_to_tell_the_time(folder: Path) -> None:
    weights = {path.resolve() for path in (folder / "ckpt").glob("model*")}
    expected = {name: each for name, each in read_by(folder).items() if Path(name) not in weights}
    for path in weights:
        path.unlink()
    timing = load(folder, "execution.mode=timing")
    assert simulation.run(timing).summary["inputs"] == expected
    assert len(named(timing)) == len(expected)
    with pytest.raises(ScenarioError, match=r"there is no model\.safetensors"):
        check(load(folder))


def test_what_is_wrong_with_tokenizer_and_weights_is_told_at_once(folder: Path) -> None:
    (folder / "ckpt/tokenizer.json").write_text("{", encoding="utf-8")
    next((folder / "ckpt").glob("model-00002*")).unlink()
    (folder / "data/test.csv").write_text("text,label\nw1,7\n", encoding="utf-8")
    with pytest.raises(ScenarioError) as caught:
        check(load(folder))
    assert len(caught.value.faults) == 1, "without a sound task nobody knows the head"
    (folder / "data/test.csv").write_text("text,label\nw1,1\n", encoding="utf-8")
    with pytest.raises(ScenarioError) as caught:
        check(load(folder))
    assert [fault.path for fault in caught.value.faults] == ["backbone.name", "backbone.name"]
    assert "tokenizer cannot be loaded" in str(caught.value)
    assert "model-00002-of-" in str(caught.value)


@pytest.mark.parametrize("name", ["data/train.csv", "data/test.csv", "trace.csv", "ckpt/config.json",
                                  "ckpt/tokenizer.json", "ckpt/model-00001-of-*.safetensors"])  # fmt: skip
def test_the_contents_of_every_file_count(folder: Path, name: str) -> None:
    before = named(load(folder))
    assert set(before.values()) == set(read_by(folder).values())
    (path,) = folder.glob(name)
    content = path.read_bytes()
    path.write_bytes(content + b"\n")
    after = named(load(folder))
    assert {key for key in before if after[key] != before[key]} == {
        f"backbone/{path.name}" if name.startswith("ckpt") else str(path.resolve())
    }
    path.write_bytes(content)
    assert named(load(folder)) == before
    path.unlink()
    assert len(named(load(folder))) < len(before), "what is not there is told by a check"


def test_a_weight_that_changes_between_check_and_load_ends_the_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = builder.build

    def late(*what: Any, **how: Any) -> Any:
        path = next((folder / "ckpt").glob("model-00001*"))
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        return build(*what, **how)

    monkeypatch.setattr(builder, "build", late)
    with pytest.raises(InputError, match=r"model-00001-of-.* changed while the run was built"):
        simulation.run(load(folder))


@pytest.mark.parametrize("change", ["task.train", "topology.access.trace", "task.test"])
@pytest.mark.parametrize("special", ["/proc/kmsg", "/dev/zero", "ckpt"])
def test_special_files_are_faults_of_their_options(folder: Path, change: str, special: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        check(load(folder, f"{change}={special}"))
    assert [fault.path for fault in caught.value.faults] == [change]
