"""Several edges between two nodes, in files that may have them, as one link.

Tested in tests/topology/readers/test_graphml.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .options import LinkOptions
from .readers import RawLink

Sum = tuple[list[RawLink], list[str]]


def merged(edges: Sequence[RawLink], core: LinkOptions, assume_core: bool) -> Sum:
    """The links that these edges amount to, and what is wrong with them.

    Parallel edges add up, per direction; the latency is the lowest stated. Of a directed edge the bandwidth is that from
    ``u`` to ``v``, and its opposite edge gives the other direction; one that states ``up`` and ``down`` needs none.
    An edge whose bandwidth is unclear, or that says nothing of it beside others that do, has that of ``core`` if
    ``assume_core``.
    """
    pairs: dict[frozenset[str], list[RawLink]] = {}
    for edge in edges:
        pairs.setdefault(frozenset((edge.u, edge.v)), []).append(edge)
    links, said = [], []
    for group in pairs.values():
        wrong, decided = _decided(group, core, assume_core)
        link, more = _one(group if wrong else decided)
        links.append(link)
        said += wrong + more
    return links, said


def _name(edge: RawLink) -> str:
    return f"edge {edge.u!r}-{edge.v!r}"


def _decided(group: list[RawLink], core: LinkOptions, assume_core: bool) -> tuple[list[str], list[RawLink]]:
    """The edges with a bandwidth where it was unclear, and what remains unclear."""
    some = any(edge.up is not None or edge.down is not None or edge.unclear for edge in group)
    said, decided = [], []
    for edge in group:
        unclear = edge.unclear
        if unclear is None and edge.up is None and some and len(group) > 1:
            unclear = "it states no bandwidth, while parallel or opposite edges do"
        if unclear is None or (assume_core and len(group) == 1):
            decided.append(edge)
        elif assume_core:
            decided.append(replace(edge, up=core.up, down=core.up if core.down is None else core.down))
        else:
            said.append(f"{_name(edge)}: {unclear}; state its bandwidth in bit/s (LinkSpeedRaw, or bandwidth; in SNDlib "
                        "preInstalledModule), or say 'unclear_speed: core' in the scenario: such edges then have that of "
                        "core")  # fmt: skip
    return said, decided


def _one(group: list[RawLink]) -> tuple[RawLink, list[str]]:
    first = group[0]
    said: list[str] = []
    ways: dict[bool, list[RawLink]] = {True: [], False: []}
    """The edges that make up the direction from the first end, and from the other."""
    for edge in group:
        along = edge.u == first.u
        for way in (True, False):
            if not edge.directed or way == along:
                ways[way].append(edge)
    for way in (True, False):
        if not ways[way]:
            u, v = (first.u, first.v) if way else (first.v, first.u)
            said.append(f"{_name(first)}: the graph is directed, and has no edge from {u!r} to {v!r}: a link has two directions; "
                        "add that edge, state up and down, or make the graph undirected")  # fmt: skip
    if said:
        return first, said
    for what in ("duplex", "cell", "jitter", "loss", "cell_bandwidth"):
        if len({getattr(edge, what) for edge in group}) > 1:
            said.append(
                f"{_name(first)}: its parallel or opposite edges differ in {what}, and a link has one; make them equal"
            )
    latencies = [_lowest(ways[way]) for way in (True, False)]
    if latencies[0] != latencies[1]:
        there, back = map(_said, latencies)
        said.append(
            f"{_name(first)}: its directions have the latencies {there} and {back}, and a link has one; make them equal"
        )
    up = _total([edge.up if edge.u == first.u else _backward(edge) for edge in ways[True]])
    down = _total([_backward(edge) if edge.u == first.u else edge.up for edge in ways[False]])
    return replace(first, up=up, down=down, latency=latencies[0]), said


def _backward(edge: RawLink) -> float | None:
    return edge.up if edge.down is None else edge.down


def _total(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _lowest(edges: list[RawLink]) -> float | None:
    return min((edge.latency for edge in edges if edge.latency is not None), default=None)


def _said(latency: float | None) -> str:
    return "none" if latency is None else f"{latency:g} s"
