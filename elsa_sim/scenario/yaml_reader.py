"""YAML text to plain data, with the line of every key; bounded, so that no text can hang the program or fill memory.

Scalars follow YAML 1.2's core schema, so ``2e-3`` is a number, and ``no``, ``1:30`` and ``2024-01-01`` are text. Only
mappings with text keys, lists, text, numbers, true/false and null exist; any other tag is a fault.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from ..base.errors import Fault

#: Bounds: nesting, nodes once aliases are expanded, integers.
MAX_DEPTH = 40
MAX_NODES = 50_000
MAX_INTEGER = 2**63 - 1

#: Keys and list indices from the top to a value.
Place = tuple[str | int, ...]

_TAG = "tag:yaml.org,2002:"
_RESOLVERS: Sequence[tuple[str, str, list[str]]] = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
     list("-+.0123456789")),
    ("merge", r"<<", ["<"]),
)  # fmt: skip


def dotted(place: Place) -> str:
    """``("codec", "activation", 0, "rows")`` -> ``"codec.activation.0.rows"``, as ``--set`` takes it."""
    return ".".join(shown(str(key)) for key in place)


def shown(text: str) -> str:
    """``text`` as it is if it is short and plain, else its beginning, quoted."""
    short = text if len(text) <= 60 else text[:57] + "..."
    return short if short.isprintable() and short.strip() == short != "" else repr(short)


def brief(value: Any) -> str:
    """A value as a message shows it, in one short line."""
    if isinstance(value, dict):
        return "a mapping" if value else "an empty mapping"
    if isinstance(value, list | tuple):
        return "a list" if value else "an empty list"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = repr(value) if isinstance(value, str | float | int) else type(value).__name__
    return text if len(text) <= 60 else text[:57] + "..."


class Unusable(Exception):
    """The text as a whole cannot be used."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.message, self.line = message, line


@dataclass
class Reader:
    """Reads one document: its data, the ``lines`` of its keys and list elements, and the ``faults`` of single keys.

    Places start at ``root``. The values of the ``faulty`` places are left out of the data.
    """

    root: Place = ()
    lines: dict[Place, int] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    faulty: set[Place] = field(default_factory=set)
    _count: int = 0
    _open: set[int] = field(default_factory=set)

    def read(self, text: str) -> Any:
        """The data of the one document in ``text``.

        Raises:
            Unusable: it is not YAML, holds several documents, or is too large or too deep.
        """
        loader = None
        try:
            loader = _Loader(text)
            node = loader.get_node() if loader.check_node() else None
            if loader.check_node():
                raise Unusable("a second document begins here; valid: one document", loader.next_line())
        except yaml.reader.ReaderError as error:
            line = text.count("\n", 0, error.position) + 1
            raise Unusable(f"the character U+{int(error.character):04X} is not allowed", line) from None
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            parts = [part for part in (error.context, error.problem) if part]
            raise Unusable(f"not valid YAML: {', '.join(parts)}", mark.line + 1 if mark else None) from None
        except (yaml.YAMLError, ValueError, OverflowError) as error:  # the escape "\UFFFFFFFF", %YAML with 10^5 digits
            raise Unusable(f"not valid YAML: {error}", loader.line + 1 if loader else None) from None
        value = None if node is None else self._value(node, self.root)
        return None if value is _NOTHING else value

    def _value(self, node: yaml.Node, place: Place) -> Any:
        self._count += 1
        line = node.start_mark.line + 1
        if self._count > MAX_NODES:
            raise Unusable(f"more than {MAX_NODES} keys and values once aliases are expanded", line)
        if id(node) in self._open:
            raise Unusable(f"{dotted(place)}: an alias that contains itself", line)
        if len(place) > MAX_DEPTH:
            raise Unusable(f"nested deeper than {MAX_DEPTH} levels", line)
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, place)
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode) and node.tag == f"{_TAG}seq":
                return self._list(node, place)
            if isinstance(node, yaml.MappingNode) and node.tag == f"{_TAG}map":
                return self._mapping(node, place)
        finally:
            self._open.discard(id(node))
        return self._left_out(place, _bad_tag(node.tag), line)

    def _list(self, node: yaml.SequenceNode, place: Place) -> list[Any]:
        items = []
        for index, item in enumerate(node.value):
            self.lines[*place, index] = item.start_mark.line + 1
            items.append(self._value(item, (*place, index)))
        return [None if item is _NOTHING else item for item in items]

    def _mapping(self, node: yaml.MappingNode, place: Place) -> dict[str, Any]:
        data: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        first: dict[str, int] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if key_node.tag == f"{_TAG}merge":
                for source in self._merges(value_node, place):
                    merged = {**source, **merged}
                continue
            key = self._key(key_node, place)
            if key is None:
                continue
            if key in first:
                self._fault((*place, key), f"the key {brief(key)} is given twice, first at line {first[key]}", line)
                continue
            first[key] = line
            self.lines[*place, key] = line
            value = self._value(value_node, (*place, key))
            if value is not _NOTHING:
                data[key] = value
        return {**merged, **data}

    def _merges(self, node: yaml.Node, place: Place) -> Iterator[dict[str, Any]]:
        """The mappings that ``<<:`` names, the strongest first."""
        nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
        for each in nodes:
            known = dict(self.lines)
            value = self._value(each, place)
            self.lines.update(known)  # a key of the mapping itself keeps its line
            if isinstance(value, dict):
                yield value
            else:
                self._fault((*place, "<<"), "expected an alias of a mapping, such as *link", each.start_mark.line + 1)

    def _key(self, node: yaml.Node, place: Place) -> str | None:
        line = node.start_mark.line + 1
        if not isinstance(node, yaml.ScalarNode):
            self._fault(place, "a key must be text; this one is a list or a mapping", line)
        elif node.tag != f"{_TAG}str":
            self._fault(place, f"the key {shown(node.value)} is not text; write it in quotes", line)
        elif (bad := _forbidden(node.value)) is not None:
            self._fault(place, f"the key {brief(node.value)} contains the character {bad}", line)
        else:
            return str(node.value)
        return None

    def _scalar(self, node: yaml.ScalarNode, place: Place) -> Any:
        text, line = str(node.value), node.start_mark.line + 1
        tag = node.tag.removeprefix(_TAG)
        if tag == "merge":
            tag = "str"
        known = {name: pattern for name, pattern, _ in _RESOLVERS}
        if tag == "str":
            bad = _forbidden(text)
            return text if bad is None else self._left_out(place, f"the character {bad} is not allowed", line)
        if tag not in known:
            return self._left_out(place, _bad_tag(node.tag), line)
        if not re.fullmatch(known[tag], text) and not (tag == "float" and re.fullmatch(known["int"], text)):
            return self._left_out(place, f"{brief(text)} is not of the type {tag}", line)
        if tag == "null":
            return None
        if tag == "bool":
            return text.lower() == "true"
        if tag == "float":
            return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        return self._integer(text, place, line)

    def _integer(self, text: str, place: Place, line: int) -> Any:
        base = {"0o": 8, "0x": 16}.get(text[:2], 10)
        digits = text[2:] if base != 10 else text
        value = int(digits, base) if len(digits) <= 64 else MAX_INTEGER + 1
        if abs(value) > MAX_INTEGER:
            return self._left_out(place, f"the integer {shown(text)} is beyond 2^63; write large numbers as 1e19", line)
        return value

    def _fault(self, place: Place, message: str, line: int) -> None:
        self.faults.append(Fault(dotted(place), message, line))

    def _left_out(self, place: Place, message: str, line: int) -> Any:
        self._fault(place, message, line)
        self.faulty.add(place)
        return _NOTHING


_NOTHING: Any = object()


def _bad_tag(tag: str) -> str:
    name = shown(tag.replace(_TAG, "!!"))
    return f"the YAML tag {name} is not allowed; valid: text, numbers, true, false, null, lists, mappings"


def _forbidden(text: str) -> str | None:
    """The first control character or lone surrogate, as ``U+0007``."""
    for character in text:
        if character not in "\n\t" and unicodedata.category(character) in ("Cc", "Cs"):
            return f"U+{ord(character):04X}"
    return None


class _Loader(yaml.SafeLoader):
    """Composes nodes of bounded number and depth, and resolves scalars by YAML 1.2's core schema."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012
    depth = 0
    count = 0

    def next_line(self) -> int:
        return int(self.peek_event().start_mark.line) + 1  # type: ignore[no-untyped-call]

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self.depth += 1
        self.count += 1
        if self.depth > MAX_DEPTH:
            raise Unusable(f"nested deeper than {MAX_DEPTH} levels", self.next_line())
        if self.count > MAX_NODES:
            raise Unusable(f"more than {MAX_NODES} keys and values", self.next_line())
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node


class _Dumper(yaml.SafeDumper):
    """Quotes every text that YAML 1.1 or 1.2 would read as something else."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


for _owner in (_Loader, _Dumper):
    for _name, _pattern, _first in _RESOLVERS:
        _regex = re.compile(rf"(?:{_pattern})\Z")
        _owner.add_implicit_resolver(_TAG + _name, _regex, _first)


def write(data: Any) -> str:
    """Plain data as YAML that :class:`Reader` reads back as it was."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
