"""GML files, those of the Topology Zoo included."""

from __future__ import annotations

import html
import re
from typing import Any

from .attributed import Edge, Vertex, network
from .raw import Asked, Read

MOST_DEPTH = 50
_TOKEN = re.compile(r'\s*+(?:#[^\n]*+|(?P<open>\[)|(?P<close>\])|"(?P<text>[^"]*+)"|(?P<word>[^\s\[\]"#]++))')
Block = list[tuple[str, Any]]


def read_gml(data: bytes, asked: Asked) -> Read:
    """``graph [ directed 0 node [ id 0 label "a" ] edge [ source 0 target 1 ... ] ]``; attributes as in GraphML.

    Several edges between two nodes need no ``multigraph 1``.
    """
    try:
        top = _parse(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        return Read(said=[f"not UTF-8 text: byte {data[error.start]:#04x} at offset {error.start}"])
    except ValueError as error:
        return Read(said=[f"not GML: {error}"])
    graphs = [value for key, value in top if key == "graph" and isinstance(value, list)]
    if len(graphs) != 1:
        return Read(said=[f"expected one graph [...], found {len(graphs)}"])
    said: list[str] = []
    direction = [value for key, value in graphs[0] if key == "directed"]
    if any(value not in ("0", "1") for value in direction) or len(direction) > 1:
        said.append(f"directed must be 0 or 1, got {str(direction)[:40]}")
    vertices, edges = [], []
    for key, value in graphs[0]:
        if key in ("node", "edge") and isinstance(value, list):
            found = _attributes(value, key, said)
            if key == "node":
                vertices.append(Vertex(found.pop("id", ""), found))
            else:
                edges.append(Edge(found.pop("source", ""), found.pop("target", ""), found, direction == ["1"]))
    return network(vertices, edges, asked, said)


def _attributes(block: Block, kind: str, said: list[str]) -> dict[str, str]:
    """The values with a text; where a node is drawn (``graphics``) has no unit, and does not count."""
    found: dict[str, str] = {}
    for key, value in block:
        if key in found:
            said.append(f"a {kind} states {key[:40]} twice")
        if isinstance(value, str) and value.strip():
            found[key] = value.strip()
        elif isinstance(value, list):
            found[key] = "[...]"
    return found


def _parse(text: str) -> Block:
    """Nested lists of keys and values.

    Raises:
        ValueError: brackets or quotes that do not match, or a key without a value.
    """
    stack: list[Block] = [[]]
    key: str | None = None
    at, end = 0, len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None:
            raise ValueError(f"a quotation mark at character {at} has no end")
        at = match.end()
        token = match.lastgroup
        if token is None:  # a comment
            continue
        if token == "word" and key is None:
            key = match["word"]
        elif token in ("word", "text") and key is not None:
            stack[-1].append((key, match["word"] or html.unescape(match["text"] or "")))
            key = None
        elif token == "open" and key is not None and len(stack) <= MOST_DEPTH:
            block: Block = []
            stack[-1].append((key, block))
            stack.append(block)
            key = None
        elif token == "close" and key is None and len(stack) > 1:
            stack.pop()
        else:
            raise ValueError(f"unexpected {match[0].strip()[:40]!r} at character {match.start()}")
    if key is not None or len(stack) > 1:
        raise ValueError(
            "it ends within a list" if len(stack) > 1 else f"{key[:40]!r} has no value" if key else "it ends early"
        )
    return stack[0]
