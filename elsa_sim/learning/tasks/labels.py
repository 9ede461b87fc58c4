"""Which labels of a table are one class.

The rule, for training and test labels alike:

- White space around a label does not count, and letters are compared in Unicode's composed form (NFC).
- Where **all** labels of the training texts are written as finite numbers, labels are compared as numbers, exactly:
  ``1``, ``1.0``, ``+1`` and ``1e0`` are one class, and the classes are in the order of the numbers.
- A number with a leading zero, such as ``01``, is a code: with one among the training labels, all are compared as text.
- All else is text, in alphabetical order: ``true`` and ``True`` are two classes. A JSON boolean is ``True`` or ``False``.
- Only an empty cell (JSON: ``null``, ``NaN`` or no such key) is a missing label. ``nan``, ``NA`` and ``None`` are names.

Tested in tests/learning/tasks/test_text_file.py.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal

from ...base.listing import listed

#: A finite decimal number without a leading zero.
_NUMBER = re.compile(r"[+-]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?")
_INTEGER = re.compile(r"-?[0-9]{1,18}")
#: The same with leading zeros, or a code that looks like one.
_NUMERAL = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?")
#: Names of classes that other programs take for missing values.
_LIKE_MISSING = frozenset(("nan", "na", "n/a", "<na>", "null", "none", "nil"))


def composed(text: str) -> str:
    """``text`` in Unicode's composed form, NFC."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def canonical(label: str) -> str:
    """``label`` as it is compared, unless all are numbers."""
    return composed(label.strip())


@dataclass(frozen=True)
class Classes:
    """The classes of a task: their names in order, and which class a label belongs to."""

    names: tuple[str, ...]
    numeric: bool
    _index: Mapping[str | Decimal, int]

    @classmethod
    def of(cls, labels: Iterable[str]) -> Classes:
        """Those of the (canonical) training labels; a class has the shortest of its spellings as its name."""
        spellings = sorted(set(labels))
        numeric = all(map(_NUMBER.fullmatch, spellings))
        groups: defaultdict[str | Decimal, list[str]] = defaultdict(list)
        for label in spellings:
            groups[Decimal(label) if numeric else label].append(label)
        if numeric:
            order = sorted(groups, key=Decimal)
        else:
            whole = all(map(_INTEGER.fullmatch, spellings))
            order = sorted(groups, key=(lambda label: (int(label), label)) if whole else None)
        names = tuple(min(groups[each], key=lambda label: (len(label), label)) for each in order)
        return cls(names, numeric, {each: i for i, each in enumerate(order)})

    def index(self, label: str) -> int | None:
        """The class of a (canonical) label; ``None`` if training has no such class."""
        if not self.numeric:
            return self._index.get(label)
        return self._index.get(Decimal(label)) if _NUMBER.fullmatch(label) else None

    def notes(self, labels: Iterable[str]) -> Iterator[str]:
        """What a user may not expect of (canonical) ``labels``, a line each."""
        groups: defaultdict[int | None, list[str]] = defaultdict(list)
        for label in sorted(set(labels)):
            groups[self.index(label)].append(label)
        joined = [
            f"{listed(same, 8, quoted=True)} are one class"
            for i, same in groups.items()
            if i is not None and len(same) > 1
        ]
        if joined:
            yield f"all labels are numbers, and compared as numbers: {_some(joined)}"
        if not self.numeric:
            numbers: defaultdict[Decimal, list[str]] = defaultdict(list)
            for name in self.names:
                if _NUMERAL.fullmatch(name):
                    numbers[Decimal(name)].append(name)
            apart = [
                f"{listed(alike, 8, quoted=True)} are different classes" for alike in numbers.values() if len(alike) > 1
            ]
            if apart:
                yield f"not all labels are numbers without leading zeros, so they are compared as text: {_some(apart)}"
        if words := [name for name in self.names if name.lower() in _LIKE_MISSING]:
            yield f"{listed(words, 8, quoted=True)}: a class of that name, not a missing label; only an empty cell is one"


def _some(texts: list[str], most: int = 3) -> str:
    return "; ".join(texts[:most]) + (f"; and {len(texts) - most} more" if len(texts) > most else "")
