"""The scenario: defaults, choices, shorthands, the resolved file and the JSON Schema."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import jsonschema
import pytest
import yaml

from elsa_sim.base.errors import Fault, InputFaults, ScenarioError
from elsa_sim.base.registry import families
from elsa_sim.codecs.base import Codec
from elsa_sim.protocols.base import Protocol
from elsa_sim.scenario import model, plugged
from elsa_sim.scenario.document import parse
from elsa_sim.scenario.dump import dump
from elsa_sim.scenario.model import Loaded, Scenario, load, scenario_type, validated
from elsa_sim.scenario.schema import schema

FULL = """\
name: trec-minilm
seed: 7
protocol: {kind: elsa, rounds: 10, edge_rounds: 2, local_steps: 5, lr: 2.0e-3}
backbone: {name: minilm, lora: {rank: 8, alpha: 16, targets: [query, value]}}
task: {kind: text_file, train: trec/train.txt, test: trec/test.txt, format: labelled_lines, encoding: latin-1,
       max_length: 32, batch_size: 16}
partition: {kind: dirichlet, alpha: 0.5}
topology: {kind: tree, clients: 20, edges: 4, access: {up: 20 Mbit/s, down: 50 Mbit/s, latency: 10 ms},
           backhaul: {up: 200 Mbit/s, down: 200 Mbit/s, latency: 5 ms}}
devices: {client: {speed: 20 GFLOP/s, memory: 4 GiB}, edge: {speed: 500 GFLOP/s},
          overrides: {client3: {speed: 4 GFLOP/s}}}
split: {policy: fixed, p: 1, q: 2}
codec:
  activation: [{kind: ssop, rank: 8}, {kind: sketch, rows: 3, columns: 64}]
  gradient: [{kind: sketch, rows: 3, columns: 64}]
network: {model: max-min, transport: {kind: fluid, framing: 40}}
stop: {target_accuracy: 0.9, sim_time: 2 h}
execution: {mode: timing, threads: 2}
"""
LEAST = "protocol: {kind: elsa}"


def loaded(text: str, *overrides: str, seed: int | None = None) -> Loaded:
    return validated(parse(text), overrides, seed)


def faults(text: str, *overrides: str, seed: int | None = None) -> list[Fault]:
    with pytest.raises(ScenarioError) as caught:
        loaded(text, *overrides, seed=seed)
    return list(caught.value.faults)


def fault(text: str, *overrides: str) -> str:
    (only,) = faults(text, *overrides)
    return str(only)


def test_every_section_is_read_in_si_units() -> None:
    made: Any = loaded(FULL).scenario
    assert (made.name, made.seed, made.protocol.kind, made.protocol.lr) == ("trec-minilm", 7, "elsa", 2e-3)
    assert made.backbone.lora.targets == ("query", "value")
    assert (made.task.kind, made.task.encoding, made.partition.alpha) == ("text_file", "latin-1", 0.5)
    assert (made.topology.access.up, made.topology.backhaul.latency) == (20e6, 0.005)
    assert made.devices.client.memory == 4 * 2**30
    assert made.devices.overrides == {"client3": {"speed": "4 GFLOP/s"}}
    assert (made.split.kind, made.split.p, made.split.q) == ("fixed", 1, 2)
    assert [codec.kind for codec in made.codec.activation] == ["ssop", "sketch"]
    assert [codec.kind for codec in made.codec.gradient] == ["sketch"]
    assert made.codec.adapters == ()
    assert (made.network.model.kind, made.network.transport.framing) == ("max-min", 40.0)
    assert (made.stop.target_accuracy, made.stop.sim_time, made.stop.rounds) == (0.9, 7200.0, None)
    assert (made.execution.mode, made.execution.threads, made.execution.device) == ("timing", 2, "cpu")


def test_a_protocol_is_enough() -> None:
    made: Any = loaded(LEAST).scenario
    assert (made.name, made.seed) == ("scenario", 0)
    assert (made.backbone.name, made.task.kind, made.partition.kind) == ("tiny-bert", "synthetic", "iid")
    assert (made.topology.kind, made.topology.clients, made.topology.edges) == ("tree", 8, 2)
    assert (made.codec.activation, made.network.model.kind, made.execution.mode) == ((), "max-min", "real")


def test_a_protocol_is_needed() -> None:
    assert fault("seed: 3") == (
        f"protocol: required, but not given; valid for its kind: {', '.join(sorted(Protocol.members))}"
    )


def test_a_run_is_named_after_its_file(tmp_path: Path) -> None:
    path = tmp_path / "my run\u00e9!.yaml"
    path.write_text(LEAST)
    assert load(path).scenario.name == "my_run\u00e9_"
    assert load(path, ["name=other"]).scenario.name == "other"
    assert loaded("protocol: elsa\nname: a (b) c").scenario.name == "a (b) c"


@pytest.mark.parametrize("name", ["'..'", "a/b", "''", ".hidden", "'a '", "../x", "'a\tb'", "x" * 101, "C:\\x"])
def test_a_name_is_that_of_a_folder(name: str) -> None:
    assert "cannot name a folder" in fault(f"{LEAST}\nname: {name}")


def test_overrides_and_seed() -> None:
    made: Any = loaded(
        FULL, "protocol={kind: splitfed_v1, rounds: 2}", "split.p=2", "codec.activation.0.rank=4"
    ).scenario
    assert (made.protocol.kind, made.protocol.rounds, made.split.p, made.split.q) == ("splitfed_v1", 2, 2, 2)
    assert made.codec.activation[0].rank == 4
    assert loaded(FULL, "seed=5", seed=6).scenario.seed == 6
    assert {str(f) for f in faults(LEAST, "protocol.rounds=0", seed=-1)} == {
        "protocol.rounds: must be >= 1, got 0 (from --set 'protocol.rounds=0')",
        "seed: must be >= 0, got -1 (from --seed)",
    }


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ("topology: {file: a.json}", "topology: {kind: file, file: a.json}"),
        ("partition: iid", "partition: {kind: iid}"),
        ("task: synthetic", "task: {kind: synthetic}"),
        ("split: fixed", "split: {policy: fixed}"),
        ("network: {model: ideal}", "network: {model: {kind: ideal}}"),
        ("codec: {adapters: float16}", "codec: {adapters: [{kind: float16}]}"),
        ("codec: {activation: {kind: ssop, rank: 2}}", "codec: {activation: [{kind: ssop, rank: 2}]}"),
        ("codec: {activation: [float16, {kind: int8}]}", "codec: {activation: [{kind: float16}, {kind: int8}]}"),
    ],
)
def test_shorthands(short: str, long: str) -> None:
    assert loaded(f"{LEAST}\n{short}").scenario == loaded(f"{LEAST}\n{long}").scenario
    assert loaded("protocol: elsa", *[short.replace(": ", "=", 1)]).scenario == loaded(f"{LEAST}\n{long}").scenario


def test_a_shorthand_can_be_overridden_as_if_written_out() -> None:
    made: Any = loaded(
        f"{LEAST}\ncodec: {{activation: {{kind: sketch, rows: 5}}}}", "codec.activation.0.columns=7"
    ).scenario
    assert (made.codec.activation[0].rows, made.codec.activation[0].columns) == (5, 7)
    made = loaded(LEAST, "codec.activation={kind: sketch}", "codec.activation.0.rows=5").scenario
    assert made.codec.activation[0].rows == 5
    made = loaded(f"{LEAST}\ntopology: {{file: a.json}}", "topology.clients=3").scenario
    assert (made.topology.kind, made.topology.clients) == ("file", 3)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "protocol: {kind: elza}",
            "protocol.kind: unknown kind 'elza'; did you mean 'elsa'? valid: alignfed, centralized, elsa, ",
        ),
        ("protocol: {rounds: 3}", "protocol.kind: required, but not given; valid: alignfed, centralized, elsa, "),
        ("protocol: elsa\ncleints: 8", "cleints: unknown key 'cleints'; valid: name, seed, protocol, "),
        ("protocol: elsa\nsplit: {p: 1}", "split.policy: required, but not given; valid: fixed"),
        (
            "protocol: elsa\nnetwork: {header: 40 B}",
            "network.header: 'header' is gone: each packet, not each message, has ",
        ),
        (
            "protocol: elsa\nnetwork: {segment: 1448 B}",
            "network.segment: 'segment' is gone: it is of the transport now: ",
        ),
        ("protocol: elsa\nsplit: {policy: fxed}", "split.policy: unknown policy 'fxed'; did you mean 'fixed'? valid: "),
        ("protocol: elsa\nsplit: {policy: fixed, kind: fixed}", "split.kind: unknown key 'kind' (policy: fixed)"),
        ("protocol: elsa\nsplit: {policy: fixed, p: 0}", "split.p: must be >= 1, got 0"),
        ("protocol: elsa\nsplit: 3", "split: expected a mapping with a policy, got 3; valid: fixed"),
        (
            "protocol: elsa\nnetwork: {model: {kind: maxmin}}",
            "network.model.kind: unknown kind 'maxmin'; did you mean ",
        ),
        (
            "protocol: elsa\ntopology: {file: a, acess: {up: 1}}",
            "topology.acess: unknown key 'acess' (kind: file); did ",
        ),
        (
            "protocol: elsa\ncodec: {activation: {kind: sketch, rows: 0}}",
            "codec.activation.0.rows: must be >= 1, got 0",
        ),
        ("protocol: elsa\ncodec: {activation: sketh}", "codec.activation.0.kind: unknown kind 'sketh'; did you mean "),
        ("protocol: elsa\ncodec: {activaton: sketch}", "codec.activaton: unknown key 'activaton'; did you mean "),
        ("protocol: elsa\ncodec: sketch", "codec: expected a mapping, got 'sketch'"),
        ("protocol: elsa\nstop: {target_accuracy: 90}", "stop.target_accuracy: must be <= 1.0, got 90"),
        ("protocol: elsa\nstop: {sim_time: 2 hours}", "stop.sim_time: 'hours' is not a unit of time; valid: s, "),
        ("protocol: elsa\nseed: 9223372036854775808", "seed: the integer 9223372036854775808 is beyond 2^63"),
        ("protocol: elsa\nseed: -1", "seed: must be >= 0, got -1"),
        ("protocol: elsa\nexecution: {threads: 0}", "execution.threads: must be >= 1, got 0"),
        ("protocol: elsa\ndevices: {client: {speed: -4 GFLOP/s}}", "devices.client.speed: must be at least 1 "),
        ("protocol: elsa\nname: 3", "name: expected text, got 3"),
    ],
)
def test_faults(text: str, expected: str) -> None:
    found = fault(text)
    line = text.count("\n") + 1
    assert found.startswith(f"line {line}: {expected}")


def test_a_kind_that_cannot_be_read_is_one_fault() -> None:
    assert "protocol.kind: the YAML tag !!set" in fault("protocol: {kind: !!set {x}}")
    assert "codec.activation.kind: the YAML tag" in fault(f"{LEAST}\ncodec: {{activation: {{kind: !!set {{x}}}}}}")


def test_what_stands_in_for_a_faulty_execution_keeps_its_mode() -> None:
    """What is valid in timing mode only, such as lengths in the place of texts, is not said to be wrong besides."""
    made = model.examined(parse(f"{LEAST}\nexecution: {{mode: timing, threads: 0}}"))
    assert [each.path for each in made.faults] == ["execution.threads"]
    assert made.scenario.execution.mode == "timing"


def test_faults_of_building_a_section_are_located() -> None:
    made = loaded(FULL, "split.q=3")
    assert made.located(InputFaults([Fault("train", "no such file"), Fault("", "m")]), "task") == [
        Fault("task.train", "no such file", 5),
        Fault("task", "m", 5),
    ]
    assert made.located([Fault("overrides.client3.speed", "m")], "devices")[0].line == 11
    assert str(made.located([Fault("q", "m")], "split")[0]) == "split.q: m (from --set 'split.q=3')"
    assert made.located([Fault("clients", "m")], "topology")[0].line == 8


def test_the_context_starts_at_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(f"{LEAST}\nseed: 5")
    (tmp_path / "data.txt").write_text("x")
    context = load(tmp_path / "a.yaml").context
    assert context.streams.seed == 5
    assert context.file("data.txt", "train") == tmp_path / "data.txt"


@pytest.fixture
def halve() -> Iterator[type[Codec]]:
    class Halve(Codec):
        """Keep every other coordinate."""

        kind: Literal["halve"] = "halve"
        offset: int = 0

    yield Halve
    del Codec.members["halve"]


def test_a_plugin_defined_later_is_valid_too(halve: type[Codec]) -> None:
    made: Any = loaded(f"{LEAST}\ncodec: {{gradient: {{kind: halve, offset: 1}}}}").scenario
    assert made.codec.gradient == (halve(offset=1),)  # type: ignore[call-arg]
    assert "halve" in fault(f"{LEAST}\ncodec: {{gradient: x}}")
    assert "Halve" in schema()["$defs"]


def test_a_plugin_is_gone_when_it_is_gone() -> None:
    assert "unknown kind 'halve'" in fault(f"{LEAST}\ncodec: {{gradient: halve}}")


def test_scenarios_are_frozen_and_made_in_python_too() -> None:
    from elsa_sim.protocols.elsa import Elsa

    made = Scenario(protocol=Elsa(rounds=3), seed=4)
    assert made == Scenario(protocol=Elsa(rounds=3), seed=4)
    with pytest.raises(ValueError, match="frozen"):
        made.seed = 5  # type: ignore[misc]
    again = loaded(dump(Loaded(made))).scenario
    assert again.model_dump() == made.model_dump()


@pytest.mark.parametrize("text", [LEAST, FULL, f"{LEAST}\ntopology: {{file: a.json}}\nname: '1e5'"])
def test_the_resolved_scenario_repeats_itself(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ELSA_SIM_DATA", raising=False)  # names of files that are found become absolute
    first = loaded(text, seed=3)
    written = dump(first)
    second = loaded(written)
    assert second.scenario == first.scenario
    assert dump(second) == written
    assert "null" not in written
    data = yaml.safe_load(written)
    assert list(data) == [
        name for name in Scenario.model_fields if name not in ("wireless", "unreliable", "privacy")
    ]  # left out: there is none
    assert data["network"]["model"] == {"kind": "max-min"}
    assert data["split"]["policy"] == "fixed"
    assert data["devices"]["cloud"]["power"]["idle"] == 150.0


def test_the_resolved_scenario_names_files_absolutely(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, other = tmp_path / "scenarios", tmp_path / "data"
    for path in ("scenarios/trec/train.txt", "data/trec/test.txt", "scenarios/net.json", "scenarios/model/config.json",
                 "scenarios/news.txt"):  # fmt: skip
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("x")
    monkeypatch.setenv("ELSA_SIM_DATA", str(other))
    (folder / "a.yaml").write_text(FULL)
    changes = ["topology={file: net.json}", "backbone.name=model", "task.public=3", "task.public_file=news.txt"]
    data = yaml.safe_load(dump(load(folder / "a.yaml", changes)))
    assert data["task"]["train"] == str(folder / "trec/train.txt")
    assert data["task"]["test"] == str(other / "trec/test.txt")
    assert data["task"]["public_file"] == str(folder / "news.txt")
    assert data["topology"]["file"] == str(folder / "net.json")
    assert data["backbone"]["name"] == str(folder / "model")
    (folder / "minilm").mkdir()
    (folder / "minilm/config.json").write_text("x")
    data = yaml.safe_load(dump(load(folder / "a.yaml", ["task.train=none.txt"])))
    assert (data["task"]["train"], data["backbone"]["name"]) == ("none.txt", "minilm")


@pytest.mark.parametrize("text", [LEAST, FULL, "protocol: fedavg\ntopology: {file: a.json}\ncodec: {adapters: int8}",
                                  "protocol: elsa\ncodec: {activation: {kind: sketch}}\npartition: iid"])  # fmt: skip
def test_valid_scenarios_conform_to_the_schema(text: str) -> None:
    validator = jsonschema.Draft202012Validator(schema())
    validator.check_schema(schema())
    validator.validate(yaml.safe_load(text))
    validator.validate(yaml.safe_load(dump(loaded(text))))


@pytest.mark.parametrize("change", ["cleints=3", "protocol={kind: elza}", "protocol={rounds: 3}", "topology={edges: 2}",
                                    "codec.activation=[3]", "seed=-1", "stop.target_accuracy=2"])  # fmt: skip
def test_faulty_scenarios_do_not_conform_to_the_schema(change: str) -> None:
    key, _, value = change.partition("=")
    data = yaml.safe_load(FULL)
    *parents, last = key.split(".")
    here = data
    for parent in parents:
        here = here[parent]
    here[last] = yaml.safe_load(value)
    assert faults(FULL, change)
    assert not jsonschema.Draft202012Validator(schema()).is_valid(data)


def test_the_schema_documents_fields_and_units() -> None:
    made = schema()
    assert made["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert made["properties"]["protocol"]["description"] == "The training system."
    up = made["$defs"]["LinkOptions"]["properties"]["up"]["description"]
    assert up.startswith("Bandwidth towards the cloud. Bandwidth: a number in bit/s")
    for name, definition in {"": made, **made["$defs"]}.items():
        for key, field in definition["properties"].items():
            assert key in ("kind", "policy") or field.get("description") or "$ref" in field, (name, key)


def test_the_type_is_made_once_per_set_of_kinds() -> None:
    assert scenario_type() is scenario_type()
    assert issubclass(scenario_type(), Scenario)


def test_no_tensor_library_is_needed(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(FULL)
    code = (
        "import sys\nfrom elsa_sim.scenario.model import load\nfrom elsa_sim.scenario.dump import dump\n"
        "from elsa_sim.scenario.schema import schema\n"
        f"dump(load({str(path)!r})); schema()\n"
        "print([m for m in ('torch', 'transformers', 'peft', 'pandas', 'sklearn', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_every_package_of_components_is_looked_into() -> None:
    model.scenario_type()
    kinds = {name: set(family.members) for name, family in families().items()}
    assert kinds["protocol"] >= {"elsa", "splitfed_v1", "fedavg", "centralized"}
    assert kinds["codec"] >= {"sketch", "ssop", "float16", "int8"}
    assert kinds["task"] >= {"synthetic", "text_file", "hub"}
    assert kinds["partition"] >= {"iid", "dirichlet", "shards", "by_column", "quantity"}
    assert kinds["topology"] >= {"file", "tree", "star"}
    assert kinds["link_model"] >= {"max-min"}
    assert kinds["split"] >= {"fixed"}


def test_plugins_of_installed_distributions_are_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(plugged, "load_entry_points", lambda: asked.append(True))
    plugged.discovered.__wrapped__()
    assert asked == [True]


def test_trace_files_are_written_by_absolute_paths(tmp_path: Path) -> None:
    (tmp_path / "rate.csv").write_text("0,1e6\n5,2e6\n")
    (tmp_path / "on.csv").write_text("0,1\n5,0\n")
    text = f"""{LEAST}
topology: {{kind: star, clients: 2, access: {{up: 1 Mbit/s, trace: rate.csv}}}}
devices: {{client: {{downtimes: [{{kind: trace, file: on.csv}}]}}}}
"""
    data = yaml.safe_load(dump(validated(parse(text, "scenario", tmp_path))))
    assert data["topology"]["access"]["trace"] == str((tmp_path / "rate.csv").resolve())
    assert data["devices"]["client"]["downtimes"][0]["file"] == str((tmp_path / "on.csv").resolve())


def test_options_of_a_transport_are_those_of_the_usual_one() -> None:
    """``--set network.transport.idle_restart=false`` need not name it; who names another means that."""
    made = loaded(LEAST, "network.transport.idle_restart=false").scenario
    validator = jsonschema.Draft202012Validator(schema())
    validator.validate({"protocol": "elsa", "network": {"transport": {"idle_restart": False}}})
    assert not validator.is_valid({"protocol": "elsa", "network": {"transport": {"idle": False}}})
    assert made.network.transport.model_dump(include={"kind", "idle_restart"}) == {"kind": "tcp", "idle_restart": False}
    with pytest.raises(ScenarioError, match="idle_restart"):
        loaded(LEAST, "network.transport=fluid", "network.transport={kind: fluid, idle_restart: false}")
