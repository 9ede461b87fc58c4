"""Which pending work is independent of which: strands that may be computed in different processes.

A strand is a connected piece of pending work that no other strand of its wave needs, such as a client's local training up
to the aggregation that waits for several clients. Waves follow one another; what is light and joins strands (an
aggregation) is computed between them, at home. What a forward pass keeps for its backward pass cannot leave a process,
so the two, and whatever lies between, are never parted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import networkx as nx

from .work import LOCAL, Kernel, Node, Ref


@dataclass
class Wave:
    """Nodes to compute at home first, in order, and then strands that are independent of each other."""

    prelude: list[Node] = field(default_factory=list)
    strands: list[list[Node]] = field(default_factory=list)


def weight(nodes: Sequence[Node]) -> float:
    """Size of the kernels among ``nodes``, by what their passes keep."""
    return sum(node.function.footprint for node in nodes if isinstance(node.function, Kernel))


def waves(nodes: Sequence[Node]) -> list[Wave]:
    """``nodes``, every one after those that it waits for, as waves of strands."""
    result: list[Wave] = []
    at: dict[int, tuple[int, int | None]] = {}  # node -> wave, strand of it (None: prelude)
    for members in _inseparable(nodes):
        inside = {id(node) for node in members}
        before = {at[id(other)] for node in members for other in node.waits_for() if id(other) not in inside}
        heavy = any(isinstance(node.function, Kernel) for node in members)
        wave = max((place[0] for place in before), default=0)
        strands = {strand for at_wave, strand in before if at_wave == wave and strand is not None}
        if len(strands) > 1:
            wave, strands = wave + 1, set()
        while len(result) <= wave:
            result.append(Wave())
        strand = next(iter(strands), None)
        if strand is None and heavy:
            strand = len(result[wave].strands)
            result[wave].strands.append([])
        (result[wave].prelude if strand is None else result[wave].strands[strand]).extend(members)
        at.update((id(node), (wave, strand)) for node in members)
    return result


def _inseparable(nodes: Sequence[Node]) -> list[list[Node]]:
    """Groups of nodes that one process must compute, every group after those that it waits for."""
    place = {id(node): index for index, node in enumerate(nodes)}
    graph: nx.DiGraph[int] = nx.DiGraph()
    graph.add_nodes_from(range(len(nodes)))
    for index, node in enumerate(nodes):
        for item in node.inputs:
            if isinstance(item, Ref) and item.node is not None:
                source = place[id(item.node)]
                graph.add_edge(source, index)
                if item.spec is LOCAL:
                    graph.add_edge(index, source)  # both ways: in one strongly connected component, with all between
    condensed = nx.condensation(graph)
    first = {group: min(condensed.nodes[group]["members"]) for group in condensed}
    order = nx.lexicographical_topological_sort(condensed, key=first.__getitem__)
    return [[nodes[index] for index in sorted(condensed.nodes[group]["members"])] for group in order]
