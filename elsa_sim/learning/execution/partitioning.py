"""Which pending work is independent of which: subgraphs that may be computed in different processes.

A subgraph is a connected piece of pending work that no other subgraph of its wave needs, such as a client's local training up
to the aggregation that waits for several clients. Waves follow one another; what is light and joins subgraphs (an
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
    """Nodes to compute at home first, in order, and then subgraphs that are independent of each other."""

    prelude: list[Node] = field(default_factory=list)
    subgraphs: list[list[Node]] = field(default_factory=list)


def weight(nodes: Sequence[Node]) -> float:
    """Size of the kernels among ``nodes``, by what their passes keep."""
    return sum(node.function.footprint for node in nodes if isinstance(node.function, Kernel))


def waves(nodes: Sequence[Node]) -> list[Wave]:
    """``nodes``, every one after those that it waits for, as waves of subgraphs."""
    result: list[Wave] = []
    at: dict[int, tuple[int, int | None]] = {}  # node -> wave, subgraph of it (None: prelude)
    for members in _inseparable(nodes):
        inside = {id(node) for node in members}
        before = {at[id(other)] for node in members for other in node.waits_for() if id(other) not in inside}
        heavy = any(isinstance(node.function, Kernel) for node in members)
        wave = max((place[0] for place in before), default=0)
        subgraphs = {subgraph for at_wave, subgraph in before if at_wave == wave and subgraph is not None}
        if len(subgraphs) > 1:
            wave, subgraphs = wave + 1, set()
        while len(result) <= wave:
            result.append(Wave())
        subgraph = next(iter(subgraphs), None)
        if subgraph is None and heavy:
            subgraph = len(result[wave].subgraphs)
            result[wave].subgraphs.append([])
        (result[wave].prelude if subgraph is None else result[wave].subgraphs[subgraph]).extend(members)
        at.update((id(node), (wave, subgraph)) for node in members)
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
