"""A scenario file: what it says, on which lines, and changes to it from the command line.

Knows nothing of the sections of a scenario.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from ..base.errors import Fault, ScenarioError
from .yaml_reader import Place, Reader, Unusable, brief, dotted, shown

T = TypeVar("T")

#: Largest scenario file.
MAX_BYTES = 1 << 20


@dataclass(frozen=True)
class Document:
    """What a scenario file says: ``data``, and the ``lines`` of its keys and list elements.

    ``changes`` holds the places whose value comes from elsewhere, such as ``--set``, with that origin. ``faults`` are
    those of single keys; the values of the ``faulty`` places are left out of ``data``. Relative paths in the file
    start at ``folder``.
    """

    source: str = "scenario"
    data: Mapping[str, Any] = field(default_factory=dict)
    lines: Mapping[Place, int] = field(default_factory=dict)
    folder: Path = Path()
    changes: Mapping[Place, str] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()
    faulty: frozenset[Place] = frozenset()

    def fault(self, place: Place, message: str) -> Fault:
        """A fault at ``place``, with the line of its key or of the closest parent that exists."""
        for end in range(len(place), 0, -1):
            if place[:end] in self.changes:
                return Fault(dotted(place), f"{message} (from {self.changes[place[:end]]})")
            if place[:end] in self.lines:
                return Fault(dotted(place), message, self.lines[place[:end]])
        made = [origin for change, origin in self.changes.items() if change[: len(place)] == place]
        return Fault(dotted(place), f"{message} (from {made[0]})" if place and made else message)

    def place(self, path: str) -> Place:
        """The place that a dotted path names."""
        parts = path.split(".") if path else []
        for end in range(len(parts), 0, -1):
            known = self._by_path.get(".".join(parts[:end]))
            if known is not None:
                return (*known, *parts[end:])
        return tuple(parts)

    @cached_property
    def _by_path(self) -> dict[str, Place]:
        return {dotted(place): place for place in (*self.changes, *self.lines)}

    def changed(self, place: Place, value: Any, origin: str | None = None) -> Document:
        """With ``value`` at ``place``: missing mappings are created, list elements must exist.

        With an ``origin`` (``--set 'seed=3'``) faults at this place name that in place of a line.

        Raises:
            ValueError: there is no such place.
        """
        data: dict[str, Any] = copy.deepcopy(dict(self.data))
        here: Any = data
        where: Place = ()
        for key, after in zip(place, (*place[1:], None), strict=True):
            if isinstance(here, list):
                key = _index(key, here, where)
            elif not isinstance(here, dict):
                raise ValueError(f"{dotted(where)} is {brief(here)} and has no keys")
            elif after is not None and here.get(str(key)) is None:
                here[str(key)] = {}
            where = (*where, key)
            if after is None:
                here[key] = value
            here = here[key]

        def outside(places: Iterable[Place]) -> list[Place]:
            return [each for each in places if each[: len(where)] != where]

        return replace(
            self,
            data=data,
            lines={each: self.lines[each] for each in outside(self.lines)},
            changes={each: self.changes[each] for each in outside(self.changes)} | ({where: origin} if origin else {}),
            faults=self.faults,
            faulty=frozenset(outside(self.faulty)),
        )

    def wrapped(self, place: Place) -> Document:
        """With the value at ``place`` as the only element of a list."""
        value: Any = self.data
        for key in place:
            value = value[key]

        def inside(each: Place) -> Place:
            return (*place, 0, *each[len(place) :]) if each[: len(place)] == place else each

        def both(places: Mapping[Place, T]) -> dict[Place, T]:
            kept = {each: what for each, what in places.items() if each[: len(place)] != place or each == place}
            return kept | {inside(each): what for each, what in places.items()}

        return replace(
            self.changed(place, [value]),
            lines=both(self.lines),
            changes=both(self.changes),
            faulty=frozenset(map(inside, self.faulty)),
        )


def _index(key: str | int, items: Sequence[Any], where: Place) -> int:
    text = str(key)
    if text.isascii() and text.isdigit() and len(text) < 10 and int(text) < len(items):
        return int(text)
    valid = "it is empty" if not items else "valid: 0" if len(items) == 1 else f"valid: 0 to {len(items) - 1}"
    raise ValueError(f"{dotted(where)} is a list without an element {shown(text)}; {valid}")


def read(path: str | Path) -> Document:
    """The document in the file ``path``; :func:`.validation.examine` reports its faults of single keys.

    Raises:
        ScenarioError: the file cannot be read, is not UTF-8, not YAML, too large, or not one mapping.
    """
    return parse(_text(Path(path), str(path)), str(path), Path(path).parent)


def parse(text: str, source: str = "scenario", folder: Path = Path()) -> Document:
    """The document in ``text``; see :func:`read`."""
    reader = Reader()
    try:
        data = reader.read(text)
        if not isinstance(data, dict):
            got = "nothing" if data is None else brief(data)
            raise Unusable(f"expected a mapping of sections, such as `protocol: {{kind: elsa}}`, got {got}")
    except Unusable as error:
        raise ScenarioError(source, [*reader.faults, Fault("", error.message, error.line)]) from None
    return Document(source, data, reader.lines, folder, faults=tuple(reader.faults), faulty=frozenset(reader.faulty))


def _text(path: Path, source: str) -> str:
    def bad(message: str, line: int | None = None) -> ScenarioError:
        return ScenarioError(source, [Fault("", message, line)])

    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except IsADirectoryError:
        raise bad("is a folder; name a scenario file in it") from None
    except FileNotFoundError:
        raise bad("no such file") from None
    except (OSError, ValueError) as error:
        raise bad(f"cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(data) > MAX_BYTES:
        raise bad(f"is larger than {MAX_BYTES >> 20} MiB; a scenario is a short text file")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise bad(f"is not UTF-8: byte 0x{data[error.start]:02x} at offset {error.start}", line) from None


def override(document: Document, text: str) -> Document:
    """The document changed by ``--set text``, with ``text`` as ``key.path=value`` and the value as YAML.

    Missing mappings are created; numbers in the path are list indices. What cannot be done is one more of its faults.
    """
    origin = f"--set {brief(text)}"
    path, equals, value = text.partition("=")
    keys = [key.strip() for key in path.split(".")]
    place: Place = tuple(keys) if all(key.isprintable() for key in keys) else ()
    reader = Reader(place)
    try:
        if not equals or not place or not all(keys):
            raise ValueError("expected key.path=value, such as protocol.rounds=3")
        made = reader.read(value)
        if not reader.faults:
            return document.changed(place, made, origin)
        faults = [Fault(fault.path, f"{fault.message} (from {origin})") for fault in reader.faults]
    except Unusable as error:
        faults = [Fault(dotted(place), f"{error.message} (from {origin})")]
    except ValueError as error:
        faults = [Fault("", f"{origin}: {error}")]
    return replace(document, faults=(*document.faults, *faults), faulty=document.faulty | ({place} if place else set()))


def locate(faults: Iterable[Fault], section: str, document: Document) -> list[Fault]:
    """Faults whose paths are relative to ``section``, with full paths and lines."""
    found = []
    for fault in faults:
        place = document.place(f"{section}.{fault.path}" if fault.path else section)
        found.append(document.fault(place, fault.message))
    return found
