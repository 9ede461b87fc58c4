"""Texts from files: CSV, TSV, JSON lines, and ``LABEL text`` lines, in any encoding that is named.

CSV follows RFC 4180 with a delimiter of choice, quotes doubled inside quotes, checked strictly. Fields of a TSV are
taken literally (no quoting). JSON lines hold one object each. Empty lines are skipped in all formats. ``\\n``,
``\\r\\n`` and ``\\r`` end a line, and nothing else does: a Latin-1 text may contain U+0085.

TREC (Li and Roth 2002) writes ``COARSE:fine text``; see ``label_level``.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from collections.abc import Iterator
from encodings.aliases import aliases
from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from ...base.context import Context
from ...base.errors import Fault, InputFaults
from ...base.listing import listed
from ...base.registry import Items
from .base import Task, Texts, fault
from .tables import MAX_FIELD, Rows, Table, at_lines, did_you_mean, encode, extract

_ONLY_FOR = {
    "header": ("csv", "tsv"),
    "delimiter": ("csv",),
    "text_column": ("csv", "tsv", "jsonl"),
    "label_column": ("csv", "tsv", "jsonl"),
    "text_separator": ("csv", "tsv", "jsonl"),
    "label_separator": ("labelled_lines",),
    "label_level": ("labelled_lines",),
}


class TextFile(Task):
    """Texts from CSV, TSV, JSON lines or `LABEL text` files.

    Does not model: compressed files, several files per part, streaming (a file is held in memory while it is read).
    """

    kind: Literal["text_file"] = "text_file"
    train: str
    """File of the training texts: absolute, relative to the scenario file, or to $ELSA_SIM_DATA."""
    test: str | None = None
    """File of the test texts; without it, `test_fraction` of the training file is set apart."""
    test_fraction: float | None = Field(default=None, gt=0.0, lt=1.0)
    """Share of the texts of `train` that is set apart for tests, at random (seeded); instead of `test`."""
    format: Literal["csv", "tsv", "jsonl", "labelled_lines"]
    """csv; tsv (no quoting); jsonl (one JSON object a line); labelled_lines (a label, white space, a text)."""
    encoding: str = "utf-8"
    """Character encoding, such as utf-8, latin-1, cp1252, utf-16; a leading byte order mark is dropped."""
    header: bool = True
    """csv, tsv: the first row names the columns."""
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    """csv: the character between fields."""
    text_column: str | int | Items[tuple[str | int, ...]] = "text"
    """csv, tsv, jsonl: column of the text, by name or by number from 0; several columns are joined."""
    label_column: str | int = "label"
    """csv, tsv, jsonl: column of the label, by name or by number from 0; not used for causal_lm."""
    text_separator: str = " "
    """What stands between joined columns."""
    label_separator: str = Field(default=":", min_length=1)
    """labelled_lines: what stands between the coarse and the fine part of a label."""
    label_level: Literal["coarse", "full"] | None = None
    """labelled_lines: coarse keeps what is before `label_separator`, full the whole label; by default coarse if every
    label has the separator. Both are columns (`coarse`, `label`) for partitions."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = [
            f"{name} has no effect with format {self.format}; it belongs to {', '.join(formats)}"
            for name, formats in _ONLY_FOR.items()
            if name in self.model_fields_set and self.format not in formats
        ]
        if self.test is None and self.test_fraction is None:
            problems.append("no test texts; write test: FILE, or test_fraction: 0.2")
        if self.test is not None and self.test_fraction is not None:
            problems.append("test and test_fraction exclude each other; write one of them")
        if self.delimiter in '"\r\n':
            problems.append(f"{self.delimiter!r} cannot be the delimiter")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def load(self, context: Context) -> Texts:
        """Read both files and number the classes.

        Raises:
            InputFaults: a file is missing, unreadable, in another encoding or of another form; rows lack texts or
                labels; there is one class only; the test has classes that training lacks.
        """
        faults: list[Fault] = []
        tables: dict[str, Table] = {}
        for key, path in (("train", self.train), ("test", self.test)):
            if path is not None:
                try:
                    tables[key] = self._table(context, key, path)
                except InputFaults as error:
                    faults += [each for each in error.faults if each not in faults]
        text = self.text_column if isinstance(self.text_column, tuple) else (self.text_column,)
        label: str | int | None = self.label_column
        if self.format == "labelled_lines":
            text, label = ("text",), "label"
            levels = [
                self.label_separator in str(value) for table in tables.values() for value in table.columns["label"]
            ]
            if self.label_level == "coarse" or (self.label_level is None and levels and all(levels)):
                tables, label = {key: self._with_coarse(table) for key, table in tables.items()}, "coarse"
        rows: dict[str, Rows] = {}
        for key, table in tables.items():
            try:
                rows[key] = extract(
                    table, key, text, None if self.objective == "causal_lm" else label, self.text_separator
                )
            except InputFaults as error:
                faults += [each for each in error.faults if each not in faults]
        if faults:
            raise InputFaults(faults)
        if self.test_fraction is not None:
            rows = _set_apart(rows["train"], self.test_fraction, context)
        return encode(rows["train"], rows["test"])

    def _with_coarse(self, table: Table) -> Table:
        coarse = [str(value).partition(self.label_separator)[0] for value in table.columns["label"]]
        return Table(table.source, {**table.columns, "coarse": coarse}, table.lines)

    def _table(self, context: Context, key: str, path: str) -> Table:
        text = self._decoded(context.read(path, key), key, path)
        if not text.strip():
            raise fault(key, f"{path} is empty")
        if "\0" in text:
            line = text.count("\n", 0, text.index("\0")) + 1
            raise fault(key, f"{path}, line {line}: a NUL character; this is no {self.encoding} text file")
        if self.format == "labelled_lines":
            return _labelled(text, path)
        if self.format == "jsonl":
            return _objects(text, key, path)
        return self._delimited(text, key, path)

    def _decoded(self, data: bytes, key: str, path: str) -> str:
        try:
            codecs.lookup(self.encoding)
            return data.decode(self.encoding).removeprefix("\ufeff")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            other = "latin-1" if codecs.lookup(self.encoding).name in ("utf-8", "ascii") else "utf-8"
            byte = f"byte 0x{data[error.start : error.start + 1].hex()} at offset {error.start} (line {line})"
            message = f"{path} is not {self.encoding}: {byte}; name its encoding, such as `encoding: {other}`"
            raise fault(key, message) from None
        except (LookupError, ValueError) as error:
            hint = did_you_mean(self.encoding.replace("-", "_"), [*aliases, *aliases.values()])
            problem = f"does not fit {path}" if isinstance(error, UnicodeError) else "is no text encoding"
            valid = "valid: utf-8, latin-1, cp1252, utf-16 and every other text encoding of Python"
            raise fault("encoding", f"{self.encoding!r} {problem}; {valid}{hint}") from None

    def _delimited(self, text: str, key: str, path: str) -> Table:
        stream = io.StringIO(text, newline="")
        if self.format == "tsv":
            reader = csv.reader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)
        else:
            reader = csv.reader(stream, delimiter=self.delimiter, strict=True)
        rows: list[list[str]] = []
        lines: list[int] = []
        line = 1
        try:
            for row in reader:
                if row:
                    rows.append(row)
                    lines.append(line)
                line = reader.line_num + 1
        except csv.Error as error:
            raise fault(
                key, f"{path}, the row at line {line}: {error}; is it {self.format}, with quotes doubled inside quotes?"
            ) from None
        names = rows[0] if self.header else [str(i) for i in range(len(rows[0]))]
        if self.header:
            rows, lines = rows[1:], lines[1:]
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise fault(key, f"{path}: the header names {listed(doubled, 8, quoted=True)} more than once")
        wrong = [line for row, line in zip(rows, lines, strict=True) if len(row) != len(names)]
        if wrong:
            raise fault(
                key,
                f"{path}: not {len(names)} fields at {at_lines(wrong)}; the first row has "
                f"{len(names)}: {listed(names, 8, quoted=True)}",
            )
        return Table(path, {name: [row[i] for row in rows] for i, name in enumerate(names)}, lines, self.header)


def _numbered_lines(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(re.split(r"\r\n|\n|\r", text), 1):
        if line.strip():
            yield number, line


def _labelled(text: str, path: str) -> Table:
    """``LABEL text``: the label ends at the first space or tab."""
    lines, labels, texts = [], [], []
    for number, line in _numbered_lines(text):
        label, *rest = re.split("[ \t]+", line.strip(" \t"), maxsplit=1)
        lines.append(number)
        labels.append(label)
        texts.append(rest[0] if rest else "")
    return Table(path, {"label": labels, "text": texts}, lines)


def _objects(text: str, key: str, path: str) -> Table:
    lines: list[int] = []
    objects: list[dict[str, object]] = []
    wrong: list[int] = []
    for number, line in _numbered_lines(text):
        try:
            value = json.loads(line) if len(line) <= 8 * MAX_FIELD else None
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, dict):
            lines.append(number)
            objects.append(value)
        else:
            wrong.append(number)
    if wrong:
        raise fault(key, f"{path}: no JSON object at {at_lines(wrong)}")
    names = list(dict.fromkeys(name for each in objects for name in each))
    return Table(path, {name: [each.get(name) for each in objects] for name in names}, lines)


def _set_apart(rows: Rows, fraction: float, context: Context) -> dict[str, Rows]:
    """A random ``fraction`` of the rows (at least one) for tests, the rest for training, both in file order.

    Raises:
        InputFaults: nothing would be left for training.
    """
    count = max(1, round(len(rows.texts) * fraction))
    if count >= len(rows.texts):
        raise fault("test_fraction", f"{fraction} of {len(rows.texts)} rows leaves none for training")
    order = context.streams.numpy("task", "test_fraction").permutation(len(rows.texts)).astype(np.int64)
    return {"train": rows.take(np.sort(order[count:])), "test": rows.take(np.sort(order[:count]))}
