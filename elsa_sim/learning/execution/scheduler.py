"""Pending chains of work batched: which pieces run next, and which of them as one computation.

A chain (a client's local training) has one next piece at a time. The next pieces of many chains that are calls of one
kernel run together. How many chains are under way at a time is bounded by the bytes that their forward passes keep; a
chain that has begun comes before one that has not, so a thousand clients need no more memory than a few dozen.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from heapq import heapify, heappop, heappush

from .work import Kernel, Node, origin_of

#: Bytes that the chains under way may keep for their backward passes, about.
BUDGET = 2**29


def play(nodes: Sequence[Node]) -> None:
    """Run ``nodes``, which wait for nothing but each other."""
    rank = _chains(nodes)
    missing = {id(node): len({id(other) for other in node.waits_for()}) for node in nodes}
    readers: dict[int, list[Node]] = {}
    for node in nodes:
        for other in {id(other): other for other in node.waits_for()}.values():
            readers.setdefault(id(other), []).append(node)
    light: list[tuple[int, Node]] = []
    heavy: list[tuple[int, Node]] = []

    def ready(node: Node) -> None:
        heappush(heavy if isinstance(node.function, Kernel) else light, (rank[id(node)], node))

    def done(node: Node) -> None:
        for reader in readers.pop(id(node), ()):
            missing[id(reader)] -= 1
            if not missing[id(reader)]:
                ready(reader)

    for node in nodes:
        if not missing[id(node)]:
            ready(node)
    while light or heavy:
        if light:
            _, node = heappop(light)
            node.run()
            done(node)
            continue
        group = _next(heavy)
        together(group)
        for node in group:
            done(node)


def _next(heavy: list[tuple[int, Node]]) -> list[Node]:
    """Take from the ready kernels the largest group of one key, among those of the first chains that fit the budget."""
    window: list[tuple[int, Node]] = []
    room = float(BUDGET)
    while heavy and (room > 0 or not window):
        entry = heappop(heavy)
        assert isinstance(entry[1].function, Kernel)
        room -= entry[1].function.footprint
        window.append(entry)
    groups: dict[Hashable, list[tuple[int, Node]]] = {}
    for entry in window:
        assert isinstance(entry[1].function, Kernel)
        groups.setdefault(entry[1].function.key, []).append(entry)
    chosen = max(groups.values(), key=len)
    for group in groups.values():
        if group is not chosen:
            heavy.extend(group)
    heapify(heavy)
    return [node for _, node in chosen]


def together(group: Sequence[Node]) -> None:
    """Run nodes whose functions are kernels of one key, as one computation."""
    if len(group) == 1:
        group[0].run()
        return
    calls = []
    for node in group:
        assert isinstance(node.function, Kernel)
        calls.append((node.function, node.arguments()))
    origin = origin_of(group)
    for node, values in zip(group, calls[0][0].together(calls), strict=True):
        node.fulfil(values, origin)


def _chains(nodes: Sequence[Node]) -> dict[int, int]:
    """Rank of each node in a walk that finishes one chain before it begins the next."""
    read = {id(other) for node in nodes for other in node.waits_for()}
    rank: dict[int, int] = {}
    for end in nodes:
        if id(end) in read:
            continue
        stack = [end]
        while stack:
            node = stack[-1]
            waiting = [other for other in node.waits_for() if id(other) not in rank]
            if waiting:
                stack.extend(reversed(waiting))
                continue
            stack.pop()
            rank.setdefault(id(node), len(rank))
    return rank
