"""Options without effect are faults: whoever states them believes otherwise."""

from __future__ import annotations

import pytest
from small_runs import loaded

from elsa_sim.base.errors import ScenarioError
from elsa_sim.run import checks


def faults(*changes: str) -> list[str]:
    try:
        checks.check(loaded(*changes))
    except ScenarioError as error:
        return [str(fault) for fault in error.faults]
    return []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (("protocol={kind: fedavg}", "split={policy: fixed, p: 2}"), "split: protocol 'fedavg' does not cut the model"),
        (("protocol={kind: fedavg}", "codec={activation: [float16]}"),
         "codec.activation: protocol 'fedavg' does not send it, so codecs there have no effect; it sends adapters"),
        (("protocol={kind: fedavg}", "codec={gradient: [float16]}"), "codec.gradient: protocol 'fedavg' does not send it"),
        (("protocol={kind: centralized}", "codec={adapters: [float16]}"), "codec.adapters: protocol 'centralized'"),
        (("protocol={kind: fedbuff, wait: {deadline: 3}}",), "protocol.wait: fedbuff takes updates as they come"),
        (("protocol={kind: centralized, wait: {first: 1}}",), "protocol.wait: centralized trains in one place"),
        (("protocol={kind: fedavg, wait: {first: 4}}",),
         "protocol.wait.first: no server has more than 3 clients to wait for, got 4"),
        (("protocol={kind: elsa, wait: {first: 3}}",), "protocol.wait.first: no server has more than 2 clients"),
        (("protocol={kind: fedbuff, buffer: 4}",), "protocol.buffer: no server has more than 3 members"),
        (("protocol={kind: alignfed, buffer: 4}",), "protocol.buffer: no server has more than 3 members"),
        (("protocol={kind: fedbuff, tiers: edges, buffer: 3}",), "protocol.buffer: no server has more than 2 members"),
        (("unreliable={share: 0.1}",), "unreliable.share: 0.1 of 3 clients is nobody"),
        (("network={retries: 0, backoff: 3, stall_timeout: 1}",), "network.backoff: has no effect with retries: 0"),
        (("network.retries=5",), "network.retries: a message is only sent again after a stall_timeout or an attempt_timeout"),
        (("network.backoff=5",), "network.backoff: a message is only sent again after a stall_timeout"),
        (("codec={activation: [{kind: sketch, decoder: linear, refresh_every: 1}]}", "task.public=0"),
         "codec.activation.0.refresh_every: refresh_every fits 'sketch' to public text anew, and there is none"),
        (("codec={activation: [{kind: ssop, rank: 33}]}",),
         "codec.activation.0: 'ssop' turns rows of 32 numbers; needs rank <= 32, got 33"),
        (("codec={activation: [{kind: sketch, columns: 4}, {kind: ssop, rank: 13, hides_from: wire}]}",),
         "codec.activation.1: 'ssop' turns rows of 12 numbers; needs rank <= 12, got 13"),
        (("codec={activation: [{kind: ssop, rank: 32, subspace: public, unread: true}]}",),
         "codec.activation.0: 'ssop' leaves Part 2 nothing to read of rows of 32 numbers; needs rank < 32"),
        (("codec={activation: [{kind: subspace, rank: 33}]}",),
         "codec.activation.0: 'subspace' projects rows of 32 numbers; needs rank <= 32, got 33"),
        (("privacy={under: [[{kind: ssop, rank: 33}]]}",), "privacy.under.0.0: 'ssop' turns rows of 32 numbers"),
        (("protocol.trust={judges: [updates], consistency: similarity}",), "protocol.trust: consistency is about answers"),
        (("protocol.trust={judges: [updates, updates]}",), "protocol.trust: judges names one of them twice"),
        (("execution={cluster: ray, workers: 2, device: cuda}",),
         "execution.cluster: workers of a Ray cluster are given processors only; valid with device: cuda: local"),
        (("stop.rounds=3",), "stop.rounds: the protocol ends after 2, before 3"),
    ],
)  # fmt: skip
def test_each_is_refused_and_named(changes: tuple[str, ...], words: str) -> None:
    (fault,) = faults(*changes)
    assert words in fault


@pytest.mark.parametrize(
    "changes",
    [
        ("protocol={kind: fedavg, wait: {first: 3}}",),
        ("protocol={kind: elsa, wait: {first: 2}}", "codec={activation: [float16], gradient: [float16]}"),
        ("protocol={kind: fedbuff, buffer: 3}",),
        ("protocol={kind: fedbuff, clients: split}", "codec={activation: [float16]}", "split={policy: fixed, p: 1}"),
        ("protocol={kind: fedavg}", "split=fixed", "codec={activation: [], adapters: [float16]}"),
        ("network={loss: mathis, transport: {kind: tcp, segment: 1000}}",),
        ("codec={activation: [{kind: ssop, rank: 32}]}",),
        ("codec={activation: [{kind: subspace, rank: 5, cut: first}, {kind: subspace, rank: 32, cut: second}]}",),
        ("codec={activation: [{kind: sketch, columns: 4}, {kind: ssop, rank: 12, hides_from: wire}]}",),
        ("codec={activation: [{kind: sketch, decoder: linear, refresh_every: 1}]}",),
        ("network={attempt_timeout: 9, retries: 5, backoff: 2}",),
        ("network={stall_timeout: 9, backoff: 2}", "stop.rounds=2"),
    ],
)
def test_what_has_an_effect_is_fine(changes: tuple[str, ...]) -> None:
    assert faults(*changes) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            ("unreliable={share: 0.5, kinds: [sign_flip], noise_scale: 3}",),
            "unreliable.noise_scale is of no kind that is stated here",
        ),
        (("execution.mode=timing", "stop.target_accuracy=0.9"), "stop.target_accuracy is never reached in timing mode"),
        (("execution.mode=timing", "execution.workers=2"), "execution.workers have nothing to do in timing mode"),
        (("execution.mode=timing", "execution.device=cuda"), "execution.device has nothing to do in timing mode"),
        (("execution.worker_timeout=60",), "execution.worker_timeout has an effect with several workers only"),
    ],
)
def test_what_has_an_effect_in_another_mode_is_noted(changes: tuple[str, ...], words: str) -> None:
    assert [words in note for note in checks.check(loaded(*changes)).notes] == [True]
    assert checks.check(loaded("stop.target_accuracy=0.9", "execution={workers: 2, worker_timeout: 60}")).notes == ()
