"""Odd values, and what damages data and text: the fuzzer's bag of tricks. See fuzz.py."""

from __future__ import annotations

import copy
import random
import re
from collections.abc import Sequence
from typing import Any

NUMBERS: Sequence[Any] = (
    0, 1, 2, 3, 7, 100, 5000, -1, -3, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**64), 10**19, 10**30, 10**400, 0.0,
    -0.0, 0.5, -1.5,
    1e-300, 5e-324, 1e-30, 1e-12, 1e-9, 1e-7, 1e-6, 1e-4, 1e-3, 0.01, 0.999999, 1.0000001, 1e3, 1e6, 1e9, 1e12, 1e15,
    1e18, 1e30,
    1e100, 1e300, 1e308, float("inf"), float("-inf"), float("nan"),
)  # fmt: skip
UNITS = ("s", "ms", "us", "h", "d", "bit/s", "Mbit/s", "Tbit/s", "B", "KiB", "TiB", "FLOP/s", "GFLOP/s", "PFLOP/s",
         "W", "dBm", "dBW",
         "dBm/Hz", "Hz", "GHz", "m", "km", "dB", "dBi", "%", "", "bits", "\u00b5s")  # fmt: skip
TEXTS: Sequence[Any] = (
    "", " ", "\0", "\x7f", "\x1b[31m", "\u2028", "\ud800", "a\udfffb", "\U0001f600", "\u202e", "\ufeff", "e\u0301",
    "a" * 3000, "null",
    "on", "no", "~", ".nan", ".inf", "1e400", "1_000", "0x10", "12:30:45", "2001-12-14", "%s", "{0}", "{edge}", "$x$",
    "$HOME", "~root",
    "../../etc/passwd", "/dev/zero", "/dev/null", "/proc/self/environ", "/", ".", "con", "kind", "__class__",
    "client0", "client1",
    "edge0", "cloud", "client99", "none", "all", "elsa", "fedavg", "iid", "\u0663", "*", "&a", "!!x", "[", "a>b",
    "a:b", "a,b",
)  # fmt: skip
ODD: Sequence[Any] = (
    None, True, False, [], {}, [[]], [{}], {"": 1}, {"kind": {}}, {"kind": None}, {"kind": "elsa"}, {"kind": []},
    [None] * 50, [0, 1],
    {"a": {"a": {"a": {"a": [[1]]}}}}, {"a.b": 1}, [1e308, -1e308], [[0, 0], [0, 0]],
)  # fmt: skip
BYTES = (b"", b"\0", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\r", b"\n", b"\n\n", b"\t", b'"', b"'", b"<", b">",
         b"&#0;", b"{", b"}",
         b"[", b"]", b",", b";", b":", b"-", b"nan", b"inf", b"1e400", b"-1", b"1e308", b"1e-300", b"9" * 5000,
         b"[" * 3000, b"{a: " * 500,
         b"&a [*a]", b"*x", b"<<", b"!!python/object/apply:os.system ['true']", b"!!binary aGk=", b"? ", b"| ", b"%",
         b"---\n", b"...",
         b"\xe2\x80\xa8", b"&x;", b"<!DOCTYPE a [<!ENTITY x 'y'>]>", b"null", b"true", b"0")  # fmt: skip


#: Levels of nested data that are changed at.
DEEPEST = 100


def places(data: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in nested data but the top, and what is nested so deep that Python would not follow."""
    if len(place) > DEEPEST:
        return []
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [found for key, value in items for found in ((*place, key), *places(value, (*place, key)))]


def at(data: Any, place: Sequence[Any]) -> Any:
    """The value at a place."""
    for key in place:
        data = data[key]
    return data


def value(draw: random.Random) -> Any:
    """Anything."""
    kind = draw.random()
    if kind < 0.45:
        return draw.choice(NUMBERS)
    if kind < 0.6:
        return (
            f"{draw.choice(NUMBERS[:-3] if draw.random() < 0.9 else NUMBERS)} {draw.choice(UNITS)}"
            if draw.random() < 0.97
            else 10**5
        )
    return copy.deepcopy(draw.choice(TEXTS if kind < 0.8 else ODD))


def mutate(data: Any, draw: random.Random) -> None:
    """One change somewhere in ``data``."""
    known = places(data)
    if not known:
        return
    place = draw.choice(known)
    parent, key = at(data, place[:-1]), place[-1]
    change = draw.choice(("drop", "rename", "value", "value", "value", "swap", "wrap", "deep", "add", "double"))
    if change == "drop":
        del parent[key]
    elif change == "rename" and isinstance(parent, dict):
        name = str(key)
        parent[
            draw.choice((name[1:], name + "s", name.upper(), "\u00e9", "", "\ud800", 1, None, draw.choice(known)[-1]))
        ] = parent.pop(key)
    elif change == "swap":
        parent[key] = copy.deepcopy(at(data, draw.choice(known)))
    elif change == "wrap":
        parent[key] = draw.choice(([parent[key]], {"kind": parent[key]}, [parent[key]] * 3))
    elif change == "deep":
        for _ in range(draw.choice((2, 60, 300))):
            parent[key] = [parent[key]] if draw.random() < 0.5 else {"a": parent[key]}
    elif change == "add" and isinstance(parent[key], dict):
        parent[key][draw.choice(("kind", "up", "speed", "a", "", "\ud800"))] = value(draw)
    elif change == "double" and isinstance(parent, list):
        parent.append(copy.deepcopy(parent[key]))
    else:
        parent[key] = value(draw)


def damage(content: bytes, draw: random.Random) -> bytes:
    """Some bytes replaced, lines moved or doubled, or cut off."""
    damaged = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 4))):
        position = draw.randrange(len(damaged) + 1)
        damaged[position : position + draw.choice((0, 0, 1, 3, 40))] = draw.choice(BYTES)
    if draw.random() < 0.2:
        lines = bytes(damaged).split(b"\n")
        draw.shuffle(lines)
        return b"\n".join(lines)
    return bytes(damaged[: draw.randrange(len(damaged) + 1)]) if draw.random() < 0.1 else bytes(damaged)


def other_number(text: bytes, draw: random.Random) -> bytes:
    """Another number in place of one."""
    found = list(re.finditer(rb"\d+(\.\d+)?", text))
    if not found:
        return text
    spot = draw.choice(found)
    return (
        text[: spot.start()]
        + str(draw.choice(NUMBERS[:-30] if draw.random() < 0.5 else NUMBERS[17:])).encode()
        + text[spot.end() :]
    )
