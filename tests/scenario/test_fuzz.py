"""Mutated scenarios: each ends in a scenario or in a list of faults, soon, and never in anything else.

``FUZZ_EXAMPLES=5000 pytest tests/test_fuzz_scenario.py`` looks further, with another seed each time.
"""

from __future__ import annotations

import copy
import json
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from elsa_sim.base.errors import ScenarioError
from elsa_sim.scenario.dump import dump
from elsa_sim.scenario.model import Loaded, load
from elsa_sim.scenario.yaml_reader import write

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "250"))
HANGS_AFTER_S = 20.0

FULL = """\
name: full
seed: 7
protocol: {kind: elsa, rounds: 10, edge_rounds: 2, local_steps: 5, lr: 2.0e-3}
backbone: {name: minilm, lora: {rank: 8, alpha: 16, targets: [query, value]}, config: {num_hidden_layers: 2}}
task: {kind: text_file, train: a.txt, test: b.txt, format: labelled_lines, encoding: latin-1, max_length: 32}
partition: {kind: dirichlet, alpha: 0.5}
topology:
  kind: tree
  clients: 20
  edges: 4
  access: &link {up: 20 Mbit/s, down: 50 Mbit/s, latency: 10 ms, profile: [[0, 1 Mbit/s], [5 s, 2e6]], period: 9 s}
  backhaul: {<<: *link, up: 200 Mbit/s}
  overrides: {client3: {up: 2 Mbit/s}}
devices: {client: {speed: 20 GFLOP/s, memory: 4 GiB, power: {idle: 2 W}}, overrides: {client3: {speed: 4 GFLOP/s}}}
split: {policy: fixed, p: 1, q: 1}
codec:
  activation:
  - {kind: ssop, rank: 8}
  - kind: sketch
    rows: 3
    columns: 64
  gradient: {kind: int8}
  adapters: [float16]
network: {model: {kind: fifo}, transport: {kind: fluid, framing: 40 B}}
stop: {rounds: 3, target_accuracy: 0.9, sim_time: 2 h, host_time: 5 min}
execution: {mode: real, threads: 2, device: cpu}
"""
SHORT = "protocol: fedavg\ntask: {kind: synthetic, length: [3, 5]}\ntopology: {file: a.json}\npartition: iid\n"
DRAWN = (
    SHORT
    + """\
devices:
  client:
    profile: {kind: choice, of: [raspberry-pi-4, raspberry-pi-5], weights: [1, 3]}
    speed: {kind: lognormal, median: 2 GFLOP/s, sigma: 1, at_most: 1 TFLOP/s}
    memory: {kind: mixture, of: [1 GiB, {kind: uniform, low: 1 GiB, high: 2 GiB}]}
    power: {idle: {kind: column, file: a.csv, column: watts, unit: W}}
    downtimes: [{kind: on_off, on: {kind: uniform, low: 5 min, high: 1 h}}]
"""
)
TEXTS = (FULL, SHORT, DRAWN)

WEIRD: Sequence[Any] = (
    None, True, False, 0, -1, 1, 2**63, -(2**64), 10**30, 0.0, -0.0, -1.5, 1e308, -1e308, 1e-320, float("inf"),
    float("nan"), "", " ", "\0", "\x7f", "\u2028", "\ud800", "\U0001f600", "a" * 3000, "null", "on", ".inf", "1e400",
    "1_000", "0x10", "12:30:45", "2001-12-14t21:59:43.10-05:00", "-5 Mbit/s", "5 Mbit", "Mbit/s", "5  GiB", "1e999 ms",
    "nan s", "5 ms s", "5\nms", "5 \u00b5s", "--5 s", "\u0663 s", "%s", "{0}", "$HOME", "~root", "../../etc/group",
    "/dev/zero", "a\0b", "con", "\u202e", "elsa", "kind", "__class__", "client0", [], {}, [[]], [{}], {"": 1},
    {"kind": {}}, {"kind": None}, {"kind": "elsa"}, {"kind": []}, {"a": {"a": {"a": {"a": [[1]]}}}},
    [None] * 50, {"a.b": 1},
)  # fmt: skip
RAW = st.sampled_from([
    "!!python/object/apply:os.system ['true']", "!!python/name:os.system", "!!set {a}", "!!binary aGk=",
    "!!timestamp 1", "2024-01-01", "!!omap [a: 1]", "!!pairs [a: 1]", "!!int 1.5", "!!float x", "!!bool x", "!!null x",
    "!!str 5", "!x y", "&a [*a]", "*nothing", "*link", "<<", "? a", "- - - a", "|", ">-", "'", '"\\ud800"',
    '"\\UFFFFFFFF"', '"\\x00"', "@", "`", "%", "{", "}", "[", "]", ",", ":", "9" * 5000, "-" + "9" * 5000,
    "0x" + "f" * 5000, "1e" + "9" * 500, "#", "...", "---", "[" * 500, "{a: " * 500, "\t", "\ufeff", "\x85", "\u2028",
])  # fmt: skip
VALUES = st.sampled_from(WEIRD).map(copy.deepcopy) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "scenario.yaml"


@contextmanager
def soon() -> Iterator[None]:
    """Raise where the program hangs."""

    def late(*_: object) -> None:
        raise TimeoutError(f"no end after {HANGS_AFTER_S} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, HANGS_AFTER_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def outcome(path: Path, content: bytes, overrides: Sequence[str] = ()) -> Loaded | ScenarioError:
    """A scenario that can be written out and read again, or faults that can be printed."""
    path.write_bytes(content)
    with soon():
        try:
            made = load(path, overrides)
        except ScenarioError as error:
            found = error
        else:
            written = dump(made)
            path.write_text(written, encoding="utf-8")
            assert dump(load(path)) == written
            return made
    assert found.faults
    lines = len(content.decode(errors="replace").splitlines()) + 1
    for fault in found.faults:
        assert fault.message
        assert str(fault).isprintable()
        assert fault.line is None or 1 <= fault.line <= lines
    return found


def fuzz(test: Callable[..., None]) -> Callable[..., None]:
    chosen = settings(
        max_examples=EXAMPLES,
        deadline=None,  # see soon()
        derandomize="FUZZ_EXAMPLES" not in os.environ,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )
    return chosen(test)


def places(data: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in nested data but the top."""
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [found for key, value in items for found in ((*place, key), *places(value, (*place, key)))]


def at(data: Any, place: Sequence[Any]) -> Any:
    for key in place:
        data = data[key]
    return data


def mutated(data: Any, draw: Callable[..., Any]) -> None:
    """One change somewhere in ``data``."""
    known = places(data)
    if not known:
        return
    place = draw(st.sampled_from(known))
    parent, key = at(data, place[:-1]), place[-1]
    change = draw(st.sampled_from(["drop", "rename", "weird", "swap", "wrap", "unwrap", "add", "text"]))
    if change == "drop":
        del parent[key]
    elif change == "rename" and isinstance(parent, dict):
        position = draw(st.integers(0, len(key)))
        parent[draw(st.sampled_from([key[:position] + key[position + 1 :], key + "s", key.upper(), "\u00e9", ""]))] = (
            parent.pop(key)
        )
    elif change == "swap":
        parent[key] = copy.deepcopy(at(data, draw(st.sampled_from(known))))
    elif change == "wrap":
        parent[key] = draw(
            st.sampled_from([[parent[key]], {"kind": parent[key]}, {key: parent[key]} if isinstance(key, str) else []])
        )
    elif change == "unwrap" and isinstance(parent[key], list | dict) and parent[key]:
        parent[key] = next(iter(parent[key].values() if isinstance(parent[key], dict) else parent[key]))
    elif change == "add" and isinstance(parent[key], dict):
        parent[key][draw(st.text(max_size=6))] = draw(VALUES)
    elif change == "text" and isinstance(parent[key], str | int | float):
        text = str(parent[key])
        position = draw(st.integers(0, len(text)))
        parent[key] = text[:position] + draw(st.text(max_size=3)) + text[position:]
    else:
        parent[key] = draw(VALUES)


@fuzz
@given(st.data())
def test_changed_structure(path: Path, data: st.DataObject) -> None:
    made = yaml.safe_load(data.draw(st.sampled_from(TEXTS)))
    for _ in range(data.draw(st.integers(1, 4))):
        mutated(made, data.draw)
    try:
        text = json.dumps(made) if data.draw(st.booleans()) else write(made)
        content = text.encode()
    except (UnicodeEncodeError, yaml.YAMLError):
        content = json.dumps(made).encode()
    outcome(path, content)


@fuzz
@given(st.data())
def test_changed_lines(path: Path, data: st.DataObject) -> None:
    lines = data.draw(st.sampled_from(TEXTS)).splitlines(keepends=True)
    for _ in range(data.draw(st.integers(1, 4))):
        index = data.draw(st.integers(0, max(0, len(lines) - 1)))
        line = lines[index] if lines else ""
        change = data.draw(st.sampled_from(["drop", "double", "move", "indent", "outdent", "raw", "tail"]))
        if change == "drop":
            lines[index : index + 1] = []
        elif change == "double":
            lines.insert(index, line)
        elif change == "move":
            lines.insert(data.draw(st.integers(0, len(lines))), lines.pop(index) if lines else "")
        elif change == "indent":
            lines[index : index + 1] = [data.draw(st.sampled_from([" ", "  ", "\t", "- "])) + line]
        elif change == "outdent":
            lines[index : index + 1] = [line[1:]]
        elif change == "raw":
            lines[index : index + 1] = [line.partition(":")[0] + ": " + data.draw(RAW) + "\n"]
        else:
            lines[index : index + 1] = [line[: data.draw(st.integers(0, len(line)))] + data.draw(RAW)]
    outcome(path, "".join(lines).encode("utf-8", "surrogatepass"))


@fuzz
@given(st.data())
def test_changed_characters(path: Path, data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from(TEXTS)).encode())
    for _ in range(data.draw(st.integers(1, 6))):
        position = data.draw(st.integers(0, len(content)))
        end = position + data.draw(st.integers(0, 3))
        piece = st.sampled_from(list("{}[]:,-#&*!|>'\"%@`?<=\t\n\r .0e~")).map(str.encode) | st.binary(max_size=3)
        content[position:end] = data.draw(piece)
    if data.draw(st.integers(0, 4)) == 0:
        del content[data.draw(st.integers(0, len(content))) :]
    outcome(path, bytes(content))


@fuzz
@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_random_files(path: Path, content: bytes) -> None:
    outcome(path, content)


KEYS = st.sampled_from([".".join(map(str, place)) for text in TEXTS for place in places(yaml.safe_load(text))])
KEY = KEYS | KEYS.map(lambda key: key + ".x") | KEYS.map(lambda key: key[:-1]) | st.text(max_size=12)
VALUE = VALUES.map(lambda value: json.dumps(value)) | RAW | st.text(max_size=20)
CHANGE = st.builds(
    lambda key, sign, value: key + sign + value, KEY, st.sampled_from(["="] * 8 + ["", "==", " = "]), VALUE
)


@fuzz
@given(st.sampled_from(TEXTS), st.lists(CHANGE, min_size=1, max_size=4))
def test_changes_from_the_command_line(path: Path, text: str, changes: list[str]) -> None:
    outcome(path, text.encode(), changes)


@pytest.mark.parametrize("text", TEXTS)
def test_the_unchanged_scenarios_are_valid(path: Path, text: str) -> None:
    assert isinstance(outcome(path, text.encode()), Loaded)


def test_a_thousand_at_least() -> None:
    assert "FUZZ_EXAMPLES" in os.environ or 5 * EXAMPLES >= 1000


@pytest.mark.parametrize("problem", [ValueError("x"), KeyError("x"), RecursionError()])
def test_an_escaping_exception_would_be_seen(path: Path, monkeypatch: pytest.MonkeyPatch, problem: Exception) -> None:
    def fail(*_: object) -> None:
        raise problem

    monkeypatch.setattr("elsa_sim.scenario.validation.examine", fail)
    with pytest.raises(type(problem)):
        outcome(path, FULL.encode())


def test_a_hang_would_be_seen(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(*_: object) -> None:
        while True:
            pass

    monkeypatch.setattr("elsa_sim.scenario.validation.examine", hang)
    monkeypatch.setattr(f"{__name__}.HANGS_AFTER_S", 0.2)
    with pytest.raises(TimeoutError):
        outcome(path, FULL.encode())
