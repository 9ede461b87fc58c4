"""Trained adapters leave a run and enter the next: peft gives the run's clean model, and a run starts where one ended."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
import yaml
from peft import PeftModel
from safetensors.torch import load_file, save_file
from small_runs import TEXT, loaded, quick
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from elsa_sim.base.errors import RunFailed, ScenarioError
from elsa_sim.base.units import format_bytes
from elsa_sim.learning.execution.work import Ref
from elsa_sim.learning.tasks import tokenising
from elsa_sim.learning.tasks.data import in_chunks
from elsa_sim.results import manifest
from elsa_sim.results.metrics import Results, load
from elsa_sim.run import simulation, understood
from elsa_sim.run.adapters import AdapterKeeper, folder_of
from elsa_sim.run.checks import check
from elsa_sim.run.inputs import named
from elsa_sim.scenario import dump
from elsa_sim.scenario.document import parse
from elsa_sim.scenario.model import validated
from elsa_sim.study.cells import cells, play
from elsa_sim.study.options import read
from elsa_sim.world.round_end import RoundEnd
from elsa_sim.world.world import World

GPT2 = ("backbone={name: tiny-gpt2, config: {n_layer: 3, n_embd: 32, n_head: 2, n_inner: 48}, lora: {rank: 2}}",)
LM = (*GPT2, "task.objective=causal_lm")
FEDAVG = "protocol={kind: fedavg, rounds: 2, local_steps: 2, lr: 5.0e-3}"
SKETCH = "codec.activation={kind: sketch, rows: 3, columns: 16}"
VALUES, SETTINGS = "adapter_model.safetensors", "adapter_config.json"


@cache
def kept(*changes: str) -> tuple[Results, Any]:
    """A run with a folder, and the data that it was tested on."""
    seen = []
    tokenize = tokenising.tokenize

    def watched(*args: Any) -> Any:
        seen.append(tokenize(*args))
        return seen[-1]

    with quick(), patch.object(tokenising, "tokenize", watched):
        results = simulation.run(loaded(*changes), Path(mkdtemp()) / "run")
    return results, seen[0]


def peft_model(folder: Path, frozen: Path, objective: str) -> Any:
    factory: Any = AutoModelForSequenceClassification if objective == "classification" else AutoModelForCausalLM
    return PeftModel.from_pretrained(factory.from_pretrained(frozen), folder).eval()


def judged(folder: Path, data: Any, objective: str, frozen: Path | None = None) -> dict[str, float]:
    """Accuracy and loss on the test data, from what peft makes of a folder alone."""
    model = peft_model(folder, frozen or folder / "backbone", objective)
    right, losses = [], []
    for batch in in_chunks(data.test, 256, data.pad_id):
        tokens, lengths = torch.from_numpy(batch.tokens), torch.from_numpy(batch.lengths)
        mask = torch.arange(tokens.shape[1]) < lengths[:, None]
        with torch.no_grad():
            logits = model(input_ids=tokens, attention_mask=mask.long()).logits
        if objective == "classification":
            truth = torch.from_numpy(batch.labels)
            right += (logits.argmax(-1) == truth).tolist()
            losses += torch.nn.functional.cross_entropy(logits, truth, reduction="none").tolist()
        else:
            each = torch.nn.functional.cross_entropy(logits[:, :-1].transpose(1, 2), tokens[:, 1:], reduction="none")
            losses += each[mask[:, 1:]].tolist()
    return {"loss": float(np.mean(losses))} | ({"accuracy": float(np.mean(right))} if right else {})


CASES = {
    "tiny-bert, elsa behind codecs": ((SKETCH,), "classification"),
    "tiny-bert, fedavg": ((FEDAVG,), "classification"),
    "tiny-gpt2 classifies, elsa": (GPT2, "classification"),
    "tiny-gpt2 predicts, elsa": (LM, "causal_lm"),
    "tiny-gpt2 predicts, fedavg": ((*LM, FEDAVG), "causal_lm"),
}


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("case", CASES)
def test_peft_gives_the_clean_model_of_the_run(case: str) -> None:
    changes, objective = CASES[case]
    results, data = kept(*changes)
    assert results.adapters is not None
    assert results.adapters == results.folder / "adapters"
    found = judged(results.adapters, data, objective)
    last = results.rounds.iloc[-1]
    clean = {name: last.get(f"clean_{name}", last[name]) for name in found}
    assert found["loss"] == pytest.approx(clean["loss"], rel=1e-5)
    if objective == "classification":
        assert found["accuracy"] == clean["accuracy"]
    assert last["loss"] != results.rounds.iloc[0]["loss"], "something was trained"


@cache
def starts(case: str) -> Path:
    return kept(*CASES[case][0])[0].adapters


@pytest.mark.parametrize("case", CASES)
def test_a_run_starts_where_the_other_ended(case: str) -> None:
    changes, _ = CASES[case]
    before = kept(*changes)[0].rounds.iloc[-1]
    with quick():
        after = simulation.run(loaded(*changes, f"backbone.adapters={starts(case)}")).rounds.iloc[0]
    for name in ("loss", "clean_loss", "clean_accuracy", "accuracy", "perplexity"):
        if name in before and not (SKETCH in changes and "clean" not in name):  # whose hashes are of a round
            assert after[name] == before[name] or (math.isnan(after[name]) and math.isnan(before[name])), name


def test_other_frozen_weights_are_a_fault_and_those_kept_are_not(tmp_path: Path) -> None:
    folder = shutil.copytree(starts("tiny-bert, fedavg"), tmp_path / "adapters")
    with quick(), pytest.raises(ScenarioError) as caught:
        simulation.run(loaded(f"backbone.adapters={folder}", seed=5))
    (fault,) = caught.value.faults
    assert fault.path == "backbone.adapters"
    assert f"state name: {folder / 'backbone'}" in fault.message
    loss = kept(FEDAVG)[0].rounds.iloc[-1]["loss"]
    for seed in (0, 5):  # of another seed with other texts, too
        text = f"{{name: '{folder}/backbone', lora: {{rank: 2, alpha: 4}}, adapters: '{folder}'}}"
        with quick():
            results = simulation.run(loaded(f"backbone={text}", FEDAVG, seed=seed))
        assert (results.rounds.iloc[0]["loss"] == loss) == (seed == 0)
    for name in ("best", "clients/client0"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for file in (VALUES, SETTINGS):
            (folder / name / file).write_bytes((folder / file).read_bytes())
        with quick(), pytest.raises(ScenarioError, match="state name"):
            simulation.run(loaded(f"backbone.adapters={folder}/{name}", seed=5))


# What is kept -------------------------------------------------------------------------------------------------------


def values(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / VALUES)


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


MORE = ("adapters={best: true, every: 2, clients: true}", "protocol.rounds=3", "protocol.lr=0.5")


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_best_and_every_kth_evaluation_are_kept_by_option() -> None:
    results, data = kept(*MORE)
    rounds, folder = results.rounds, results.adapters
    found = sorted(path.name for path in folder.iterdir() if path.is_dir())
    assert found == ["backbone", "best", "clients", "round-2"]
    assert same(values(folder), values(folder / "round-2")) is False
    best = rounds["accuracy"].idxmax()
    assert best < len(rounds) - 1, "the last is not the best, or the test sees nothing"
    for name, row in (("", rounds.iloc[-1]), ("best", rounds.iloc[best]), ("round-2", rounds.iloc[2])):
        assert judged(folder / name, data, "classification", folder / "backbone")["loss"] == pytest.approx(
            row["loss"], rel=1e-4
        )


def test_without_options_the_last_are_kept() -> None:
    folder = kept(FEDAVG)[0].adapters
    assert {"README.md", "backbone", SETTINGS, VALUES} <= set(os.listdir(folder))
    assert not {"round-1", "clients"} & set(os.listdir(folder))


@pytest.mark.parametrize(("measured", "best"), [((0.3, 0.5, 0.5, 0.4), 1), ((0.3, 0.3), 0), ((0.1, 0.2), 1)])
def test_the_best_is_the_first_with_the_highest_accuracy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, measured: tuple[float, ...], best: int
) -> None:
    keeper = AdapterKeeper(check(loaded("adapters.best=true")), tmp_path)
    monkeypatch.setattr(AdapterKeeper, "_save", lambda self, name, end: self.kept.update({name: (end.round, "")}))
    for round, accuracy in enumerate(measured):
        keeper.ended(RoundEnd(round, 0.0, Ref.of({}, {}), {"accuracy": accuracy, "loss": 1.0}))
    assert keeper.kept == {"best": (best, ""), "": (len(measured) - 1, "")}


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_language_models_are_best_where_the_loss_is_least() -> None:
    results, data = kept(*LM, "adapters={best: true, final: false}", "protocol.lr=10.0", "protocol.rounds=3")
    folder, least = results.adapters, results.rounds["loss"].min()
    assert sorted(os.listdir(folder)) == ["backbone", "best"]
    assert results.rounds["loss"].iloc[-1] > least, "the last is not the best, or the test sees nothing"
    assert judged(folder / "best", data, "causal_lm", folder / "backbone")["loss"] == pytest.approx(least, rel=1e-4)


@pytest.mark.parametrize("protocol", ["elsa", "fedavg", "splitfed_v2", "sflllm", "fedasync"])
def test_what_each_client_trained_is_kept_by_option(tmp_path: Path, protocol: str) -> None:
    changes = ("adapters.clients=true", f"protocol={{kind: {protocol}, rounds: 1, local_steps: 2, lr: 5.0e-3}}")
    with quick():
        results = simulation.run(loaded(*changes), tmp_path / "run")
    folder = results.adapters
    each = {path.name: values(path) for path in sorted((folder / "clients").iterdir())}
    assert sorted(each) == ["client0", "client1", "client2"]
    last = values(folder)
    for mine in each.values():
        assert mine.keys() == last.keys()
        assert not same(mine, last)
    if protocol == "fedavg":  # the mean of what they trained is what the cloud has
        weights = [len(held) for held in check(loaded(*changes)).samples]
        for name, tensor in last.items():
            mean = sum(w * mine[name].double() for w, mine in zip(weights, each.values(), strict=True)) / sum(weights)
            torch.testing.assert_close(tensor.double(), mean, rtol=1e-5, atol=1e-7)


def test_a_protocol_that_tells_nothing_of_clients_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not [note for note in kept(*MORE)[0].summary["notes"] if "nothing was told" in note]
    monkeypatch.setattr(World, "trained", lambda self, client, *adapters: None)
    with quick():
        results = simulation.run(loaded("adapters.clients=true", FEDAVG), tmp_path / "run")
    assert "adapters.clients: nothing was told of what clients train (World.trained)" in results.summary["notes"]
    assert "clients" not in os.listdir(results.adapters)


def test_the_trace_does_not_depend_on_what_is_kept(tmp_path: Path) -> None:
    with quick():
        plain = simulation.run(loaded())
        more = simulation.run(loaded("adapters={best: true, every: 1, clients: true}"), tmp_path / "run")
    assert more.summary["trace_sha256"] == plain.summary["trace_sha256"]
    assert plain.adapters is None


def test_timing_mode_keeps_nothing_and_says_so(tmp_path: Path) -> None:
    made = loaded("execution.mode=timing", "adapters.best=true")
    assert "adapters are not kept in timing mode, which has none" in check(made).notes
    with quick():
        results = simulation.run(made, tmp_path / "run")
        none = simulation.run(loaded("adapters.final=false"), tmp_path / "none")
    assert results.adapters is None
    assert none.adapters is None


def test_clients_that_do_not_train_keep_nothing() -> None:
    with pytest.raises(ScenarioError) as caught:
        check(loaded("protocol={kind: centralized}", "adapters.clients=true"))
    assert [fault.path for fault in caught.value.faults] == ["adapters.clients"]


def test_the_manifest_tells_the_files_and_they_repeat() -> None:
    results, _ = kept(*MORE)
    listed = manifest.listed(results.folder)
    there = {path.relative_to(results.folder).as_posix() for path in results.adapters.rglob("*") if path.is_file()}
    assert there <= set(listed)
    assert len(there) == 4 + 1 + 3 + 3 + 3 * 3 + 2
    told = json.loads((results.folder / "manifest.json").read_text())["sha256"]
    assert told.keys() == {name for name in there if name.endswith(".safetensors")}
    assert all(hashlib.sha256((results.folder / name).read_bytes()).hexdigest() == sha for name, sha in told.items())
    again = simulation.run(loaded(*MORE), Path(mkdtemp()) / "run")
    for path in sorted(again.adapters.rglob("*")):
        if path.is_file():
            first = results.adapters / path.relative_to(again.adapters)
            assert path.read_bytes() == first.read_bytes(), path
    assert load(results.folder).adapters == results.adapters


def test_replacing_a_run_takes_its_adapters_and_leaves_others_files(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with quick():
        simulation.run(loaded(*MORE), out)
        (out / "adapters/clients/mine.txt").write_text("mine")
        (out / "adapters/notes.md").write_text("mine")
        simulation.run(loaded("protocol.rounds=1"), out, earlier="replace")
    assert sorted(os.listdir(out / "adapters")) == ["README.md", SETTINGS, VALUES, "backbone", "clients", "notes.md"]
    assert os.listdir(out / "adapters/clients") == ["mine.txt"]
    assert os.listdir(tmp_path) == ["run"]


def test_a_run_that_fails_keeps_what_it_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluate = World.evaluate

    def breaks(self: World, adapters: Any, *, round: int) -> bool:
        if round == 2:
            raise RunFailed("no luck")
        return evaluate(self, adapters, round=round)

    monkeypatch.setattr(World, "evaluate", breaks)
    with quick(), pytest.raises(RunFailed, match="no luck"):
        simulation.run(loaded(), tmp_path / "run")
    results = load(tmp_path / "run")
    assert results.summary["complete"] is False
    assert values(results.adapters)
    text = (results.adapters / "README.md").read_text()
    assert "Adapters after round 1" in text
    assert "**The run did not end as it should**: failed: no luck" in text


# The card -----------------------------------------------------------------------------------------------------------


def test_the_card_tells_the_facts() -> None:
    results, _ = kept(SKETCH)
    text = (results.adapters / "README.md").read_text()
    _, front, body = text.split("---\n", 2)
    fields = yaml.safe_load(front)
    assert fields["library_name"] == "peft"
    assert fields["pipeline_tag"] == "text-classification"
    (told,) = fields["model-index"][0]["results"]
    last = results.rounds.iloc[-1]
    assert {(each["name"], each["value"]) for each in told["metrics"]} >= {
        ("accuracy (deployed)", last["accuracy"]),
        ("accuracy (clean)", last["clean_accuracy"]),
    }
    assert f"| loss | {last['loss']:.4f} | {last['clean_loss']:.4f} |" in body
    assert (results.folder / "scenario.yaml").read_text().rstrip() in body
    assert "elsa-sim run scenario.yaml" in body
    assert re.search(r"simulated time \| [\d.]+ (ms|s) \|", body)
    assert re.search(r"energy by then, without idle \| [\d.]+ J \|", body)
    sent = last["uplink_bytes"] + last["downlink_bytes"]
    assert f"| sent by then | {format_bytes(sent)}," in body
    best = (kept(*MORE)[0].adapters / "best/README.md").read_text()
    assert '.from_pretrained("../backbone"), ".")' in best
    client = (kept(*MORE)[0].adapters / "clients/client1/README.md").read_text()
    assert "What the client client1 trained last" in client
    assert '.from_pretrained("../../backbone"), ".")' in client


def test_layers_that_do_not_read_all_are_told(tmp_path: Path) -> None:
    unread = "codec.activation={kind: ssop, rank: 2, subspace: public, unread: true}"
    results = simulation.run(loaded(unread), tmp_path / "run")  # not `quick`, whose runs share one backbone
    assert "did not read a subspace" in (results.adapters / "README.md").read_text()
    assert "did not read" not in (kept(SKETCH)[0].adapters / "README.md").read_text()


@pytest.mark.parametrize(
    ("name", "folder"),
    [("client0", "client0"), ("a/b", "a%2Fb"), ("..", "%2E."), (".", "%2E"), ("Zürich 1", "Z%C3%BCrich 1")],
)
def test_any_client_has_a_folder(name: str, folder: str) -> None:
    assert folder_of(name) == folder


# Scenario, inputs, studies ------------------------------------------------------------------------------------------


def test_check_tells_from_where_it_starts() -> None:
    source = starts("tiny-bert, fedavg")
    told = dict(understood.rows(check(loaded(f"backbone.adapters={source}"))))
    assert told["backbone"].endswith(f"; adapters start from {source.resolve()}")
    assert "start from" not in dict(understood.rows(check(loaded())))["backbone"]
    for change, word in (("lora.rank=3", "rank"), ("lora.alpha=1", "alpha"), ("lora.targets=[key]", "lora.targets")):
        with pytest.raises(ScenarioError) as caught:
            check(loaded(f"backbone.adapters={source}", f"backbone.{change}", "execution.mode=timing"))
        (fault,) = caught.value.faults
        assert fault.path == "backbone.adapters"
        assert word in fault.message
    with pytest.raises(ScenarioError, match="class head has 3 classes, the task 4"):
        check(loaded(f"backbone.adapters={source}", "task.topics=4"))


def test_the_folder_is_absolute_and_its_files_are_inputs(tmp_path: Path) -> None:
    source = starts("tiny-bert, fedavg")
    (tmp_path / "mine").symlink_to(source)
    made = loaded("backbone.adapters=mine", FEDAVG, folder=tmp_path)
    resolved = yaml.safe_load(dump.dump(made))
    assert resolved["backbone"]["adapters"] == str(source.resolve())
    assert "adapters" not in yaml.safe_load(dump.dump(loaded()))["backbone"]
    before = named(made)
    assert {name for name in before if name.startswith("adapters/")} == {
        f"adapters/{name}" for name in (VALUES, SETTINGS, "backbone/model.safetensors")
    }
    with quick():
        results = simulation.run(made, tmp_path / "run")
        again = simulation.run(validated(parse((tmp_path / "run/scenario.yaml").read_text(), "s", Path("/"))))
    assert {str(source.resolve() / name) for name in (VALUES, SETTINGS)} <= results.summary["inputs"].keys()
    assert again.summary["trace_sha256"] == results.summary["trace_sha256"]
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in (VALUES, SETTINGS):
        (copy / name).write_bytes((source / name).read_bytes())
    held = values(copy)
    save_file({name: tensor + 1 for name, tensor in held.items()}, copy / VALUES)
    other = named(loaded("backbone.adapters=copy", FEDAVG, folder=tmp_path))
    assert other[f"adapters/{VALUES}"] != before[f"adapters/{VALUES}"]


def test_cells_of_a_study_find_them(tmp_path: Path) -> None:
    source = starts("tiny-bert, fedavg")
    (tmp_path / "in").mkdir()
    (tmp_path / "in/mine").symlink_to(source)
    (tmp_path / "in/base.yaml").write_text(TEXT)
    (tmp_path / "in/study.yaml").write_text(
        "scenario: base.yaml\nset: {backbone.adapters: mine}\nseeds: [0]\n"
        "axes: {system: {fedavg: {protocol: {kind: fedavg, rounds: 1, local_steps: 1}}}}\n"
    )
    (cell,) = cells(read(tmp_path / "in/study.yaml"), tmp_path / "out")
    with quick():
        play(cell.text, cell.folder)
    assert cell.state == "done", cell.reason
    assert load(cell.folder).rounds.iloc[0]["loss"] == kept(FEDAVG)[0].rounds.iloc[-1]["loss"]
