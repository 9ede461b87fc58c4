"""A run that is broken off and gone on with is the run that was not: event table, rounds, adapters, bit for bit."""

from __future__ import annotations

from pathlib import Path

import pytest
from resumed import assert_resumes

from elsa_sim.base.registry import Component, discover
from elsa_sim.codecs.base import Codec
from elsa_sim.learning.aggregation.base import Aggregation
from elsa_sim.learning.misbehaviour.base import Misbehaviour
from elsa_sim.links import LinkModel
from elsa_sim.run.checkpoint_files import found
from elsa_sim.transports import Transport

for package in ("learning.aggregation.rules", "learning.misbehaviour", "links", "transports"):
    discover(f"elsa_sim.{package}")
UNEVEN = "devices.overrides={client1: {slowdown: 2.7}, client2: {slowdown: 1.3}}"
SPLIT = "protocol={kind: fedbuff, clients: split, rounds: 5, local_steps: 2, lr: 5.0e-3, buffer: 1}"
CODECS = (
    "codec.activation=[{kind: ssop, rank: 4}, {kind: sketch, rows: 2, columns: 8}]",
    "codec.gradient=[{kind: sketch, rows: 2, columns: 8}]",
    "codec.adapters=[feedback, {kind: topk}]",
)
CASES = {
    "elsa with codecs, trust and feedback": (
        "protocol={kind: elsa, rounds: 3, local_steps: 1, edge_rounds: 2, recluster_every: 2}",
        *CODECS,
    ),
    "asynchronous": ("protocol={kind: fedasync, rounds: 5, local_steps: 2, lr: 5.0e-3}", UNEVEN),
    "split asynchronous and serial": (SPLIT, UNEVEN, *CODECS, "execution.executor=serial"),
    "split asynchronous with codecs": (SPLIT, UNEVEN, *CODECS),
    "split asynchronous": (SPLIT, UNEVEN),
}


@pytest.mark.parametrize("case", CASES)
def test_from_every_checkpoint(case: str, tmp_path: Path) -> None:
    assert len(assert_resumes(tmp_path, *CASES[case])) >= 3
    under_way = [each.state["arithmetic"] for each in found(tmp_path / "whole")]
    assert any(each["pending"] for each in under_way) == (case == "split asynchronous")
    assert any(each["again"] for each in under_way) == (case.startswith("split asynchronous "))


def members(family: type[Component], place: str, without: str = "") -> dict[str, str]:
    """A change for each member of a family; they are looked at in one run of fedavg each."""
    kinds = [kind for kind, member in family.members.items() if member.__module__.startswith("elsa_sim.")]
    return {f"{family.family} {kind}": place.replace("KIND", kind) for kind in kinds if kind != without}


FAMILIES = (
    members(Aggregation, "protocol.aggregation=KIND")
    | members(Misbehaviour, "unreliable={clients: {client1: KIND}, stale_uploads: 1}")
    | members(LinkModel, "network.model=KIND")
    | members(Transport, "network.transport=KIND")
)


@pytest.mark.parametrize("member", FAMILIES)
def test_with_every_member_of_other_families(member: str, tmp_path: Path) -> None:
    five = "topology.clients=5"
    assert_resumes(tmp_path, "protocol={kind: fedavg, rounds: 2, local_steps: 1}", five, FAMILIES[member], rounds=[1])


CHAINS = [
    "[sketch]",
    "[{kind: sketch, rows: 2, columns: 8, decoder: linear, refresh_every: 1}]",
    "[{kind: ssop, rank: 4, refresh_every: 2}, float16]",
    "[{kind: ssop, rank: full, refresh: round}, bfloat16]",
    "[{kind: ssop, rank: 6, subspace: public, key: server, refresh: message}, int8]",
    "[{kind: ssop, rank: 6, hides_from: wire}, {kind: quantize, dither: true}]",
    "[{kind: subspace, rank: 12, basis: semantic, gain: true, refresh_every: 1}, topk]",
    "[{kind: adaptive, bytes_per_token: 40}]",
    "[{kind: adaptive, error: 0.2, refresh_every: 1}]",
]


@pytest.mark.parametrize("chain", CHAINS)
def test_with_every_codec(chain: str, tmp_path: Path) -> None:
    protocol = "protocol={kind: fedasync, clients: split, rounds: 3, local_steps: 1}"
    assert_resumes(tmp_path, protocol, UNEVEN, f"codec.activation={chain}", rounds=[2])


def test_every_codec_is_here() -> None:
    discover("elsa_sim.codecs")
    kinds = {kind for kind, member in Codec.members.items() if member.__module__.startswith("elsa_sim.")}
    assert kinds == {kind for kind in kinds if any(kind in chain for chain in (*CHAINS, *CODECS))}
