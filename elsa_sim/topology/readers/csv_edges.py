"""CSV edge lists.

Tested in tests/topology/test_files.py.
"""

from __future__ import annotations

import csv
from typing import Any

from .raw import LINK_KEYS, PROFILES, Asked, RawLink, Read, link_of, node_of, number_of


def read_csv(data: bytes, asked: Asked) -> Read:
    """An edge list: a header with ``u,v`` and any of the keys of a link (no profile), ``role_u`` and ``role_v``."""
    said: list[str] = []
    try:
        rows = list(csv.reader(data.decode("utf-8-sig").splitlines(), strict=True))
    except UnicodeDecodeError as error:
        return Read(said=[f"not UTF-8 text: byte {data[error.start]:#04x} at offset {error.start}"])
    except csv.Error as error:
        return Read(said=[f"not CSV: {error}"])
    if not rows:
        return Read(said=["the file is empty; expected a header such as u,v,up,down,latency"])
    header = [cell.strip() for cell in rows[0]]
    known = (LINK_KEYS - PROFILES) | {"role_u", "role_v"}
    strange = [key for key in header if key not in known]
    ends = {"u", "v"} <= set(header) or {"source", "target"} <= set(header)
    if strange or not ends or len(set(header)) < len(header):
        valid = ", ".join(sorted(known))
        return Read(said=[f"line 1: expected a header with u, v and any of {valid}; got {', '.join(header)[:200]}"])
    roles: dict[str, str] = {}
    links: list[RawLink] = []
    for number, row in enumerate(rows[1:], 2):
        if not row:
            continue
        if len(row) != len(header):
            said.append(f"line {number}: expected {len(header)} columns, got {len(row)}")
            continue
        cells: dict[str, Any] = {k: v.strip() for k, v in zip(header, row, strict=True) if v.strip()}
        given = {end: cells.pop(f"role_{end}", None) for end in "uv"}
        if "loss" in cells:
            cells["loss"] = number_of(cells["loss"])
        link = link_of(cells, f"line {number}", said)
        for end, name in (("u", link.u), ("v", link.v)) if link else ():
            role = given[end]
            if role and roles.get(name) not in (None, "router", role):
                said.append(f"line {number}: {name!r} has the roles {roles[name]!r} and {role!r}")
            roles[name] = role or roles.get(name, "router")
        if link:
            links.append(link)
    nodes = [node_of({"name": name, "role": role}, f"node {name!r}", said) for name, role in roles.items()]
    return Read([n for n in nodes if n], links, said)
