"""Aggregation rules in every protocol: where they are asked, what they keep out, and where they cannot serve."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from in_process import InProcess
from protocol_laws import TIMING, adapters_of, coded, norm, timeline
from small_runs import faults, loaded, played
from torch import Tensor

from elsa_sim.base.registry import discover
from elsa_sim.learning.aggregation.base import Adapters, Aggregation
from elsa_sim.learning.aggregation.rules.median import Median
from elsa_sim.learning.execution.pools import POOLS
from elsa_sim.protocols.base import Protocol, TieredProtocol
from elsa_sim.run import checks

discover("elsa_sim.protocols")
KINDS = sorted(
    kind for kind, member in Protocol.members.items()
    if member.__module__.startswith("elsa_sim.") and member.unaggregated is None
)  # fmt: skip
TIERED = [kind for kind in KINDS if issubclass(Protocol.members[kind], TieredProtocol)]
#: How clients come to belong to edge servers in a protocol that can do without.
TIERS = {kind: ", tiers: edges, buffer: 3" if "tiers" in Protocol.members[kind].model_fields else "" for kind in KINDS}
#: Enough members for every rule at each edge server and at the cloud.
MANY = (
    "topology={kind: tree, clients: 9, edges: 3, access: {up: 10 Mbit/s, latency: 9 ms}, "
    "backhaul: {up: 10 Mbit/s, latency: 5 ms}}",
)
#: As many members as the small rules need, all with one edge server.
FIVE = ("topology={kind: tree, clients: 5, edges: 1, access: {up: 10 Mbit/s}, backhaul: {up: 10 Mbit/s}}",)


def protocol(kind: str, more: str = "", rounds: int = 2) -> str:
    buffered = ", buffer: 5" if "buffer" in Protocol.members[kind].model_fields and "buffer" not in more else ""
    return f"protocol={{kind: {kind}, rounds: {rounds}, local_steps: 2, lr: 5.0e-3{buffered}{more}}}"


def asked(*changes: str) -> list[tuple[str, int]]:
    """The rules that were asked in a run, each with the number of members that it saw."""
    found: list[tuple[str, int]] = []
    aggregate = Aggregation.aggregate

    def kept(self: Aggregation, contributions: Sequence[Adapters], weights: Sequence[float], base: Any = None) -> Any:
        found.append((self.kind, len(contributions)))
        return aggregate(self, contributions, weights, base)

    with patch.object(Aggregation, "aggregate", kept):
        played(*changes)
    return found


def test_all_protocols_are_here() -> None:
    assert {
        "fedavg",
        "fedadam",
        "splitfed_v1",
        "splitfed_v2",
        "sflllm",
        "hierfavg",
        "elsa",
        "fedbuff",
        "alignfed",
    } <= set(KINDS)
    assert set(TIERED) >= {"hierfavg", "elsa", "fedbuff", "alignfed"}


@pytest.mark.parametrize("kind", KINDS)
def test_every_server_asks_the_rule(kind: str) -> None:
    assert {rule for rule, _ in asked(protocol(kind, f"{TIERS[kind]}, aggregation: trimmed_mean"), *MANY)} == {
        "trimmed_mean"
    }


@pytest.mark.parametrize("kind", TIERED)
def test_edge_servers_may_have_a_rule_of_their_own(kind: str) -> None:
    found = asked(protocol(kind, f"{TIERS[kind]}, aggregation: trimmed_mean, edge_aggregation: median"), *MANY)
    assert {rule for rule, _ in found} == {"trimmed_mean", "median"}
    assert max(count for _, count in found) == 3  # fewer in a group of one version


@pytest.mark.parametrize("kind", ["fedavg", "splitfed_v1", "splitfed_v2", "sflllm"])
def test_all_members_are_seen_with_what_the_server_has_trained(kind: str) -> None:
    copies = 1 if kind == "splitfed_v2" else 0  # its one Part 2
    assert asked(protocol(kind, ", aggregation: median"), *FIVE) == [("median", 5 + copies)] * 2


def loss(*changes: str) -> float:
    return float(played(*changes, *FIVE).summary["loss"])


NOISE = "unreliable={clients: {client1: noise}, noise: replaced, noise_scale: 30.0}"


@cache
def trained(*changes: str) -> dict[str, Tensor]:
    """The adapters at the end."""
    return adapters_of(*changes, *FIVE)[1][-1]


def apart(one: Adapters, other: Adapters) -> float:
    return norm(one[name] - other[name] for name in one)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rule", ["median", "trimmed_mean", "outlier", "norm_clipping", "krum"])
def test_a_rule_keeps_out_who_sends_loud_noise(kind: str, rule: str) -> None:
    """With the rule, training ends near where it ends without an attacker; an adaptive server bounds its steps itself."""
    key = "edge_aggregation" if kind in ("elsa", "hierfavg") else "aggregation"
    honest, spoilt = trained(protocol(kind)), trained(protocol(kind), NOISE)
    saved = trained(protocol(kind, f", {key}: {rule}"), NOISE)
    assert apart(saved, honest) < (0.5 if kind in ("fedadam", "fedams") else 0.01) * apart(spoilt, honest)


def test_a_rule_serves_different_cuts() -> None:
    """A layer is some clients' and some servers': the rule sees whoever has it."""
    cuts = ("backbone.config.num_hidden_layers=5", "split={policy: score}",
            "devices.overrides={client1: {speed: 0.2 GFLOP/s}}")  # fmt: skip
    for kind in ("splitfed_v2", "sflllm"):
        plain = loaded(protocol(kind), *cuts, *FIVE)
        assert len({(cut.p, cut.q) for cut in (checks.check(plain).cuts or {}).values()}) > 1
        assert np.isfinite(loss(protocol(kind, ", aggregation: median"), *cuts))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rule", ["median", "norm_clipping"])
def test_timing_and_executors_are_those_of_the_rule(kind: str, rule: str) -> None:
    key = "edge_aggregation" if kind in ("elsa", "hierfavg") else "aggregation"
    options = protocol(kind, f", {key}: {rule}")
    real, timing = (played(options, coded(options.removeprefix("protocol=")), *FIVE, *more) for more in ((), (TIMING,)))
    assert timeline(real) == timeline(timing)
    batched = played(options, *FIVE)
    for change in ("execution.executor=serial", "execution.workers=2"):
        with patch.dict(POOLS, local=InProcess):
            other = played(options, change, *FIVE)
        assert timeline(other) == timeline(batched)
        np.testing.assert_allclose(other.rounds["loss"], batched.rounds["loss"], rtol=1e-3)


def test_what_a_rule_costs_is_charged_to_the_server() -> None:
    rows = {}
    for rule in ("mean", "median", "krum"):
        events = played(protocol("fedavg", f", aggregation: {rule}"), TIMING, *FIVE).events
        found = events[events["kind"] == "aggregation"]
        assert set(found["node"]) == {"cloud"}
        assert set(found["detail"]) == {"aggregate"}
        rows[rule] = found["flops"].iloc[0]
    elements = rows["mean"] / (2 * 5)
    assert rows["median"] == 5 * elements * (3 + 2)
    assert rows["krum"] == 1.5 * elements * 5 * 4 + 2 * elements


def test_the_merge_of_a_buffer_by_a_rule_is_charged() -> None:
    flops = {}
    for rule in ("mean", "median"):
        events = played(protocol("fedbuff", f", aggregation: {rule}", rounds=1), TIMING, *FIVE).events
        flops[rule] = events.loc[events["detail"] == "merge", "flops"].sum()
    elements = flops["mean"] / (3 * 5)
    assert flops["median"] == 3 * 5 * elements + 5 * elements * (3 + 2)


def test_alignment_looks_at_the_change_that_the_rule_makes() -> None:
    """With versions to align, a rule costs more in the alignment, too, and another thing is learned."""
    slow = "devices.overrides={client4: {speed: 0.1 GFLOP/s}}"
    options = [protocol("alignfed", f", aggregation: {rule}, calibration: 4").replace("buffer: 5", "buffer: 4")
               for rule in ("mean", "median")]  # fmt: skip
    flops = []
    for option in options:
        events = played(option, slow, TIMING, *FIVE).events
        flops.append(events.loc[events["detail"] == "align", "flops"].max())
    assert flops[1] > flops[0]
    assert len({loss(option, slow) for option in options}) == 2


# -- faults -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "path", "said"),
    [
        ("kind: centralized, aggregation: median", "protocol.aggregation", "centralized trains in one place"),
        ("kind: fedasync, aggregation: median", "protocol.aggregation", "merges each update by itself as it arrives"),
        ("kind: fedasync, tiers: edges, edge_aggregation: median", "protocol.edge_aggregation", "would have no effect"),
        ("kind: fedavg, edge_aggregation: median", "protocol.edge_aggregation", "unknown key 'edge_aggregation'"),
        ("kind: fedbuff, edge_aggregation: median", "protocol.edge_aggregation", "with tiers: edges only"),
        ("kind: fedavg, aggregation: krum", "protocol.aggregation",
         "cloud aggregates at most 3 at once (clients); krum needs at least 5; "
         "valid there: mean, median, norm_clipping, outlier, trimmed_mean"),
        ("kind: fedavg, aggregation: {kind: trimmed_mean, trim: 2}", "protocol.aggregation", "needs at least 5"),
        ("kind: fedavg, aggregation: median, wait: {first: 2}", "protocol.aggregation",
         "cloud aggregates at most 2 at once (clients)"),
        ("kind: hierfavg, aggregation: median", "protocol.aggregation", "edge1 aggregates at most 1 at once (clients); "
         "median needs at least 3; valid there: mean; edge servers may have a rule of their own, edge_aggregation"),
        ("kind: hierfavg, edge_aggregation: median", "protocol.edge_aggregation", "edge1 aggregates at most 1 at once (clients)"),
        ("kind: hierfavg, aggregation: median, edge_aggregation: mean", "protocol.aggregation",
         "cloud aggregates at most 2 at once (edge servers)"),
        ("kind: elsa, clustering: nearest, edge_aggregation: krum", "protocol.edge_aggregation", "aggregates at most 3 at once"),
        ("kind: elsa, clustering: {kind: nearest, capacity: 2}, edge_aggregation: median", "protocol.edge_aggregation",
         "aggregates at most 2 at once (clients)"),
        ("kind: fedbuff, aggregation: median", "protocol.aggregation", "cloud aggregates at most 2 at once (updates)"),
        ("kind: alignfed, tiers: edges, aggregation: median, edge_aggregation: mean, alignment: false",
         "protocol.aggregation", "cloud aggregates at most 1 at once (updates)"),
        ("kind: sflllm, federated: edge1, aggregation: krum", "protocol.aggregation", "edge1 aggregates at most 3 at once"),
        ("kind: fedavg, aggregation: medain", "protocol.aggregation.kind", "did you mean 'median'"),
        ("kind: fedavg, aggregation: {kind: trimmed_mean, trim: 0}", "protocol.aggregation.trim", "must be >= 1"),
    ],
)  # fmt: skip
def test_where_a_rule_cannot_serve(options: str, path: str, said: str) -> None:
    found = faults(f"protocol={{{options}}}", "task.public=64")
    assert len(found) == 1, found
    assert found[0].path == path
    assert said in found[0].message


@pytest.mark.parametrize(
    "options",
    [
        "kind: centralized, aggregation: mean",
        "kind: fedasync, aggregation: mean",
        "kind: fedavg, aggregation: median",
        "kind: hierfavg, edge_aggregation: mean",
        "kind: fedbuff, aggregation: median, buffer: 3",
        "kind: elsa, clustering: nearest, edge_aggregation: median",  # how many an edge server will have is not known
    ],
)
def test_where_it_can(options: str) -> None:
    assert faults(f"protocol={{{options}}}", "task.public=64") == []


def test_from_python() -> None:
    rule = Protocol.members["fedavg"](aggregation={"kind": "trimmed_mean", "trim": 2}).aggregation  # type: ignore[call-arg, attr-defined]
    assert rule.least == 5
    assert Protocol.members["fedavg"](aggregation=Median()).aggregation == Median()  # type: ignore[call-arg, attr-defined]
