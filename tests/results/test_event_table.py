"""The event table: digests of what it says, readable whenever the program ends."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elsa_sim.results import event_table as module
from elsa_sim.results.event_table import SCHEMA, STREAM, TABLE, Recorder, digest, read_events

KINDS = ["compute", "transfer", "aggregation", "evaluation", "fault", "idle"]
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
numbers = st.floats(0, 1e9)
rows = st.fixed_dictionaries(
    {"kind": st.sampled_from(KINDS), "t_start_s": numbers, "t_end_s": numbers, "node": names},
    optional={
        "peer": names,
        "round": st.integers(0, 2**31 - 1),
        "step": st.integers(0, 100),
        "bytes": st.integers(0, 2**62),
        "flops": numbers,
        "energy_j": numbers,
        "peer_energy_j": numbers,
        "detail": names,
        "status": st.sampled_from(["ok", "aborted", "in_flight"]),
        "route": names,
        "metrics": st.dictionaries(names, numbers, max_size=2),
    },
)
ROW: dict[str, Any] = {"kind": "transfer", "t_start_s": 1.0, "t_end_s": 2.5, "node": "client1", "peer": "edge1",
                       "round": 1, "step": 2, "bytes": 1000, "energy_j": 0.5, "peer_energy_j": 0.25,
                       "detail": "activation", "route": "client1>edge1"}  # fmt: skip


def fill(recorder: Recorder, count: int, flush_every: int = 0) -> Recorder:
    for i in range(count):
        recorder.add(**{**ROW, "t_start_s": float(i), "step": i})
        if flush_every and (i + 1) % flush_every == 0:
            recorder.flush()
    return recorder


def test_a_row_comes_back_as_it_was_added() -> None:
    recorder = Recorder()
    recorder.add(**ROW, metrics={"loss": 0.5, "accuracy": 1.0})
    recorder.add("idle", 0.0, 9.0, "edge1")
    table = recorder.close()
    assert table.schema == SCHEMA
    first, second = table.to_pylist()
    default = {f.name: "" if pa.types.is_string(f.type) else 0 for f in SCHEMA} | {"status": "ok"}
    assert first == {**default, **ROW, "metrics": '{"accuracy": 1.0, "loss": 0.5}'}
    assert json.loads(first["metrics"]) == {"loss": 0.5, "accuracy": 1.0}
    assert second == {**default, "kind": "idle", "t_end_s": 9.0, "node": "edge1"}
    assert recorder.rows == 2


# Digests ------------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(rows, max_size=12), st.sets(st.integers(0, 12)))
def test_digests_do_not_depend_on_when_rows_are_written(items: list[dict[str, Any]], flushes: set[int]) -> None:
    one, two = Recorder(), Recorder()
    for i, item in enumerate(items):
        if i in flushes:
            one.flush()
        one.add(**item)
        two.add(**item)
    tables = [one.close(), two.close()]
    assert tables[0].equals(tables[1])
    for of in ("trace", "timeline"):
        assert one.digest(of) == two.digest(of) == digest(tables[0], of) == digest(tables[1].combine_chunks(), of)
    parts = [tables[1].slice(i, 5) for i in range(0, len(items), 5)] or [tables[1]]
    assert digest(pa.concat_tables(parts)) == one.digest(), "slices of a table digest as what they show"


@settings(deadline=None)
@given(st.lists(rows, min_size=2, max_size=6), st.data())
def test_any_change_of_the_table_changes_the_digest(items: list[dict[str, Any]], data: st.DataObject) -> None:
    table = table_of(items)
    other = [dict(item) for item in items]
    what = data.draw(st.sampled_from(["drop", "swap", "change"]))
    at = data.draw(st.integers(0, len(items) - 2))
    if what == "drop":
        del other[at]
    elif what == "swap":
        other[at], other[at + 1] = other[at + 1], other[at]
    else:
        other[at] = data.draw(rows)
    changed = table_of(other)
    assert (digest(changed) == digest(table)) == changed.equals(table)
    timeline = [part.drop_columns(["metrics"]) for part in (table, changed)]
    assert (digest(changed, "timeline") == digest(table, "timeline")) == timeline[0].equals(timeline[1])


def table_of(items: list[dict[str, Any]]) -> pa.Table:
    recorder = Recorder()
    for item in items:
        recorder.add(**item)
    return recorder.close().combine_chunks()


def test_flops_may_be_more_than_a_float_tells_apart() -> None:
    recorder = Recorder()
    recorder.append({**ROW, "kind": "compute", "flops": 2**60 + 1})
    assert recorder.close()["flops"].to_pylist() == [2.0**60]


@pytest.mark.parametrize("column", [name for name in SCHEMA.names if name != "metrics"])
def test_every_column_is_in_both_digests(column: str) -> None:
    change: Any = {"kind": "fault", "status": "aborted"}.get(column, "x" if isinstance(ROW.get(column, 0), str) else 77)
    tables = [table_of([ROW]), table_of([{**ROW, column: change}])]
    for of in ("trace", "timeline"):
        assert digest(tables[0], of) != digest(tables[1], of)


def test_the_timeline_leaves_out_the_results_and_nothing_else() -> None:
    tables = [table_of([{**ROW, "metrics": metrics}]) for metrics in ({"loss": 1.0}, {"loss": 2.0}, {})]
    assert len({digest(table, "timeline") for table in tables}) == 1
    assert len({digest(table, "trace") for table in tables}) == 3


def test_texts_that_only_join_alike_differ() -> None:
    one = table_of([{**ROW, "node": "ab", "peer": "c"}, {**ROW, "node": "d", "peer": "e"}])
    two = table_of([{**ROW, "node": "a", "peer": "c"}, {**ROW, "node": "bd", "peer": "e"}])
    three = table_of([{**ROW, "node": "abc", "peer": ""}, {**ROW, "node": "d", "peer": "e"}])
    assert len({digest(table) for table in (one, two, three)}) == 3


def test_the_digest_by_hand() -> None:
    """A SHA-256 over one line per column: its name, the digest of its values and that of the lengths of its texts."""
    items = [ROW, {**ROW, "node": "", "detail": "Grüße", "t_start_s": 0.1}]
    table, lines = table_of(items), []
    for field in SCHEMA:
        values, lengths = table[field.name].to_pylist(), b""
        if pa.types.is_string(field.type):
            texts = [value.encode() for value in values]
            data, lengths = b"".join(texts), b"".join(len(text).to_bytes(4, "little") for text in texts)
        else:
            form = {"double": "d", "int32": "i", "int64": "q"}[str(field.type)]
            data = struct.pack(f"<{len(values)}{form}", *values)
        lines.append(f"{field.name} {hashlib.sha256(data).hexdigest()} {hashlib.sha256(lengths).hexdigest()}")
    assert digest(table) == hashlib.sha256("\n".join(lines).encode()).hexdigest()


# Files --------------------------------------------------------------------------------------------------------------


def test_a_closed_table_is_one_parquet_file(tmp_path: Path) -> None:
    recorder = fill(Recorder(tmp_path), 10, flush_every=4)
    table = recorder.close()
    assert [path.name for path in tmp_path.iterdir()] == [TABLE]
    assert table.num_rows == recorder.rows == 10
    assert pq.read_table(tmp_path / TABLE).equals(table)
    assert read_events(tmp_path).equals(table)
    assert read_events(tmp_path).schema == SCHEMA
    assert digest(read_events(tmp_path)) == recorder.digest(), "anyone can check the digest of a run directory"
    assert table.equals(fill(Recorder(), 10).close())


def test_an_empty_table(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    assert recorder.close().num_rows == 0
    assert read_events(tmp_path).schema == SCHEMA
    assert digest(read_events(tmp_path)) == recorder.digest() == Recorder().digest()


def test_long_runs_are_written_as_they_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH", 16)
    recorder = fill(Recorder(tmp_path), 100)
    assert read_events(tmp_path).num_rows == 96
    assert len(recorder._pending) == 4, "rows pile up in memory"
    assert not recorder._kept
    recorder.flush()
    assert read_events(tmp_path).num_rows == 100
    assert recorder.close().num_rows == 100


def test_a_stream_cut_at_any_byte_gives_the_batches_before(tmp_path: Path) -> None:
    recorder, sizes = Recorder(tmp_path), []
    for batch in range(2):
        for _ in range(2):
            recorder.add(**{**ROW, "round": batch}, metrics={"loss": batch})
        recorder.flush()
        sizes.append((tmp_path / STREAM).stat().st_size)
    whole = (tmp_path / STREAM).read_bytes()
    assert len(whole) == sizes[-1]
    expected = fill_rounds(2)
    folder = tmp_path / "cut"
    folder.mkdir()
    (folder / STREAM).write_bytes(whole)
    for length in range(len(whole), -1, -1):
        os.truncate(folder / STREAM, length)
        table = read_events(folder)
        assert table.num_rows == 2 * sum(length >= size for size in sizes)
        if length in {*sizes, sizes[0] - 1, len(whole) - 1, 0}:
            table.validate(full=True)
            assert table.schema == SCHEMA
            assert table.equals(expected.slice(0, table.num_rows))
    recorder.close()


def fill_rounds(batches: int) -> pa.Table:
    recorder = Recorder()
    for batch in range(batches):
        for _ in range(2):
            recorder.add(**{**ROW, "round": batch}, metrics={"loss": batch})
    return recorder.close()


KILLED = """
import sys, time
from pathlib import Path
from elsa_sim.results.event_table import Recorder
recorder = Recorder(Path(sys.argv[1]))
for i in range(7):
    recorder.add("compute", float(i), i + 1.0, "client1")
recorder.flush()
recorder.add("compute", 7.0, 8.0, "client1")
print("ready", flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_what_was_flushed_outlives_a_kill(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        os.kill(process.pid, signal.SIGKILL)
    assert read_events(tmp_path).num_rows == 7


def test_a_kill_while_the_table_is_closed_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: Any) -> None:
        (tmp_path / (TABLE + ".partial")).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(pq, "write_table", killed)
    recorder = fill(Recorder(tmp_path), 5)
    with pytest.raises(KeyboardInterrupt):
        recorder.close()
    assert read_events(tmp_path).num_rows == 5


def test_the_table_of_an_earlier_run_is_not_taken_for_this_ones(tmp_path: Path) -> None:
    fill(Recorder(tmp_path), 9).close()
    recorder = fill(Recorder(tmp_path), 2)
    recorder.flush()
    assert read_events(tmp_path).num_rows == 2
    assert recorder.close().num_rows == 2
    assert read_events(tmp_path).num_rows == 2


def test_a_folder_without_a_table_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=STREAM):
        read_events(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_events(tmp_path / "nowhere")


def test_a_row_that_is_no_row_is_refused() -> None:
    recorder = Recorder()
    recorder.add(**{**ROW, "bytes": "many"})
    with pytest.raises(pa.ArrowInvalid):
        recorder.flush()
    with pytest.raises(TypeError):
        recorder.add(**ROW, unknown=3)


@pytest.mark.parametrize(("row", "told"), [({"colour": "red"}, "colour"), ({}, "node")])
def test_a_row_with_a_column_that_there_is_not_or_without_one_that_there_must_be(
    row: dict[str, Any], told: str
) -> None:
    always = {"kind": "fault", "t_start_s": 0.0, "t_end_s": 1.0, "node": "a"}
    given = always | row if row else {name: always[name] for name in ("kind", "t_start_s", "t_end_s")}
    with pytest.raises(TypeError, match=f"look at {told}$"):
        Recorder().append(given)
