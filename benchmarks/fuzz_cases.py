"""What the fuzzer hands to the program: cases drawn by a seed and a number, from the examples and the schema. See fuzz.py."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml
from fuzz_values import NUMBERS, at, damage, mutate, other_number, places, value

ROOT = Path(__file__).resolve().parent.parent
#: Overrides that make a run of any protocol short.
SHORT = ("execution.mode=timing", "protocol.rounds=2")


@dataclass(frozen=True)
class Case:
    """Files and command lines; a case that is checked without a fault and ``runs`` is then played for two rounds."""

    kind: str
    files: Mapping[str, bytes]
    arguments: Sequence[str]
    runs: bool = False
    changes: Sequence[str] = field(default_factory=tuple)


def _dumped(data: Any) -> bytes:
    """As YAML; as JSON where that cannot be (lone surrogates)."""
    try:
        return yaml.dump(data, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper), sort_keys=False).encode()
    except (UnicodeEncodeError, yaml.YAMLError, ValueError, RecursionError):
        return _json(data)


def _json(data: Any) -> bytes:
    """As JSON; what Python refuses to write (too deep, too many digits) by hand."""
    try:
        return json.dumps(data).encode()
    except (ValueError, RecursionError, TypeError):
        return b'{"seed": ' + (b"9" * 6000 if len(data) % 2 else b"[" * 6000)


@cache
def files() -> dict[str, bytes]:
    """What the examples name, in small."""
    lines = "\n".join(f"{'AB'[i % 2]}:{'xy'[i % 3 % 2]} what is the word number {i} of these" for i in range(40))
    found = {f"data/{path.name}": path.read_bytes() for path in (ROOT / "scenarios/data").iterdir() if path.is_file()}
    found |= {
        f"topologies/{path.name}": path.read_bytes() for path in (ROOT / "topologies").iterdir() if path.is_file()
    }
    found |= {"trec/train.txt": lines.encode(), "trec/test.txt": lines.encode()}
    found["rows.csv"] = (
        "text,label,who\n" + "".join(f'"some words, {i}",{"ab"[i % 2]},{i % 4}\n' for i in range(40))
    ).encode()
    rows = (json.dumps({"text": f"some words {i}", "label": i % 3, "who": i % 4}) for i in range(40))
    found["rows.jsonl"] = "\n".join(rows).encode()
    found["away.csv"] = b"time_s,state\n0,1\n2,0\n3,1\n"
    found["net.gml"] = b"""graph [
  node [ id 0 label "a" role "cloud" ] node [ id 1 label "b" role "client" x 1.0 ] node [ id 2 label "c" role "client" ]
  edge [ source 0 target 1 LinkSpeed "10" LinkSpeedUnits "M" ] edge [ source 2 target 0 bandwidth 5000000 latency 0.02 ]
]
"""
    found["net.xml"] = b"""<network xmlns="http://sndlib.zib.de/network" version="1.0"><networkStructure>
<nodes coordinatesType="geographical"><node id="P"><coordinates><x>2.35</x><y>48.86</y></coordinates></node>
<node id="A"><coordinates><x>4.90</x><y>52.37</y></coordinates></node></nodes><links><link id="L1"><source>A</source>
<target>P</target><preInstalledModule><capacity>40.0</capacity><cost>0.0</cost></preInstalledModule></link></links>
</networkStructure></network>"""
    return found


@cache
def bases() -> tuple[dict[str, Any], ...]:
    """The examples, each a tenth of a second long."""
    made = []
    for path in sorted((ROOT / "scenarios").glob("*.yaml")):
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        data["protocol"] |= {"rounds": 2, "local_steps": 2}
        data["protocol"] |= {"edge_rounds": 1} if "edge_rounds" in data["protocol"] else {}
        if data["task"]["kind"] == "synthetic":
            data["task"] |= {"train_size": 600 if data["protocol"].get("probing") else 100, "test_size": 20}
        if path.stem == "trec_semantic":
            del data["privacy"], data["codec"], data["task"]["public"]
        topology = data["topology"]
        if "file" in topology:
            topology["file"] = (
                "topologies/" + Path(topology["file"]).name if "data/" not in topology["file"] else topology["file"]
            )
        if path.stem == "zoo_backbone":
            topology["file"] = "topologies/backbone.graphml"
        made.append(data)
    village = copy.deepcopy(made[0]) | {"topology": {"file": "topologies/village.csv"}, "devices": {}}
    text = {
        "kind": "text_file",
        "train": "rows.csv",
        "test": "rows.csv",
        "format": "csv",
        "text_column": "text",
        "label_column": "label",
    }
    link = {"up": "5 Mbit/s", "latency": "5 ms"}
    rows = {
        "protocol": {"kind": "splitfed_v1", "rounds": 2, "local_steps": 2},
        "task": text,
        "topology": {"kind": "star", "clients": 3, "access": link},
        "devices": {
            "client": {"stragglers": [{"kind": "background"}], "downtimes": [{"kind": "trace", "file": "away.csv"}]}
        },
        "network": {"model": "fifo", "outages": [{"node": "client0", "start": 1, "duration": 2}], "stall_timeout": 1},
    }
    return (*made, village, rows)


@cache
def _schema() -> dict[str, Any]:
    from elsa_sim.scenario.schema import schema

    return schema()


def drawn(node: Mapping[str, Any], draw: random.Random, name: str = "", depth: int = 0) -> Any:
    """A value that the schema allows, mostly: numbers at and near their bounds, options taken at random."""
    if "$ref" in node:
        return drawn(_schema()["$defs"][node["$ref"].rsplit("/", 1)[1]], draw, name, depth)
    several = node.get("oneOf") or node.get("anyOf")
    if several:
        return drawn(draw.choice(several), draw, name, depth)
    if "const" in node or "enum" in node:
        return draw.choice([node["const"]] if "const" in node else node["enum"])
    kind = node.get("type")
    if kind == "object" or "properties" in node:
        keys = [
            k
            for k in node.get("properties", {})
            if k in node.get("required", ()) or draw.random() < max(0.05, 0.3 - 0.05 * depth)
        ]
        made = {key: drawn(node["properties"][key], draw, key, depth + 1) for key in keys}
        more = node.get("additionalProperties")
        if isinstance(more, dict) and draw.random() < 0.4:
            made[draw.choice(("client0", "client1", "edge0", "cloud", "main"))] = drawn(more, draw, name, depth + 1)
        elif more is True and draw.random() < 0.3:
            made["client0"] = {"speed": draw.choice(NUMBERS)}
        return made
    if kind == "array":
        items = node.get("prefixItems")
        if items:
            return [drawn(each, draw, name, depth + 1) for each in items]
        count = draw.choice((0, 1, 1, 2, 3)) if node.get("minItems", 0) < 1 else draw.choice((1, 2, 2))
        return [drawn(node.get("items", {}), draw, name, depth + 1) for _ in range(count)]
    if kind in ("integer", "number"):
        return _number(node, draw, kind == "integer")
    if kind == "boolean":
        return draw.random() < 0.5
    if kind == "string":
        return draw.choice(("client0", "edge0", "cloud", "main", "client1", "data/cellular.csv", "away.csv",
        "rows.csv", "rows.jsonl",
                            "topologies/village.csv", "topologies/backbone.graphml", "data/two_sites.json", "text",
                            "label", "who",
                            "tiny-bert", "tiny-gpt2", "tiny-llama", "query", "raspberry-pi-4", "1 s", "10 ms", "3 W",
                            "1 GHz", "100 m",
                            "5 dB", "2 GFLOP/s", "1 Mbit/s"))  # fmt: skip
    return None if kind == "null" else value(draw)


def _number(node: Mapping[str, Any], draw: random.Random, whole: bool) -> Any:
    least = node.get("minimum", node.get("exclusiveMinimum", -10))
    most = node.get("maximum", node.get("exclusiveMaximum"))
    odd = draw.random()
    if odd < 0.06:
        return draw.choice(NUMBERS)
    if whole:
        return (
            least + draw.choice((0, 1, 1, 2, 3, 4, 8))
            if odd < 0.9
            else most
            if most is not None and odd < 0.93
            else least + 50
        )
    if odd < 0.2:
        return least
    if most is not None:
        return most if odd < 0.3 else least + (most - least) * draw.random() ** draw.choice((1, 1, 8, 40))
    return least + 10.0 ** draw.uniform(*draw.choice(((-2, 2), (-2, 2), (-9, 9), (-300, 300))))


def _sources(draw: random.Random) -> dict[str, Any]:
    """An example in which some sections, or options of some, are drawn from the schema."""
    data = copy.deepcopy(draw.choice(bases()))
    properties = {
        key: node for key, node in _schema()["properties"].items() if key not in ("name", "seed", "execution")
    }
    for key in draw.sample(sorted(properties), draw.choice((1, 1, 2, 3))):
        made = drawn(properties[key], draw, key)
        both = isinstance(made, dict) and isinstance(data.get(key), dict)
        data[key] = data[key] | made if both and made.get("kind", 0) == data[key].get("kind", 0) else made
    if isinstance(data.get("protocol"), dict):
        data["protocol"]["rounds"] = 2
    return data


def _scenario(kind: str, data: Any, runs: bool, more: Mapping[str, bytes] = {}, changes: Sequence[str] = ()) -> Case:
    text = data if isinstance(data, bytes) else _dumped(data)
    sets = [each for change in changes for each in ("--set", change)]
    return Case(
        kind, {**files(), **more, "scenario.yaml": text}, ("check", "scenario.yaml", *sets), runs, tuple(changes)
    )


def _mutated(draw: random.Random) -> Case:
    data = copy.deepcopy(draw.choice(bases()))
    for _ in range(draw.choice((1, 1, 2, 3))):
        mutate(data, draw)
    return _scenario("scenarios, mutated", data, True)


def _numbers(draw: random.Random) -> Case:
    data = copy.deepcopy(draw.choice(bases()))
    leaves = [p for p in places(data) if not isinstance(at(data, p), dict | list | bool)]
    for place in draw.sample(leaves, draw.choice((1, 1, 2))):
        before = at(data, place)
        odd = draw.choice(NUMBERS)
        with_unit = isinstance(before, str) and " " in before and draw.random() < 0.6
        at(data, place[:-1])[place[-1]] = f"{odd} {before.split(' ', 1)[1]}" if with_unit and abs(odd) < 1e309 else odd
    return _scenario("scenarios, numbers", data, True)


def _schema_drawn(draw: random.Random) -> Case:
    return _scenario("scenarios, drawn from the schema", _sources(draw), True)


def _bytes(draw: random.Random) -> Case:
    return _scenario("scenarios, damaged text", damage(_dumped(draw.choice(bases())), draw), False)


def _sets(draw: random.Random) -> Case:
    data = draw.choice(bases())
    changes = []
    for _ in range(draw.choice((1, 1, 2, 3))):
        key = ".".join(map(str, draw.choice(places(data))))
        key = draw.choice(
            (key, key, key, key + ".x", key[:-1], "", ".", "a b", "\ud800", key.upper(), "devices.client.speed")
        )
        told = json.dumps(value(draw), ensure_ascii=draw.random() < 0.5) if draw.random() < 0.7 else str(value(draw))
        changes.append((key + draw.choice(("=", "=", "=", "=", "==", " = ", "", ":")) + told).replace("\0", ""))
    return _scenario("--set texts", data, True, {}, changes)


TOPOLOGIES = (
    "topologies/backbone.graphml",
    "topologies/campus.json",
    "topologies/village.csv",
    "data/two_sites.json",
    "net.gml",
    "net.xml",
)


def _topology(draw: random.Random) -> Case:
    name = draw.choice(TOPOLOGIES)
    text = files()[name]
    if name.endswith("json") and draw.random() < 0.6:
        data = json.loads(text)
        for _ in range(draw.choice((1, 2))):
            mutate(data, draw)
        text = _json(data)
    elif draw.random() < 0.4:
        text = other_number(text, draw)
    else:
        text = damage(text, draw)
    source: dict[str, Any] = {"file": name}
    if name.endswith(("graphml", "gml", "xml")):
        link = {"up": "10 Mbit/s", "latency": "5 ms"}
        source |= {"core": link, **({} if name == "net.gml" else {"access": link, "clients": 3, "edges": 1})}
        source |= {"capacity_unit": "Mbit/s"} if name == "net.xml" else {}
    data = {
        "protocol": {"kind": "fedavg", "rounds": 2, "local_steps": 2},
        "task": {"kind": "synthetic", "train_size": 60, "test_size": 10},
    }
    return _scenario(f"networks, {name.rsplit('.', 1)[1]}", data | {"topology": source}, True, {name: text})


def _file(kind: str, name: str, data: Mapping[str, Any]) -> Callable[[random.Random], Case]:
    def make(draw: random.Random) -> Case:
        change = other_number if draw.random() < 0.5 else damage
        return _scenario(kind, data, True, {name: change(files()[name], draw)})

    return make


def _study(draw: random.Random) -> Case:
    data: dict[str, Any] = {
        "scenario": "base.yaml", "seeds": [1, 2], "series": "system", "target_accuracy": 0.5,
        "set": {"protocol.rounds": 2},
        "axes": {"system": {"a": {}, "b": {"protocol.lr": 0.1}}, "task.batch_size": [2, 4]}, "metrics": ["accuracy",
        "sim_time_s"],
    }  # fmt: skip
    for _ in range(draw.choice((1, 1, 2, 3))):
        mutate(data, draw)
    text = damage(_dumped(data), draw) if draw.random() < 0.2 else _dumped(data)
    base = _dumped(bases()[5])
    return Case(
        "studies",
        {**files(), "base.yaml": base, "study.yaml": text},
        ("study", "study.yaml", "--out", "st", "--dry-run"),
    )


def _network(draw: random.Random) -> Case:
    names = [f"n{i}" for i in range(draw.choice((2, 3, 5)))]
    data: dict[str, Any] = {
        "nodes": names,
        "links": [{"u": u, "v": v, "bandwidth_bps": 10 ** draw.uniform(0, 10), "latency_s": draw.choice((0, 0.01, 3)),
                   "duplex": draw.choice(("full", "half"))} for u, v in pairwise(names)],
        "flows": [{"id": f"f{i}", "src": draw.choice(names), "dst": draw.choice(names), "bytes": 10 ** draw.uniform(0,
        12),
                   "start_s": draw.choice((0, 1, 0.1))} for i in range(draw.choice((1, 2, 4)))],
    }  # fmt: skip
    if draw.random() < 0.5:
        draw.choice(data["links"])["bandwidth_profile"] = [
            [t, draw.choice((0, 1e6, 5e6, 1))] for t in range(draw.choice((1, 3)))
        ]
    for _ in range(draw.choice((0, 1, 1, 2))):
        mutate(data, draw)
    text = _json(data)
    text = damage(text, draw) if draw.random() < 0.2 else other_number(text, draw) if draw.random() < 0.3 else text
    return Case("network cases", {"case.json": text}, ("network", "case.json"))


def _run_directory(draw: random.Random) -> Case:
    """A run directory of :data:`PLAYED` with one file damaged, without one, or with other numbers."""
    name = draw.choice(sorted(PLAYED))
    text = PLAYED[name]
    if name.endswith("json") and draw.random() < 0.7:
        data = json.loads(text)
        for _ in range(draw.choice((1, 1, 3))):
            mutate(data, draw)
        text = _json(data)
    else:
        text = other_number(text, draw) if draw.random() < 0.4 and not name.endswith("parquet") else damage(text, draw)
    found = {f"played/{each}": content for each, content in PLAYED.items()}
    found["played/" + name] = text
    if draw.random() < 0.1:
        del found["played/" + name]
    return Case("run directories", found, ("plot", "played", "--out", "figures"))


#: The files of a run; fuzz.py plays it.
PLAYED: dict[str, bytes] = {}

_ROWS: dict[str, Any] = {
    "protocol": {"kind": "fedavg", "rounds": 2, "local_steps": 2},
    "topology": {"kind": "star", "clients": 3, "access": {"up": "5 Mbit/s"}},
}
_LABELLED = _ROWS | {
    "task": {"kind": "text_file", "train": "trec/train.txt", "test": "trec/test.txt", "format": "labelled_lines"}
}
_TRACED = yaml.safe_load((ROOT / "scenarios/traces.yaml").read_text(encoding="utf-8"))
_TABLE = {"kind": "text_file", "text_column": "text", "label_column": "label", "test_fraction": 0.2}

#: Kind -> how often, and how it is drawn.
KINDS: tuple[tuple[float, Callable[[random.Random], Case]], ...] = (
    (22, _mutated),
    (16, _numbers),
    (18, _schema_drawn),
    (8, _bytes),
    (9, _sets),
    (8, _topology),
    (3, _file("traces", "data/cellular.csv", _TRACED)),
    (1, _file("availability traces", "away.csv", _ROWS | {"devices": {"client": {"downtimes": [{"kind": "trace",
    "file": "away.csv"}]}}})),
    (2, _file("data, csv", "rows.csv", _ROWS | {"task": _TABLE | {"train": "rows.csv", "format": "csv"}})),
    (2, _file("data, jsonl", "rows.jsonl", _ROWS | {"task": _TABLE | {"train": "rows.jsonl", "format": "jsonl"}})),
    (1, _file("data, labelled lines", "trec/train.txt", _LABELLED)),
    (3, _study),
    (6, _network),
    (0.5, _run_directory),
)  # fmt: skip


def case(seed: int, number: int) -> Case:
    """Case ``number`` of ``seed``."""
    draw = random.Random(f"{seed}/{number}")
    return draw.choices([make for _, make in KINDS], [weight for weight, _ in KINDS])[0](draw)
