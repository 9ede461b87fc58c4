"""From a table with named or numbered columns to texts with classes, or to the full list of what is wrong with it.

Shared by the tasks that read tables (files, the hub). A missing label is an empty cell, nothing else.

Tested in tests/learning/tasks/test_text_file.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...base.errors import Fault, InputFaults
from ...base.listing import listed
from .base import Texts, TextSplit
from .labels import Classes, canonical, composed

#: Longest value of a field in characters; a longer one is taken for garbage (the limit of Python's csv module).
MAX_FIELD = 131_072


@dataclass(frozen=True)
class Table:
    """Rows of a data file. ``columns`` maps a name (or a number, counted from 0, without header) to its values."""

    source: str
    columns: Mapping[str, Sequence[Any]]
    lines: Sequence[int]
    """The 1-based line (or row) at which each row stands."""
    named: bool = True

    def column(self, which: str | int) -> str:
        """The key in ``columns`` of a column given by name or by number.

        Raises:
            KeyError: there is none; its argument is a message that says what is valid.
        """
        names = list(self.columns)
        if isinstance(which, int):
            if 0 <= which < len(names):
                return names[which]
            raise KeyError(f"{self.source} has no column number {which}; it has {len(names)}, counted from 0")
        if not self.named:
            raise KeyError(
                f"{self.source} has no header, so {which!r} names no column; write a number from 0 to {len(names) - 1}"
            )
        for name in names:
            if composed(name) == composed(which):
                return name
        raise KeyError(
            f"{self.source} has no column {which!r}; valid: {listed(names, 8, quoted=True)}{did_you_mean(which, names)}"
        )


@dataclass(frozen=True)
class Rows:
    """Texts with the names of their classes; ``lines`` are for messages."""

    source: str
    texts: list[str]
    labels: list[str] | None
    columns: Mapping[str, NDArray[Any]]
    lines: Sequence[int]

    def take(self, indices: NDArray[np.int64]) -> Rows:
        """The rows at ``indices``, in that order."""
        return Rows(
            self.source,
            [self.texts[i] for i in indices],
            None if self.labels is None else [self.labels[i] for i in indices],
            {name: values[indices] for name, values in self.columns.items()},
            [self.lines[i] for i in indices],
        )


def did_you_mean(word: str, valid: Iterable[str]) -> str:
    """``; did you mean 'label'?``, or nothing."""
    spelled = {name.lower(): name for name in valid}
    near = get_close_matches(word.lower(), spelled, n=1)
    return f"; did you mean {spelled[near[0]]!r}?" if near else ""


def at_lines(lines: Sequence[int]) -> str:
    """``line 3`` or ``lines 3, 7, 12 and 40 more``."""
    return f"line{'s' if len(lines) > 1 else ''} {listed(lines, 5)}"


def _value(value: Any) -> str:
    """A cell as text: ``None`` and NaN become empty.

    Raises:
        ValueError: the cell is no text or number, or its characters cannot be written as UTF-8.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if not isinstance(value, str | int | float):
        raise ValueError(f"a {type(value).__name__}")
    text = str(value)
    text.encode()
    return text


def extract(table: Table, key: str, text: Sequence[str | int], label: str | int | None, separator: str) -> Rows:
    """The rows of ``table``: its ``text`` columns joined by ``separator``, its ``label`` column, and all columns.

    Raises:
        InputFaults: missing columns (at ``text_column``, ``label_column``), or rows without a text or a label, with
            cells that are no text, or with overlong ones (at ``key``).
    """
    faults: list[Fault] = []

    def resolved(which: str | int, path: str) -> str | None:
        try:
            return table.column(which)
        except KeyError as error:
            faults.append(Fault(path, str(error.args[0])))
            return None

    if not text:
        faults.append(Fault("text_column", "no column given; write one, or a list of columns that are joined"))
    text_names = [resolved(which, "text_column") for which in text]
    label_name = None if label is None else resolved(label, "label_column")
    if not table.lines:
        faults.append(Fault(key, f"{table.source} has no rows"))
    if faults:
        raise InputFaults(faults)

    needed = {name for name in (*text_names, label_name) if name is not None}
    cells: dict[str, list[str]] = {}
    for name, values in table.columns.items():
        cells[name] = []
        wrong: list[int] = []
        for line, value in zip(table.lines, values, strict=True):
            try:
                cells[name].append(_value(value))
            except ValueError:
                cells[name].append("")
                wrong.append(line)
        if name in needed and wrong:
            faults.append(
                Fault(key, f"{table.source}, column {name!r}: neither text nor a number at {at_lines(wrong)}")
            )
    parts = list(zip(*(cells[name] for name in text_names if name is not None), strict=True))
    texts = [separator.join(part).strip() for part in parts]
    labels = None if label_name is None else [canonical(value) for value in cells[label_name]]

    def check(bad: Iterable[bool], problem: str) -> None:
        found = [line for line, is_bad in zip(table.lines, bad, strict=True) if is_bad]
        if found:
            faults.append(Fault(key, f"{table.source}: {problem} at {at_lines(found)}"))

    if not faults:  # otherwise the same rows would be reported twice
        check((not "".join(part).strip() for part in parts), "no text")
        check((len(value) > MAX_FIELD for value in texts), f"a text of more than {MAX_FIELD} characters")
        if labels is not None:
            check((not value for value in labels), "no label (an empty cell)")
    if faults:
        raise InputFaults(faults)
    shared: dict[str, str] = {}
    columns = {
        name: np.array([shared.setdefault(composed(value), composed(value)) for value in values], dtype=object)
        for name, values in cells.items()
    }
    return Rows(table.source, texts, labels, columns, table.lines)


def encode(train: Rows, test: Rows, paths: tuple[str, str] = ("train", "test")) -> Texts:
    """Number the classes; :mod:`.labels` says which labels are one class, and their order.

    Raises:
        InputFaults: (at ``paths``) there is only one class, or test labels that never occur in training.
    """
    if train.labels is None or test.labels is None:
        return Texts(TextSplit(train.texts, None, train.columns), TextSplit(test.texts, None, test.columns))
    classes = Classes.of(train.labels)
    names = classes.names
    faults = []
    if len(names) < 2:
        faults.append(
            Fault(paths[0], f"{train.source}: all labels are {names[0][:60]!r}; at least two classes are needed")
        )
    unknown = sorted(label for label in set(test.labels) if classes.index(label) is None)
    if unknown:
        lines = [line for line, label in zip(test.lines, test.labels, strict=True) if classes.index(label) is None]
        faults.append(
            Fault(
                paths[1],
                f"{test.source}: labels not found in training: {listed(unknown, 8, quoted=True)} "
                f"(at {at_lines(lines)}); valid: {listed(names, 8, quoted=True)}",
            )
        )
    if faults:
        raise InputFaults(faults)

    def split(rows: Rows, labels: list[str]) -> TextSplit:
        index = {label: classes.index(label) for label in set(labels)}
        return TextSplit(rows.texts, np.array([index[label] for label in labels], dtype=np.int64), rows.columns)

    notes = tuple(classes.notes([*train.labels, *test.labels]))
    return Texts(split(train, train.labels), split(test, test.labels), names, notes=notes)
