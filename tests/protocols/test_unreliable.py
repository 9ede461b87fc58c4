"""Misbehaving clients under every protocol."""

from __future__ import annotations

import json
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from in_process import InProcess
from protocol_laws import TIMING, coded, timeline
from small_runs import drawn_batches, known, loaded, played, transfers, work, world_of

from elsa_sim.base.errors import ScenarioError
from elsa_sim.base.registry import discover
from elsa_sim.learning.execution.pools import POOLS
from elsa_sim.learning.misbehaviour.base import Misbehaviour
from elsa_sim.protocols.base import Protocol
from elsa_sim.run import checks, simulation
from elsa_sim.scenario import model

discover("elsa_sim.protocols")
discover("elsa_sim.learning.misbehaviour")
KINDS = sorted(kind for kind, member in Misbehaviour.members.items() if member.__module__.startswith("elsa_sim."))
#: Those in rounds; of continuous ones, the clock says how often a client comes.
PROTOCOLS = sorted(
    kind for kind, member in Protocol.members.items()
    if member.__module__.startswith("elsa_sim.") and kind != "centralized" and not member.continuous
)  # fmt: skip


def small(kind: str) -> str:
    return f"protocol={{kind: {kind}, rounds: 2, local_steps: 2, lr: 5.0e-3}}"


def one(kind: str) -> str:
    return f"unreliable={{clients: {{client1: {kind}}}, stale_uploads: 1}}"


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_changes_what_is_learned_and_the_executor_nothing(protocol: str, kind: str) -> None:
    honest, unreliable = known(small(protocol)), played(small(protocol), one(kind))
    assert unreliable.summary["unreliable"] == {"client1": kind}
    assert "unreliable" not in honest.summary
    assert unreliable.rounds["loss"].iloc[-1] != honest.rounds["loss"].iloc[-1]
    assert unreliable.summary["invariants"] == "hold"
    sent = protocol in ("elsa", "fedavg")  # that a kind can be sent to workers has nothing to do with the protocol
    for change in ("execution.executor=serial", *(["execution.workers=2"] if sent else [])):
        with patch.dict(POOLS, local=InProcess):
            other = played(small(protocol), one(kind), change)
        assert timeline(other) == timeline(unreliable)
        np.testing.assert_allclose(other.rounds["loss"], unreliable.rounds["loss"], rtol=1e-4)


@pytest.mark.parametrize("protocol", ["elsa", "fedavg"])
def test_timing_is_that_of_the_real_run(protocol: str) -> None:
    all_kinds = "unreliable={clients: {client0: noise, client1: stale, client2: free_rider}}"
    real, timing = (
        played(small(protocol), all_kinds, coded(small(protocol).removeprefix("protocol=")), *more)
        for more in ((), (TIMING,))
    )
    assert timeline(real) == timeline(timing)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_free_riders_compute_nothing_and_send_all_the_same(protocol: str) -> None:
    results, world = world_of(small(protocol), one("free_rider"))
    rows = work(results.events)
    assert not ((rows["node"] == "client1") & (rows["kind"] == "compute")).any()
    sent = transfers(results.events, "adapters")
    assert (sent["node"] == "client1").sum() == (sent["node"] == "client0").sum()
    assert world.progress.done == world.progress.total


def test_clients_that_come_and_go_may_be_unreliable_too() -> None:
    change = "unreliable={clients: {client0: noise, client1: free_rider}}"
    results = played("protocol={kind: fedbuff, rounds: 3, local_steps: 2}", change)
    rows = work(results.events)
    computed = rows.loc[rows["kind"] == "compute"].groupby("node", observed=True)["detail"].unique()
    assert "client1" not in computed.index
    assert "noise" in computed["client0"]
    assert "noise" not in computed["client2"]


def test_the_others_meet_what_they_would_meet() -> None:
    """A stream of one's own for everything that is drawn: the honest clients' batches stay."""
    met = []
    for change in ((), ("unreliable={clients: {client1: free_rider, client2: noise}}",)):
        with drawn_batches() as drawn:
            _, world = world_of(small("fedavg"), *change)
        met.append([[b.tokens.tolist() for b in drawn.get(c.samples.tobytes(), [])] for c in world.clients])
    (first, second, third), (same, nothing, same_too) = met
    assert first == same
    assert third == same_too
    assert second
    assert not nothing


def test_flipped_labels_are_those_of_one_client_only() -> None:
    with drawn_batches() as honest:
        _, world = world_of(small("fedavg"))
    with drawn_batches() as flipped:
        world_of(small("fedavg"), one("label_flip"))
    for client in world.clients:
        pairs = zip(honest[client.samples.tobytes()], flipped[client.samples.tobytes()], strict=True)
        for a, b in pairs:
            assert a.tokens.tolist() == b.tokens.tolist()
            assert a.labels is not None
            assert b.labels is not None
            assert (a.labels != b.labels).all() if client.name == "client1" else (a.labels == b.labels).all()


def test_a_client_that_sends_loud_noise_harms() -> None:
    loud = "unreliable={clients: {client1: noise}, noise: replaced, noise_scale: 100.0}"
    assert played(small("fedavg"), loud).summary["loss"] > 2 * known(small("fedavg")).summary["loss"]


def test_a_share_is_written_out_and_repeats(tmp_path: Path) -> None:
    made = played(small("hierfavg"), "unreliable={share: 0.4, kinds: [noise]}", folder=tmp_path / "run")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["unreliable"] == made.summary["unreliable"]
    assert list(summary["unreliable"].values()) == ["noise"]
    again = played(small("hierfavg"), "unreliable={share: 0.4, kinds: [noise]}")
    np.testing.assert_array_equal(made.rounds["loss"], again.rounds["loss"])


def test_a_kind_may_have_options_of_its_own_and_the_resolved_scenario_repeats_the_run(tmp_path: Path) -> None:
    """The old flat options are what a kind has where it does not say; written out, they still are."""
    protocol = small("fedavg")
    flat = "unreliable={clients: {client1: noise, client2: stale}, noise_scale: 3.0, stale_uploads: 1}"
    own = ("unreliable={clients: {client1: {kind: noise, noise_scale: 3.0}, client2: {kind: stale, stale_uploads: 1}}, "
           "noise_scale: 7.0}")  # fmt: skip
    first = played(protocol, flat, folder=tmp_path / "run")
    assert first.summary["trace_sha256"] == played(protocol, own).summary["trace_sha256"]
    again = simulation.run(model.load(tmp_path / "run" / "scenario.yaml"))
    assert again.summary["trace_sha256"] == first.summary["trace_sha256"]
    assert known(protocol).summary["trace_sha256"] != first.summary["trace_sha256"]


def test_a_sign_that_is_flipped_leads_away() -> None:
    """The mean is led away by it, the median is not."""
    flip = "unreliable={clients: {client1: {kind: sign_flip, factor: 30.0}}}"
    honest, led, kept = (
        trained_loss(*changes) for changes in ((small("fedavg"),), (small("fedavg"), flip), (median("fedavg"), flip))
    )
    assert led > honest + 0.1
    assert abs(kept - honest) < 0.1 * (led - honest)


def median(kind: str) -> str:
    return small(kind).replace("rounds", "aggregation: median, rounds")


def trained_loss(*changes: str) -> float:
    return float(known(*changes).summary["loss"])


def test_faults() -> None:
    for changes, said in (
        (["unreliable={share: 2}"], "unreliable.share: must be <= 1"),
        (["unreliable={kinds: [noisy]}"], "did you mean 'noise'"),
        (["unreliable={kinds: []}"], "unreliable.kinds: must have at least 1 elements, has 0"),
        (["unreliable={clients: {client9: noise}}"], "unreliable.clients.client9: there is no client 'client9'"),
        (["unreliable={clients: {client1: {kind: noise, noise_scale: 0}}}"], "unreliable.clients.client1.noise_scale: must be > 0"),
        (["unreliable={clients: {client1: {kind: noise, scale: 1}}}"], "unknown key 'scale'"),
        (["unreliable={clients: {client1: label_flip}}", "task.objective=causal_lm", "backbone={name: tiny-gpt2}"],
         "label_flip needs class labels; valid with causal_lm: free_rider, noise, sign_flip, stale"),
    ):  # fmt: skip
        with pytest.raises(ScenarioError) as error:
            checks.check(loaded(*changes))
        assert said in str(error.value)
