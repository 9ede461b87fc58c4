"""The privacy section: measured on what crosses, at the end of a run, without a trace; and what a server can reach."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pandas as pd
import pytest
import torch
from exchange import leaves
from small_runs import HIDDEN, known, loaded, played, transfers, world_of

from elsa_sim.base.errors import ScenarioError
from elsa_sim.codecs.ssop import SSOP, Secret
from elsa_sim.learning.execution.work import Ref
from elsa_sim.privacy import audit
from elsa_sim.privacy.attacks.complement import without
from elsa_sim.privacy.base import Knowledge, PrivacyAttack
from elsa_sim.privacy.options import USUAL
from elsa_sim.results import metrics
from elsa_sim.results.metrics import Results
from elsa_sim.run import simulation
from elsa_sim.run.checks import check

ROTATED = "codec={activation: [{kind: ssop, rank: 6}, {kind: subspace, rank: 20, refresh_every: 1}, {kind: int8}]}"
PUBLIC = "task.public=30"
ATTACKS = [attack.kind for attack in USUAL]
SECTION = (
    "privacy={tokens: 300, known_texts: 6, inversion: {steps: 20, width: 16}, "
    "under: [[{kind: ssop, rank: 6}], [{kind: sketch, rows: 1, columns: 4}]]}"
)


@cache
def attacked() -> Results:
    return played(ROTATED, PUBLIC, SECTION)


def test_a_row_per_chain_with_every_attack() -> None:
    table = attacked().privacy
    assert table is not None
    assert list(table["chain"]) == ["none", "own", "own", "ssop(rank=6)", "ssop(rank=6)", "sketch(rows=1, columns=4)"]
    assert list(table["attacker"]) == ["edge", "edge", "colluder", "edge", "colluder", "edge"]
    assert table["codecs"][1] == "ssop(rank=6) + subspace(rank=20, refresh_every=1) + int8"
    for attack in (*ATTACKS, "rouge_l"):
        assert table[attack].between(0, 1).all()
    assert (table["recovered"] == table[list(ATTACKS)].max(axis=1)).all()
    assert table["of_clean"][0] == 1
    assert (table["unaided"] == table[[kind for kind in ATTACKS if kind != "procrustes"]].max(axis=1)).all()
    assert table["bytes_per_token"].tolist() == [4 * HIDDEN, 20 + 4, 20 + 4, 4 * HIDDEN, 4 * HIDDEN, 16]
    clean = table.iloc[0]
    assert clean["cosine"] == pytest.approx(1)
    assert clean["mse"] == 0
    assert clean["discriminant"] > 0.7
    assert (table["mse"][1:] > 0.01).all()
    assert table["discriminant"][5] < 0.8 * clean["discriminant"], "a sketch of 4 numbers hides something"


def test_the_summary_tells_the_best_attack_on_the_own_codecs() -> None:
    summary, table = attacked().summary["privacy"], attacked().privacy
    assert table is not None
    assert summary["recovered"] == table["recovered"][1]
    assert summary["recovered_clean"] == table["recovered"][0]
    assert summary["attacker"] == "edge"
    assert summary["colluding"] == table["recovered"][2]
    assert summary["of_clean"] == pytest.approx(summary["recovered"] / summary["recovered_clean"])


def test_it_leaves_no_trace() -> None:
    """Time, bytes and training are those of a run without the section."""
    plain = known(ROTATED, PUBLIC)
    assert plain.privacy is None
    assert "privacy" not in plain.summary
    assert attacked().summary["trace_sha256"] == plain.summary["trace_sha256"]


def test_written_and_read_again(tmp_path: Path) -> None:
    made = simulation.run(loaded(ROTATED, PUBLIC, SECTION, "protocol.rounds=1"), tmp_path)
    read = metrics.load(tmp_path)
    assert read.privacy is not None
    assert made.privacy is not None
    pd.testing.assert_frame_equal(read.privacy, pd.read_csv(tmp_path / "privacy.csv"))
    assert json.loads((tmp_path / "summary.json").read_text())["privacy"]["codecs"].startswith("ssop")
    simulation.run(loaded("protocol.rounds=1"), tmp_path, earlier="replace")
    assert metrics.load(tmp_path).privacy is None, "an earlier run's table must not be taken for this run's"


def test_without_pairs_and_without_training() -> None:
    section = "privacy={tokens: 100, known_texts: 0, inversion: null}"
    table = played(PUBLIC, section, "protocol.rounds=1").privacy
    assert table is not None
    assert table["procrustes"].isna().all()
    assert table["inversion"].isna().all()
    assert table["recovered"].notna().all()


@pytest.mark.parametrize(
    ("changes", "path", "reason"),
    [
        ([SECTION, "task.public=0"], "privacy", "set task.public"),
        ([SECTION, PUBLIC, "protocol={kind: fedavg}"], "privacy", "does not cut the model"),
        ([SECTION, PUBLIC, "execution.mode=timing"], "privacy", "needs arithmetic"),
        (["privacy.under=[[{kind: int8}, {kind: sketch}]]", PUBLIC], "privacy.under.0.1", "takes floating-point numbers"),
        (["codec.activation=[{kind: ssop, subspace: public, unread: true}]", PUBLIC, "split=latency"],
         "codec.activation.0.unread", "needs split: fixed"),
        (["privacy.under=[[{kind: ssop, subspace: public, unread: true}]]", PUBLIC], "privacy.under.0.0.unread",
         "leave it out"),
        (["codec.activation=[{kind: ssop, subspace: public}]", "task.public=0"], "codec.activation.0", "set task.public"),
        ([ROTATED, "task.public=0"], "codec.activation.1", "there is none; set task.public"),
        (["codec.activation={kind: adaptive, error: 0.1}", PUBLIC, "execution.mode=timing"], "codec.activation.0",
         "depend on public text"),
    ],
)  # fmt: skip
def test_faults(changes: list[str], path: str, reason: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        check(loaded(*changes))
    assert any(fault.path == path and reason in fault.message for fault in caught.value.faults), caught.value


# What a server can reach --------------------------------------------------------------------------------------------


def test_no_object_that_an_edge_server_can_reach_contains_q() -> None:
    """Walk everything behind the server's endpoints after a real run, public text and all.

    Q = I + V (W - I) V^T is there if V and W are, or Q itself, in any format; the walk finds them at the client.
    """
    _, world = world_of(ROTATED, PUBLIC, "codec.adapters=[{kind: feedback}, {kind: int8}]")
    for held in world.pipeline.endpoints.states.values():
        for ref in held.values():
            assert ref.value is not None  # pending work has run, so nothing but values can be reached
    secrets = [item for item in leaves(world.pipeline.endpoints.states["client1"]) if isinstance(item, Secret)]
    assert secrets
    parts = []
    for secret in secrets:
        assert secret.turn is not None
        basis, change = secret.turn.basis, secret.turn.change
        assert basis is not None
        parts += [basis, change, change + torch.eye(len(change)), secret.turn(torch.eye(HIDDEN))]
    for server in (*world.edge_servers, world.cloud):
        found = leaves(world.pipeline.endpoints.states.get(server, {}))
        assert not any(isinstance(item, Secret) for item in found)
        assert not {secret.seed for secret in secrets} & {item for item in found if isinstance(item, int)}
        for item in found:
            if isinstance(item, torch.Tensor) and not item.is_meta:
                for part in parts:
                    for candidate in (part, part.t()):
                        same = item.shape == candidate.shape and torch.allclose(
                            item.float(), candidate.float(), atol=1e-4
                        )
                        assert not same
    assert any(isinstance(item, torch.Tensor) for item in leaves(world.pipeline.endpoints.states["edge1"])), (
        "the walk finds tensors"
    )
    assert isinstance(next(iter(world.pipeline.endpoints.states["edge1"].values())), Ref)


def test_on_the_wire_a_listener_learns_less_than_the_edge_server() -> None:
    """Who has the key recovers what it would without codecs; training and accuracy are as without, to rounding."""
    plain = known(PUBLIC)
    run = played(PUBLIC, SECTION, "codec.activation=[{kind: ssop, rank: full, hides_from: wire}]")
    assert run.privacy is not None
    own = run.privacy[run.privacy["chain"] == "own"].set_index("attacker")
    assert list(own.index) == ["wire", "edge"]
    assert own.loc["edge", "mse"] < 1e-10
    assert own.loc["edge", "recovered"] == pytest.approx(run.privacy["recovered"][0], abs=0.02)
    assert own.loc["wire", "recovered"] < 0.5 * own.loc["edge", "recovered"]
    assert run.summary["privacy"]["attacker"] == "wire"
    assert run.rounds["loss"].tolist() == pytest.approx(plain.rounds["loss"].tolist(), rel=1e-4)
    assert run.summary["accuracy"] == plain.summary["accuracy"]


def test_a_colluder_reads_those_who_share_its_key() -> None:
    """One rotation for all is none to an edge server that one of them tells it; of other keys it learns nothing."""
    found = {}
    for key in ("client", "server", "all"):
        codec = f"codec.activation=[{{kind: ssop, rank: 24, subspace: public, key: {key}, refresh: message}}]"
        table = played(PUBLIC, "privacy={tokens: 300, inversion: null}", "protocol.rounds=1", codec).privacy
        assert table is not None
        own = table[table["chain"] == "own"].set_index("attacker")
        found[key] = float(own.loc["colluder", "mse"] / own.loc["edge", "mse"])
    assert found["client"] > 0.5
    # one of the two edge servers has one client, who has nobody to collude with
    assert found["server"] < 0.6
    assert found["all"] < 0.6


def test_a_colluder_is_never_worse_than_who_has_no_keys() -> None:
    """It may leave them aside."""
    table = attacked().privacy
    assert table is not None
    for chain in ("own", "ssop(rank=6)"):
        rows = table[table["chain"] == chain].set_index("attacker")
        for attack in (*ATTACKS, "recovered", "unaided"):
            assert rows.loc["colluder", attack] >= rows.loc["edge", attack]


def test_part_two_leaves_unread_what_it_is_told_to() -> None:
    """Whoever computes with the backbone: also the clean, unsplit model that a run evaluates."""
    codec = "codec.activation=[{{kind: ssop, rank: 24, subspace: public, unread: {}}}]"
    changes = (PUBLIC, "protocol.rounds=1", "split={policy: fixed, p: 1, q: 1}")
    # not `played`, whose runs share one backbone
    runs = [simulation.run(loaded(*changes, codec.format(word)), None) for word in ("true", "false")]
    assert runs[0].rounds["clean_loss"].iloc[0] != runs[1].rounds["clean_loss"].iloc[0]


def test_attackers_try_keys_of_their_own() -> None:
    """A discriminant that has seen public text under many keys leaves alone what they turn, and tells tokens by the rest."""
    codec = "codec.activation=[{kind: ssop, rank: 16, subspace: public, refresh: message}]"
    section = "privacy={tokens: 300, attacks: [discriminant, complement]}"
    with patch.object(SSOP, "simulated", lambda self: SSOP(strength=0.0)):
        naive = played(PUBLIC, section, "protocol.rounds=1", codec).privacy
    table = played(PUBLIC, section, "protocol.rounds=1", codec).privacy
    assert table is not None
    assert naive is not None
    own, fooled = (each[(each["chain"] == "own") & (each["attacker"] == "edge")].iloc[0] for each in (table, naive))
    assert own["discriminant"] > 1.2 * fooled["discriminant"]


def test_at_each_cut_its_own_directions_are_left_out() -> None:
    """What attackers leave out as turned, where V is public, is all that is turned: at every cut, whatever the others' are."""
    met: list[Mapping[int, Knowledge]] = []
    guessed = audit._guessed

    def noted(attack: PrivacyAttack, knowledge: Mapping[int, Knowledge], *others: Any) -> torch.Tensor | None:
        met.append(knowledge)
        return guessed(attack, knowledge, *others)

    with patch.object(audit, "_guessed", noted):
        played(
            PUBLIC, "protocol.rounds=1", "backbone.config.num_hidden_layers=4",
            "split={policy: score, weights: {compute: 1, memory: 0, rate: 0}}",
            "devices.overrides={client0: {speed: 50 MFLOP/s}}",
            "codec.activation=[{kind: ssop, rank: 6, subspace: public, refresh: message}]",
            "privacy={tokens: 60, attacks: [complement]}",
        )  # fmt: skip
    cuts = [[(each.public, each.turned) for each in knowledge.values()] for knowledge in met]
    turning = [each for each in cuts if any((public.payload != public.clean).any() for public, _ in each)]
    assert turning
    for each in turning:
        assert len(each) == 2, "clients are cut at two depths"
        for public, turned in each:
            assert turned is not None
            change = (public.payload - public.clean).double()
            assert (change @ without(turned)).norm() < 1e-4 * change.norm()


# Codecs in whole runs -----------------------------------------------------------------------------------------------


def test_a_refreshed_basis_goes_ahead_with_the_adapters() -> None:
    """From the second round on each client's first download carries V and m of both cuts in float16."""
    changes = (PUBLIC, "protocol.rounds=3", "network.transport={kind: tcp, framing: 0 B}")
    chain = "codec.activation=[{{kind: subspace, rank: 5{}}}]"
    once, anew = (known(*changes, chain.format(extra)) for extra in ("", ", refresh_every: 2"))
    sizes = []
    for run in (once, anew):
        down = transfers(run.events, "adapters")
        down = down[down["peer"].str.startswith("client")]
        sizes.append(down.groupby("round")["bytes"].max())
    extra = (sizes[1] - sizes[0]).to_dict()
    assert extra == {1: 0, 2: 0, 3: 2 * 2 * HIDDEN * (5 + 1)}
    assert once.summary["accuracy"] is not None


def test_feedback_keeps_adapters_close_with_a_tenth_of_the_bytes() -> None:
    plain = known("protocol.rounds=3")
    looped = known("protocol.rounds=3", "codec.adapters=[{kind: feedback}, {kind: topk, fraction: 0.2}, {kind: int8}]")
    size = {run: run.summary["bytes"]["by_kind"]["adapters"] for run in (plain, looped)}
    assert size[looped] < 0.4 * size[plain]
    assert math.isfinite(looped.summary["loss"])


def test_a_lost_message_leaves_both_ends_agreed() -> None:
    """Messages that are given up must not enter the sender's estimate, or the two ends drift apart for good."""
    failing = "network={retries: 0, stall_timeout: 0.01, failures: [{links: access, mtbf: 0.2 s, mttr: 0.05 s}]}"
    _, world = world_of("protocol.rounds=8", "codec.adapters=[{kind: feedback}, {kind: quantize, bits: 3}]", failing)
    assert world.event_log.byte_counters.aborted["adapters"], "no message of adapters was lost; nothing is tested"
    checked = 0
    for node, held in world.pipeline.endpoints.states.items():
        for (peer, kind, up, position), ref in held.items():
            other = world.pipeline.endpoints.states.get(peer, {}).get((node, kind, up, position))
            if other is not None and position == 0:
                for name, tensor in ref.value.items():
                    if name in other.value:
                        checked += 1
                        assert torch.equal(tensor, other.value[name])
    assert checked
