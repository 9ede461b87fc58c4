"""JSON node-link files.

Tested in tests/topology/test_files.py.
"""

from __future__ import annotations

import json
from typing import Any

from .raw import Asked, Read, link_of, node_of


def read_json(data: bytes, asked: Asked) -> Read:
    """``{"nodes": [{"name", "role", ...}], "links": [{"u", "v", "up", "down", "latency", ...}]}``.

    networkx's ``node_link_data`` keys are understood too: ``id``, ``source``, ``target``, ``edges``. Bare numbers are in
    bit/s, s and m.
    """
    try:
        found = json.loads(data.decode("utf-8-sig"), object_pairs_hook=_once)
    except UnicodeDecodeError as error:
        return Read(said=[f"not UTF-8 text: byte {data[error.start]:#04x} at offset {error.start}"])
    except (ValueError, RecursionError) as error:
        return Read(said=[f"not JSON: {error}"])
    if not isinstance(found, dict):
        return Read(said=[f"expected an object with 'nodes' and 'links', got {type(found).__name__}"])
    said: list[str] = []
    if found.get("directed") is True:
        said.append("'directed' must not be true; a link has up and down bandwidth instead")
    entries = found.get("links", found.get("edges"))
    nodes = [node_of(n, f"nodes[{i}]", said) for i, n in enumerate(_list(found.get("nodes"), "nodes", said))]
    links = [link_of(n, f"links[{i}]", said) for i, n in enumerate(_list(entries, "links", said))]
    return Read([n for n in nodes if n], [n for n in links if n], said)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for i, (key, _) in enumerate(pairs) if key in dict(pairs[:i]))
        raise ValueError(f"an object has the key {twice[:60]!r} twice")
    return found


def _list(value: Any, key: str, said: list[str]) -> list[Any]:
    if isinstance(value, list):
        return value
    said.append(f"{key}: expected a list, got {'nothing' if value is None else type(value).__name__}")
    return []
