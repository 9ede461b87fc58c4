"""A run directory that was damaged, in many ways: one line that names the file, or a run that is as whole as it was."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_runs import Interrupting, loaded

from elsa_sim.base.errors import InputError
from elsa_sim.results import metrics, perfetto, plots
from elsa_sim.results.event_table import SCHEMA, read_events
from elsa_sim.run import simulation

TIMING = "execution.mode=timing"
Damage = Callable[[Path], None]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "run"
    simulation.run(loaded(TIMING), folder)
    return folder


@pytest.fixture(scope="module")
def killed(whole: Path) -> Path:
    """The same as a kill leaves it, just before the end."""
    folder = whole.with_name("killed")
    shutil.copytree(whole, folder)
    for name in ("summary.json", "rounds.csv", "manifest.json", "events.parquet"):
        (folder / name).unlink()
    table = read_events(whole)
    with pa.ipc.new_stream(folder / "events.arrows", SCHEMA) as writer:
        for batch in table.to_batches(max_chunksize=40):
            writer.write_batch(batch)
    return folder


def told(folder: Path) -> str | None:
    """What is said of a folder that does not load; none for one that loads, and that figures can be drawn of."""
    try:
        results = metrics.load(folder)
    except InputError as error:
        said = str(error)
    else:
        perfetto.write_trace(results.events, results.topology, folder / "trace.json")
        return None
    assert "\n" not in said
    assert len(said) < 600
    return said


def edited(name: str, change: Callable[[Any], Any]) -> Damage:
    def damage(folder: Path) -> None:
        value = change(json.loads((folder / name).read_text()))
        (folder / name).write_text(json.dumps(value))

    return damage


def without(path: str) -> Callable[[Any], Any]:
    def change(value: Any) -> Any:
        *outer, last = path.split(".")
        here = value
        for key in outer:
            here = here[int(key) if key.isdecimal() else key]
        del here[last]
        return value

    return change


def having(path: str, new: Any) -> Callable[[Any], Any]:
    def change(value: Any) -> Any:
        *outer, last = path.split(".")
        here = value
        for key in outer:
            here = here[int(key) if key.isdecimal() else key]
        here[last] = new
        return value

    return change


def columns(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Damage:
    def damage(folder: Path) -> None:
        table = change(pq.read_table(folder / "events.parquet").to_pandas())
        pq.write_table(pa.Table.from_pandas(table, preserve_index=False), folder / "events.parquet")

    return damage


def first(name: str, value: Any) -> Damage:
    """The first row of the event table has another value."""
    return columns(lambda table: table.assign(**{name: [value, *table[name].iloc[1:]]}))


def rounds(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Damage:
    def damage(folder: Path) -> None:
        change(pd.read_csv(folder / "rounds.csv")).to_csv(folder / "rounds.csv", index=False)

    return damage


def text(name: str, content: str | bytes) -> Damage:
    return lambda folder: (
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content) and None
    )


def a_folder(name: str) -> Damage:
    def damage(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return damage


SUMMARY, TOPOLOGY, EVENTS, ROUNDS = "summary.json", "topology.json", "events.parquet", "rounds.csv"
DEEP = "[" * 100_000
#: (file that is named, words that are said, damage)
DAMAGES: list[tuple[str, str, Damage]] = [
    *((SUMMARY, f"{key}: field required", edited(SUMMARY, without(key)))
      for key in ("protocol", "sim_time_s", "rounds", "accuracy", "loss", "bytes", "bytes.total", "energy_j")),
    *((SUMMARY, "input should be", edited(SUMMARY, having(key, value)))
      for key, value in (("protocol", 3), ("sim_time_s", "1"), ("rounds", 1.5), ("rounds", True), ("accuracy", "high"),
                         ("loss", [1]), ("bytes", 4), ("bytes.total", -1), ("bytes.by_kind", []), ("energy_j", None),
                         ("energy_j", float("nan")), ("energy_j.idle", "much"), ("warnings", {}), ("training", 3),
                         ("energy_by_node", {"cloud": "x"}), ("complete", "yes"),
                         ("seed", "0"), ("host", [1]), ("name", 5), ("time_to_target_s", "soon"))),
    *((SUMMARY, "expected a mapping", text(SUMMARY, content)) for content in ("[]", "3", "null", '"x"')),
    *((SUMMARY, "cannot be read", text(SUMMARY, content)) for content in ("", "{", b"\xff\xfe", DEEP, "{'a': 1}")),
    (SUMMARY, "Is a directory", a_folder(SUMMARY)),
    *((TOPOLOGY, f"{key}: field required", edited(TOPOLOGY, without(key)))
      for key in ("nodes", "links", "nodes.0.name", "links.0.u", "links.0.up_bps")),
    *((TOPOLOGY, "input should be", edited(TOPOLOGY, having(key, value)))
      for key, value in (("nodes", {}), ("nodes.0.role", "king"), ("nodes.0.name", 3), ("links.0.up_bps", -1.0),
                         ("links.0.latency_s", float("nan")), ("links.0.down_bps", "fast"))),
    (TOPOLOGY, "input should be", edited(TOPOLOGY, lambda t: {**t, "links": [3]})),
    (TOPOLOGY, "at least 1 item", edited(TOPOLOGY, having("nodes", []))),
    (TOPOLOGY, "links.0.v: there is no node 'nobody'", edited(TOPOLOGY, having("links.0.v", "nobody"))),
    (TOPOLOGY, "two nodes have the same name", edited(TOPOLOGY, lambda t: {**t, "nodes": [*t["nodes"], t["nodes"][0]]})),
    *((TOPOLOGY, "cannot be read", text(TOPOLOGY, content)) for content in ("", "[]", "\x00", DEEP)),
    (TOPOLOGY, "Is a directory", a_folder(TOPOLOGY)),
    (EVENTS, "which no run of this topology writes there", edited(TOPOLOGY, lambda t: {
        "nodes": t["nodes"][:-1], "links": [e for e in t["links"] if t["nodes"][-1]["name"] not in (e["u"], e["v"])]})),
    *((EVENTS, "the event table cannot be read", text(EVENTS, content)) for content in (b"", b"PAR1", b"no table", b"\0" * 999)),
    (EVENTS, "Is a directory", a_folder(EVENTS)),
    *((EVENTS, f"no column {name}", columns(lambda table, name=name: table.drop(columns=name)))  # type: ignore[misc]
      for name in ("t_end_s", "kind", "metrics")),
    (EVENTS, "cannot be read", columns(lambda table: table.assign(t_end_s="soon"))),
    (EVENTS, "cannot be read", columns(lambda table: table.assign(bytes=[[1]] * len(table)))),
    (EVENTS, "column kind holds 'party'", first("kind", "party")),
    (EVENTS, "column status holds 'lost'", first("status", "lost")),
    (EVENTS, "column node holds 'nobody'", first("node", "nobody")),
    (EVENTS, "column peer holds 'nobody'", first("peer", "nobody")),
    (EVENTS, "column node lacks values", first("node", None)),
    (EVENTS, "column t_end_s lacks values", first("t_end_s", float("nan"))),
    (EVENTS, "not finite", first("energy_j", float("inf"))),
    (EVENTS, "before", first("t_start_s", 1e9)),
    (EVENTS, "before", first("t_start_s", -1.0)),
    (EVENTS, "column bytes holds negative", first("bytes", -1)),
    *((EVENTS, "no JSON object", first("metrics", content)) for content in ("{", "[1]", "3", DEEP)),
    *((ROUNDS, f"no column {name}", rounds(lambda table, name=name: table.drop(columns=name)))  # type: ignore[misc]
      for name in ("round", "sim_time_s", "accuracy", "energy_j")),
    (ROUNDS, "not the evaluations", rounds(lambda table: table.iloc[1:])),
    (ROUNDS, "not the evaluations", rounds(lambda table: table.assign(round=table["round"] + 1))),
    (ROUNDS, "not the evaluations", rounds(lambda table: table.assign(sim_time_s=float("nan")))),
    (ROUNDS, "no number", rounds(lambda table: table.assign(loss="low"))),
    (ROUNDS, "no number", rounds(lambda table: table.assign(host_time_s="long"))),
    (ROUNDS, "missing from a row", rounds(lambda table: table.assign(energy_j=float("nan")))),
    *((ROUNDS, "cannot be read", text(ROUNDS, content)) for content in ("", b"\xff\xfe,a\n", 'a,"b\n1,2')),
    (ROUNDS, "no column round", text(ROUNDS, "a,b\n1,2\n")),
    (ROUNDS, "Is a directory", a_folder(ROUNDS)),
    ("privacy.csv", "no column chain", text("privacy.csv", "a\n1\n")),
    ("privacy.csv", "no number", text("privacy.csv", "chain,codecs,bytes_per_token,recovered,of_clean\nown,int8,a,b,c\n")),
    *(("scenario.yaml", "cannot be read", text("scenario.yaml", content)) for content in ("a: [", b"\xff", "- 1", "x", "\t")),
    *(("scenario.yaml", "input should be", text("scenario.yaml", content))
      for content in ("protocol: 3", "stop: [1]", "name: 4", "stop: {target_accuracy: high}", "seed: a")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "words", "damage"), DAMAGES, ids=lambda value: value if isinstance(value, str) else ""
)
def test_damage_is_told_in_one_line_that_names_the_file(
    whole: Path, tmp_path: Path, name: str, words: str, damage: Damage
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    damage(folder)
    said = told(folder)
    assert said is not None
    assert f"{folder / name}" in said
    assert words in said


def spoilt(content: bytes, chance: random.Random) -> bytes:
    """The content cut, or with some bytes changed, moved or repeated."""
    at = chance.randrange(len(content))
    match chance.randrange(5):
        case 0:
            return content[:at]
        case 1:
            return content[at:]
        case 2:
            return content[:at] + chance.randbytes(chance.choice((1, 8, 100))) + content[at + 1 :]
        case 3:
            return content[:at] + b"\0" * chance.choice((1, 64, 4096)) + content[at + 64 :]
        case _:
            return content[:at] + content[at // 2 :]


def spoilings(folder: Path, count: int) -> Iterator[tuple[str, bytes]]:
    chance = random.Random(20)
    names = [n for n in ("scenario.yaml", "topology.json", "summary.json", "rounds.csv", "events.parquet", "events.arrows")
             if (folder / n).exists()]  # fmt: skip
    for i in range(count):
        name = names[i % len(names)]
        yield name, spoilt((folder / name).read_bytes(), chance)


@pytest.mark.parametrize("kind", ["whole", "killed"])
def test_random_damage_never_ends_in_a_traceback(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    source: Path = request.getfixturevalue(kind)
    folder = tmp_path / "run"
    shutil.copytree(source, folder)
    refused = drawn = 0
    for i, (name, content) in enumerate(spoilings(source, 200)):
        whole_one = (folder / name).read_bytes()
        (folder / name).write_bytes(content)
        said = told(folder)
        if said is not None:
            refused += 1
            assert str(folder) in said
        elif i % 20 == 0:
            with suppress(InputError):  # what is left has nothing to draw
                plots.draw("timeline", metrics.load(folder))
                drawn += 1
        (folder / name).write_bytes(whole_one)
    assert refused > 60
    assert drawn or kind == "whole"


def test_no_permission_is_told(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As root reads everything, the refusal is made up."""
    read = Path.read_text

    def refused(self: Path, *args: Any, **options: Any) -> str:
        if self.name == "summary.json":
            raise PermissionError(13, "Permission denied", str(self))
        return read(self, *args, **options)

    monkeypatch.setattr(Path, "read_text", refused)
    with pytest.raises(InputError, match=r"summary\.json cannot be read: Permission denied"):
        metrics.load(whole)


def test_whole_directories_load(whole: Path, killed: Path, tmp_path: Path) -> None:
    results, other = metrics.load(whole), metrics.load(killed)
    assert (results.summary["complete"], other.summary["complete"]) == (True, False)
    assert len(results.events) == len(other.events)
    with pytest.raises(KeyboardInterrupt):
        simulation.run(loaded(TIMING), tmp_path / "interrupted", Interrupting(3))
    assert told(tmp_path / "interrupted") is None


def test_other_columns_and_files_are_nobodys_fault(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    columns(partial(pd.DataFrame.assign, mine=1))(folder)
    rounds(partial(pd.DataFrame.assign, mine="a"))(folder)
    edited(SUMMARY, having("mine", {"a": [1]}))(folder)
    edited(TOPOLOGY, having("nodes.0.mine", 1))(folder)
    (folder / "rounds.csv.partial").write_text("x")
    assert told(folder) is None
