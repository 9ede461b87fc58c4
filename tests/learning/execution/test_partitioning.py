"""Subgraphs of pending work: what is parted, and what never is."""

from __future__ import annotations

from graphs import NUMBER, Keeper, Saving, heavy, light

from elsa_sim.learning.execution.partitioning import waves
from elsa_sim.learning.execution.work import LOCAL, Ref, Work


def sizes(executor: Keeper) -> list[tuple[int, list[int]]]:
    """Per wave: how many nodes at home, and in each subgraph."""
    return [(len(wave.prelude), [len(subgraph) for subgraph in wave.subgraphs]) for wave in waves(executor.nodes)]


def test_clients_are_subgraphs_until_they_are_aggregated() -> None:
    executor = Keeper()
    kept = []
    for _ in range(2):
        first = light(executor, 1)
        ends = [light(executor, heavy(executor, heavy(executor, first, client))) for client in range(3)]
        kept.append(light(executor, *ends))
    assert sizes(executor) == [(2, [3] * 6), (2, [])]
    again = [heavy(executor, kept[0]), heavy(executor, kept[0]), heavy(executor, kept[1])]
    assert sizes(executor) == [(2, [3] * 6), (2, [1, 1, 1])]
    assert [ref.value for ref in again] == [6, 6, 6]


def test_saved_activations_and_all_between_stay_with_their_pass() -> None:
    """Two clients that share a server's part are one subgraph: each needs the other's between its own two passes."""
    executor = Keeper()
    kept = [executor.finish(Work("saving", Saving(), (client,), (NUMBER, LOCAL))) for client in range(2)]
    server = Ref.of(0, NUMBER)
    answers = []
    for states, _ in kept:
        server = heavy(executor, server, states)
        answers.append(server)
    ends = [heavy(executor, saved, server, answer) for (_, saved), answer in zip(kept, answers, strict=True)]
    assert sizes(executor) == [(0, [1, 5])] or sizes(executor) == [(0, [6])]
    alone = executor.finish(Work("saving", Saving(), (5,), (NUMBER, LOCAL)))
    kept = heavy(executor, alone[1])
    for wave in waves(executor.nodes):
        for subgraph in wave.subgraphs:
            inside = {id(node) for node in subgraph}
            for node in subgraph:
                assert all(id(i.node) in inside for i in node.inputs if isinstance(i, Ref) and i.spec is LOCAL)
    assert len(ends) + bool(kept) == 3


def test_what_reads_the_prelude_and_a_subgraph_of_its_wave_joins_the_subgraph() -> None:
    executor = Keeper()
    told = light(executor, 1)
    ends = [heavy(executor, heavy(executor, client), told) for client in range(2)]
    assert sizes(executor) == [(1, [2, 2])]
    again = [heavy(executor, end, told) for end in ends]
    assert sizes(executor) == [(1, [3, 3])]
    assert [ref.value for ref in again] == [2, 3]


def test_subgraphs_and_their_nodes_are_in_the_order_in_which_work_came() -> None:
    executor = Keeper()
    refs = [heavy(executor, client) for client in range(12)]
    refs += [heavy(executor, ref) for ref in reversed(refs)]
    (wave,) = waves(executor.nodes)
    place = {id(node): index for index, node in enumerate(executor.nodes)}
    found = [[place[id(node)] for node in subgraph] for subgraph in wave.subgraphs]
    assert found == [[client, 23 - client] for client in range(12)]
    assert refs[-1].value == 0
