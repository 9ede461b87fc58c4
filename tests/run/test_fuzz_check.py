"""Mutated scenarios through ``check``: each ends in a plan or in a list of faults, soon, and never in anything else.

The mutations are those of the scenario tests, here on scenarios that can be built; that changes by ``--set`` and damaged files
end well is up to tests/cli/test_fuzz.py.
``FUZZ_EXAMPLES=5000 pytest tests/test_fuzz_check.py`` looks further, with another seed each time.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from scenario.test_fuzz import EXAMPLES, at, fuzz, mutated, outcome, places, soon
from small_runs import TEXT

from elsa_sim.base.errors import ScenarioError
from elsa_sim.run import checks
from elsa_sim.run.checks import Plan
from elsa_sim.scenario.model import Loaded
from elsa_sim.scenario.yaml_reader import write

FILES = """\
name: files
seed: 3
protocol: {kind: splitfed_v1, rounds: 3}
backbone: {name: tiny-gpt2, lora: {rank: 2, targets: [c_attn]}}
task: {kind: text_file, train: data.csv, test: data.csv, format: csv, text_column: text, label_column: label}
partition: {kind: dirichlet, alpha: 0.5, min_samples: 1}
topology: {file: net.json, clients: 2, access: {up: 5 Mbit/s, latency: 5 ms}}
devices: {client: {stragglers: [lognormal], downtimes: [{kind: crash, at: 5 s}]}, overrides: {client1: {slowdown: 2}}}
codec: {activation: [ssop, {kind: sketch, rows: 3, columns: 8}, int8], gradient: [float16]}
network: {outages: [{node: edge0, start: 1, duration: 2}], model: fifo, transport: fluid}
stop: {target_accuracy: 0.5}
"""
TEXTS = (TEXT, FILES)
NET = {
    "nodes": [{"name": "cloud", "role": "cloud"}, {"name": "edge0", "role": "edge"}],
    "links": [{"u": "edge0", "v": "cloud", "up": "1 Gbit/s", "latency": "1 ms"}],
}
ROWS = "text,label\n" + "".join(f"some words {i},{'ab'[i % 2]}\n" for i in range(12))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fuzz_check")
    (folder / "net.json").write_text(json.dumps(NET), encoding="utf-8")
    (folder / "data.csv").write_text(ROWS, encoding="utf-8")
    return folder / "scenario.yaml"


def large(loaded: Loaded) -> bool:
    """Whether building it takes long because it describes something large, which is no fault."""
    sizes = [getattr(section, name, 0) or 0
             for section in (loaded.scenario.topology, loaded.scenario.task)
             for name in ("clients", "edges", "nodes", "routers", "train_size", "test_size", "topics", "topic_words",
                          "shared_words", "width", "height", "depth", "fanout", "rows", "columns")]  # fmt: skip
    return any(isinstance(size, int | float) and size > 2000 for size in sizes)


def planned(path: Path, content: bytes) -> Plan | ScenarioError:
    """A plan, or faults that can be printed, each of them in the file."""
    found = outcome(path, content)
    if isinstance(found, ScenarioError) or large(found):
        return found if isinstance(found, ScenarioError) else ScenarioError("large", [])
    with soon():
        try:
            return checks.check(found)
        except ScenarioError as error:
            problem = error
    assert problem.faults
    lines = len(content.decode(errors="replace").splitlines()) + 1
    for fault in problem.faults:
        assert fault.message
        assert fault.path.split(".")[0] in type(found.scenario).model_fields
        assert fault.line is None or 1 <= fault.line <= lines
    return problem


@fuzz
@given(st.data())
def test_changed_values(path: Path, data: st.DataObject) -> None:
    made = yaml.safe_load(data.draw(st.sampled_from(TEXTS)))
    for _ in range(data.draw(st.integers(1, 2))):
        mutated(made, data.draw)
    try:
        content = write(made).encode()
    except (UnicodeEncodeError, yaml.YAMLError):
        content = json.dumps(made).encode()
    planned(path, content)


NUMBERS = st.sampled_from([0, 1, 2, 3, 4, 5, 7, 64, 100, 1999, -1, 0.5, 1e-9, 1e9, 1e308, 2**31, 2**63 - 1])
NAMES = st.sampled_from(["cloud", "edge0", "edge1", "edge9", "client0", "client1", "client77", "", "data.csv", "net.json",
                         "no.csv", "tiny-bert", "tiny-llama", "a b", "../x", "\u00e9", "iid", "ssop", "int8", "up"])  # fmt: skip


@fuzz
@given(st.data())
def test_other_numbers_and_names(path: Path, data: st.DataObject) -> None:
    """Mostly valid for the schema, so what is found is found while sections are built."""
    made = yaml.safe_load(data.draw(st.sampled_from(TEXTS)))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.sampled_from([p for p in places(made) if not isinstance(at(made, p), dict | list)]))
        parent, value = at(made, place[:-1]), at(made, place)
        parent[place[-1]] = data.draw(NAMES if isinstance(value, str) else NUMBERS)
    planned(path, write(made).encode())


@pytest.mark.parametrize("text", TEXTS)
def test_the_unchanged_scenarios_can_be_built(path: Path, text: str) -> None:
    assert isinstance(planned(path, text.encode()), Plan)


def test_hundreds_at_least() -> None:
    assert 2 * EXAMPLES >= 500


def test_an_escaping_exception_would_be_seen(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise KeyError("x")

    monkeypatch.setattr("elsa_sim.run.checks.nearest", fail)
    with pytest.raises(KeyError):
        planned(path, TEXT.encode())
