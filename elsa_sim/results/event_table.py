"""One append-only event table: the facts of a run, from which every metric is derived.

The schema is the table's contract. Rows are appended in the order in which things end in simulated time. They are
written in batches to an Arrow stream, which stays readable when the program is killed, and become
``events.parquet`` when the run is closed.
"""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..base.writing import replacing

#: Columns of the event table. ``kind``: compute, transfer, aggregation, evaluation, fault, handover, assignment, update,
#: selection, and one ``idle`` row per device at the end (the energy of its idle time). ``status``: ok, aborted, in_flight.
#: ``energy_j`` is that of the row, ``peer_energy_j`` the part of it that the peer spent (receiving). ``bytes`` is the size
#: of a message with its header;
#: ``wasted_bytes`` were sent beyond that, or for nothing, in ``attempts``. ``detail`` is what kind of message, work or
#: fault it was; ``route`` the nodes a transfer crossed, joined by ``>``; ``metrics`` a JSON object of results and reasons.
#: A ``fault`` is a device that is ``away``, a ``link down`` between node and peer, or who is ``missing`` from a round.
#: An ``assignment`` is what a probing found out about a client: its edge server (peer), and its trust and behaviour group.
#: An ``update`` is one that an asynchronous server got from its peer, from its arrival to its merge; aborted: it does not count.
#: With the detail ``judged`` it is what an edge server of ELSA made of its clients' changes: the score of each in ``metrics``.
#: A ``selection`` is a client (peer) that a server chose for a round, until that closed; aborted: it did not arrive.
SCHEMA = pa.schema(
    [
        ("t_start_s", pa.float64()),
        ("t_end_s", pa.float64()),
        ("kind", pa.string()),
        ("node", pa.string()),
        ("peer", pa.string()),
        ("round", pa.int32()),
        ("step", pa.int32()),
        ("bytes", pa.int64()),
        ("flops", pa.float64()),
        ("energy_j", pa.float64()),
        ("peer_energy_j", pa.float64()),
        ("wasted_bytes", pa.int64()),
        ("attempts", pa.int32()),
        ("detail", pa.string()),
        ("status", pa.string()),
        ("route", pa.string()),
        ("metrics", pa.string()),
    ]
)
#: Column -> what it holds where a row says nothing.
EMPTY: dict[str, Any] = {field.name: {pa.string(): "", pa.float64(): 0.0}.get(field.type, 0) for field in SCHEMA}
EMPTY["status"] = "ok"
#: Columns of which every row says something.
ALWAYS = frozenset({"t_start_s", "t_end_s", "kind", "node"})
STREAM, TABLE = "events.arrows", "events.parquet"
BATCH = 8192
Kind = Literal[
    "compute", "transfer", "aggregation", "evaluation", "fault", "handover", "assignment", "update", "selection", "idle"
]
Status = Literal["ok", "aborted", "in_flight"]
Of = Literal["trace", "timeline"]


class Recorder:
    """Appends rows to the event table of the run in ``folder`` (kept in memory only when ``folder`` is ``None``)."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self.rows = 0
        self._pending: list[dict[str, Any]] = []
        self._digests = _Digests()
        self._kept: list[pa.RecordBatch] = []
        self._whole = True  # no batch was written in part
        if folder is not None:
            (folder / TABLE).unlink(missing_ok=True)  # the table of an earlier run
        self._writer = pa.ipc.new_stream(folder / STREAM, SCHEMA) if folder is not None else None

    def add(
        self,
        kind: Kind,
        t_start_s: float,
        t_end_s: float,
        node: str,
        *,
        peer: str = "",
        round: int = 0,
        step: int = 0,
        bytes: int = 0,
        flops: float = 0.0,
        energy_j: float = 0.0,
        peer_energy_j: float = 0.0,
        wasted_bytes: int = 0,
        attempts: int = 0,
        detail: str = "",
        status: Status = "ok",
        route: str = "",
        metrics: Mapping[str, Any] | None = None,
    ) -> None:
        """Append one row."""
        self.append({
            "kind": kind, "t_start_s": t_start_s, "t_end_s": t_end_s, "node": node, "peer": peer, "round": round, "step": step,
            "bytes": bytes, "flops": flops, "energy_j": energy_j, "peer_energy_j": peer_energy_j, "wasted_bytes": wasted_bytes,
            "attempts": attempts, "detail": detail, "status": status, "route": route, "metrics": metrics,
        })  # fmt: skip

    def append(self, row: dict[str, Any]) -> None:
        """Append one row, which nobody changes from now on; columns that it lacks are empty.

        Raises:
            TypeError: it has a column that the table does not have, or lacks one that every row has.
        """
        if not row.keys() <= EMPTY.keys() or not row.keys() >= ALWAYS:
            wrong = (row.keys() - EMPTY.keys()) or (ALWAYS - row.keys())
            raise TypeError(f"a row of the event table has the columns {', '.join(EMPTY)}; look at {', '.join(wrong)}")
        if "metrics" in row:
            metrics = row["metrics"]
            row["metrics"] = "" if metrics is None else json.dumps(metrics, sort_keys=True)
        self._pending.append(row)
        if len(self._pending) >= BATCH:
            self.flush()

    def flush(self) -> None:
        """Write the rows added so far; when this is called changes neither the table nor its digests."""
        rows = self._pending
        if not rows:
            return
        columns = ([row.get(name, empty) for row in rows] for name, empty in EMPTY.items())
        batch = pa.record_batch([_array(c, f.type) for c, f in zip(columns, SCHEMA, strict=True)], schema=SCHEMA)
        self.rows += len(rows)
        self._pending = []
        self._digests.update(batch)
        if self._writer is not None:
            self._whole = False
            self._writer.write_batch(batch)
            self._whole = True
        else:
            self._kept.append(batch)

    def close(self) -> pa.Table:
        """Write what is left, turn the stream into ``events.parquet`` and return the table.

        Raises:
            OSError: the disk is full, say; what was written before stays readable as the stream.
        """
        if self._whole:  # what followed a torn batch could not be read
            self.flush()
        if self._writer is None or self.folder is None:
            return pa.Table.from_batches(self._kept, schema=SCHEMA)
        if not self._whole:
            raise OSError(errno.EIO, "a batch of events was written in part", str(self.folder / STREAM))
        self._writer.close()
        table = read_events(self.folder)
        with replacing(self.folder / TABLE) as partial:
            pq.write_table(table, partial)
        (self.folder / STREAM).unlink()
        return table

    def salvaged(self) -> pa.Table:
        """What was written before something failed."""
        if self.folder is None:
            return pa.Table.from_batches(self._kept, schema=SCHEMA)
        try:
            return read_events(self.folder)
        except (pa.ArrowException, OSError):
            return SCHEMA.empty_table()

    def digest(self, of: Of = "trace") -> str:
        """SHA-256 of the rows written so far, as :func:`digest` of the closed table gives it."""
        return self._digests.hexdigest(of)


def _array(values: list[Any], kind: pa.DataType) -> pa.Array:
    """A column; whole numbers of FLOPs beyond 2**53 are rounded, which pyarrow refuses to do."""
    return pa.array(np.array(values, dtype=np.float64) if kind == pa.float64() else values, kind)


class _Digests:
    """A SHA-256 per column, fed batch by batch: the values of numbers; the lengths and the bytes of texts."""

    def __init__(self) -> None:
        self._columns = {name: (hashlib.sha256(), hashlib.sha256()) for name in SCHEMA.names}

    def update(self, batch: pa.RecordBatch) -> None:
        for name, column in zip(SCHEMA.names, batch.columns, strict=True):
            values, lengths = self._columns[name]
            if not pa.types.is_string(column.type):
                values.update(column.to_numpy().tobytes())
                continue
            _, offsets, data = column.buffers()
            ends = np.frombuffer(offsets, dtype=np.int32)[column.offset :][: len(column) + 1]
            lengths.update(np.diff(ends).tobytes())
            if data is not None:
                values.update(memoryview(data)[ends[0] : ends[-1]])

    def hexdigest(self, of: Of) -> str:
        skip = "metrics" if of == "timeline" else None
        pairs = ((name, pair) for name, pair in self._columns.items() if name != skip)
        lines = (f"{name} {values.hexdigest()} {lengths.hexdigest()}" for name, (values, lengths) in pairs)
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def digest(table: pa.Table, of: Of = "trace") -> str:
    """SHA-256 of an event table, the same however it is cut into batches; ``timeline`` leaves out the results."""
    digests = _Digests()
    for batch in table.to_batches():
        digests.update(batch)
    return digests.hexdigest(of)


def read_events(folder: Path) -> pa.Table:
    """The event table of a run directory, also of one whose run was killed.

    Raises:
        FileNotFoundError: the folder holds no event table.
        OSError, pyarrow.ArrowException: it cannot be read.
    """
    if (folder / TABLE).exists():
        with (folder / TABLE).open("rb") as file:  # of a folder Arrow would read whatever is in it
            return pq.read_table(file)
    batches: list[pa.RecordBatch] = []
    with pa.OSFile(str(folder / STREAM)) as source:
        if _begins(folder / STREAM):
            return SCHEMA.empty_table()
        stream = pa.ipc.open_stream(source)
        try:
            for batch in stream:
                batch.validate(full=True)
                batches.append(batch)
        except (pa.ArrowException, OSError):
            pass  # the writer was killed in mid-batch; what came before is whole
    return pa.Table.from_batches(batches, schema=stream.schema)


def _begins(stream: Path) -> bool:
    """Whether a stream ends before the first batch: its writer was killed when it had just begun."""
    sink = pa.BufferOutputStream()
    pa.ipc.new_stream(sink, SCHEMA).close()
    empty: bytes = sink.getvalue().to_pybytes()
    with stream.open("rb") as file:
        return empty.startswith(file.read(len(empty) + 1))


def holds_no_rows(folder: Path) -> bool:
    """Whether a folder holds no event table, or one in which nothing was recorded yet."""
    if (folder / TABLE).exists():
        return False
    return not (folder / STREAM).exists() or _begins(folder / STREAM)
