"""ELSA's judging of changes in whole runs: what it costs, whom it leaves out, what goes with a client."""

from __future__ import annotations

from functools import cache

import pytest
from protocol_laws import TIMING, timeline
from small_runs import played, transfers, work

from elsa_sim.results.metrics import Results, trust_scores

NETWORK = ("topology={kind: tree, clients: 8, edges: 2, access: {up: 10 Mbit/s, latency: 10 ms}, backhaul: {up: 200 Mbit/s}}",
           "task={kind: synthetic, train_size: 480, test_size: 90, batch_size: 8, purity: 0.9, topic_words: 8, "
           "shared_words: 30}")  # fmt: skip
ROUNDS, EDGE_ROUNDS = 3, 2


@cache
def once(trust: str, unreliable: str = "{share: 0.0}", *more: str) -> Results:
    protocol = (f"protocol={{kind: elsa, rounds: {ROUNDS}, edge_rounds: {EDGE_ROUNDS}, local_steps: 4, lr: 2.0e-2, "
                f"trust: {trust}}}")  # fmt: skip
    return played(protocol, f"unreliable={unreliable}", *NETWORK, *more)


UPDATES = "{judges: [updates]}"


def test_judging_changes_sends_nothing_and_takes_time_of_edge_servers() -> None:
    """A look at lengths for each edge aggregation, one at directions for each round but the first, 5 and 9 a number."""
    judged, plain = (once(trust, "{share: 0.0}", TIMING) for trust in (UPDATES, "null"))
    assert len(transfers(judged.events, "probe")) == 0
    assert judged.summary["bytes"] == plain.summary["bytes"]
    assert judged.summary["sim_time_s"] > plain.summary["sim_time_s"]
    rows = judged.events[judged.events["kind"] == "aggregation"]
    lengths, directions = (rows[rows["detail"] == detail] for detail in ("judge lengths", "judge directions"))
    assert len(lengths) == 2 * ROUNDS * EDGE_ROUNDS
    assert len(directions) == 2 * (ROUNDS - 1)
    numbers = set(lengths["flops"] / 5 / 4)
    assert len(numbers) == 1
    sent = set(directions["flops"] / 9 / 4)
    assert len(sent) == 1
    assert 0 < sent.pop() < numbers.pop()  # Part 2 has numbers, too
    assert set(lengths["node"]) == set(directions["node"]) == {"edge0", "edge1"}
    assert len(work(judged.events)) > 0


def test_timing_is_that_of_the_real_run_and_has_no_scores() -> None:
    real, timing = once(UPDATES), once(UPDATES, "{share: 0.0}", TIMING)
    assert timeline(real) == timeline(timing)
    assert len(trust_scores(timing.events)) == 0
    assert len(trust_scores(real.events)) == 8 * (ROUNDS * EDGE_ROUNDS + ROUNDS - 1)


def test_honest_clients_keep_their_trust() -> None:
    for partition in ("iid", "{kind: dirichlet, alpha: 0.5, min_samples: 8}"):
        scores = trust_scores(once(UPDATES, "{share: 0.0}", f"partition={partition}").events)
        assert (scores["score"] >= 0.6).mean() > 0.95


@pytest.mark.parametrize(
    "attack", ["{kind: noise, noise_scale: 3}", "{kind: sign_flip, factor: 3}", "{kind: sign_flip, factor: 30}"]
)
def test_loud_liars_are_caught_before_anything_is_aggregated(attack: str) -> None:
    """Two of an edge server's four: in quarantine from the first aggregation on, and the model is that of the others."""
    liars = f"{{clients: {{client0: {attack}, client2: {attack}}}}}"
    caught = once(UPDATES, liars)
    assert caught.summary["trust"]["auc"]["updates"]["1"] == 1.0
    first = trust_scores(caught.events).drop_duplicates("client").set_index("client")["score"]
    assert first[["client0", "client2"]].max() < 0.6 <= first.drop(["client0", "client2"]).min()
    assert caught.summary["loss"] < once("null", liars).summary["loss"]


def test_reversed_changes_are_caught_when_the_next_round_begins() -> None:
    found = once(UPDATES, "{clients: {client0: sign_flip, client5: sign_flip}}").summary["trust"]["auc"]["updates"]
    assert found["2"] >= 0.9
    assert found["3"] >= 0.9


def test_what_is_known_goes_with_a_client_to_another_edge_server() -> None:
    """Clients change places between the first round and the second; scores go on from what they were."""
    from unittest.mock import patch

    from elsa_sim.world.world import World

    homes, calls = World.homes, []

    def swapped(self: World, *, failover: bool) -> dict[str, tuple[object, ...]]:
        calls.append(1)
        found = homes(self, failover=failover)
        (a, one), (b, other) = found.items()
        return {a: one, b: other} if len(calls) < 2 else {a: other, b: one}

    from elsa_sim.learning.clustering.updates import Record

    seen: list[tuple[int, bool]] = []
    louder = Record.louder

    def kept(self: Record, loudness: float) -> Record:
        seen.append((len(calls), self.loudness is None))
        return louder(self, loudness)

    with patch.object(World, "homes", swapped), patch.object(Record, "louder", kept):
        played("protocol={kind: elsa, rounds: 2, edge_rounds: 1, local_steps: 1, trust: {judges: [updates]}}", *NETWORK)
    assert len(seen) == 16
    assert [new for _, new in seen] == [True] * 8 + [False] * 8


def test_the_cloud_counts_no_data_of_whom_edge_servers_have_in_quarantine() -> None:
    from unittest.mock import patch

    from elsa_sim.learning.clustering.weights import ByData

    found: list[list[float]] = []
    weigh = ByData.weights

    def kept(self: ByData, *known: object) -> list[float]:
        found.append(weigh(self, *known))  # type: ignore[arg-type]
        return found[-1]

    with patch.object(ByData, "weights", kept):
        played("protocol={kind: elsa, rounds: 1, edge_rounds: 1, local_steps: 2, trust: {judges: [updates]}}",
               "unreliable={clients: {client0: {kind: sign_flip, factor: 30}}}", *NETWORK)  # fmt: skip
    assert found == [[180.0, 240.0]]
