"""Misbehaving clients: who, with what labels, and what they send."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from elsa_sim.base.errors import InputFaults
from elsa_sim.base.registry import discover
from elsa_sim.base.streams import Streams
from elsa_sim.learning.execution.work import Ref, TensorSpec, Work
from elsa_sim.learning.misbehaviour.base import MisbehavingClient, Misbehaviour
from elsa_sim.learning.misbehaviour.free_rider import FreeRider
from elsa_sim.learning.misbehaviour.label_flip import LabelFlip, flipped
from elsa_sim.learning.misbehaviour.noise import Noise, noisy
from elsa_sim.learning.misbehaviour.options import USUAL, UnreliableOptions
from elsa_sim.learning.misbehaviour.sign_flip import SignFlip
from elsa_sim.learning.misbehaviour.stale import Stale

discover("elsa_sim.learning.misbehaviour")
NAMES = [f"client{i}" for i in range(20)]
SPEC = {"a": TensorSpec((200, 30)), "b": TensorSpec((500,))}
EVERY = [kind() for kind in Misbehaviour.members.values() if kind.__module__.startswith("elsa_sim.")]  # type: ignore[call-arg]


def adapters(seed: int) -> Ref:
    draw = torch.Generator().manual_seed(seed)
    return Ref.of({name: 0.1 * torch.randn(spec.shape, generator=draw) for name, spec in SPEC.items()}, SPEC)


def value(sent: Ref | Work) -> dict[str, torch.Tensor]:
    if isinstance(sent, Ref):
        return dict(sent.value)
    (made,) = sent.function(*[each.value for each in sent.inputs])
    return dict(made)


def kinds(found: dict[str, Misbehaviour]) -> dict[str, str]:
    return {name: each.kind for name, each in found.items()}


def test_all_attacks_are_here() -> None:
    assert {each.kind for each in EVERY} >= {"label_flip", "noise", "stale", "free_rider", "sign_flip"}


@pytest.mark.parametrize("behaviour", EVERY, ids=repr)
def test_what_is_sent_has_the_shape_of_what_was_trained_and_changes_nothing(behaviour: Misbehaviour) -> None:
    """A law of every attack: shapes and FLOPs are known before the arithmetic, whatever is sent is finite, inputs stay."""
    received, trained = adapters(0), adapters(1)
    one, other = (MisbehavingClient(behaviour, "client0", Streams(0)) for _ in range(2))
    for _ in range(3):
        sent, again = one.sent(received, trained), other.sent(received, trained)
        assert all(torch.equal(value(sent)[name], value(again)[name]) for name in SPEC)  # a seed is an attack
        found = value(sent)
        assert {name: TensorSpec(tuple(t.shape)) for name, t in found.items()} == SPEC
        assert all(bool(t.isfinite().all()) for t in found.values())
        if isinstance(sent, Work):
            assert sent.outputs == (SPEC,)
            assert sent.flops > 0
        assert all(torch.equal(received.value[name], adapters(0).value[name]) for name in SPEC)
        assert all(torch.equal(trained.value[name], adapters(1).value[name]) for name in SPEC)
    labels = np.arange(5)
    held = behaviour.labels(labels, 5, np.random.default_rng(0))
    assert sorted(held.tolist()) == [0, 1, 2, 3, 4]
    assert behaviour.relabels == bool((held != labels).any())


def test_a_share_of_the_clients_by_turns() -> None:
    found = UnreliableOptions(share=0.2).of(NAMES, Streams(3))
    assert sorted(kinds(found).values()) == sorted(each.kind for each in USUAL)
    assert list(found) == [name for name in NAMES if name in found]
    assert found == UnreliableOptions(share=0.2).of(NAMES, Streams(3))
    assert found != UnreliableOptions(share=0.2).of(NAMES, Streams(4))
    more = UnreliableOptions(share=0.5).of(NAMES, Streams(3))
    assert found.items() <= more.items()
    assert len(more) == 10
    assert set(kinds(UnreliableOptions(share=1.0, kinds=("noise",)).of(NAMES, Streams(3))).values()) == {"noise"}
    assert UnreliableOptions().of(NAMES, Streams(3)) == {}


def test_named_clients_count_towards_the_share() -> None:
    options = UnreliableOptions(share=0.2, clients={"client7": "stale", "client2": "noise"}, kinds=("label_flip",))
    found = kinds(options.of(NAMES, Streams(3)))
    assert (found["client7"], found["client2"]) == ("stale", "noise")
    assert sorted(found.values()) == ["label_flip", "label_flip", "noise", "stale"]
    with pytest.raises(InputFaults, match="no client 'client20'"):
        UnreliableOptions(clients={"client20": "noise"}).of(NAMES, Streams(0))


@pytest.mark.parametrize("classes", [2, 6, 77])
def test_every_label_becomes_another_one(classes: int) -> None:
    labels = np.arange(classes).repeat(3)
    after = flipped(labels, classes, np.random.default_rng(0))
    assert (after != labels).all()
    assert sorted(set(after.tolist())) == list(range(classes))
    assert len({(a, b) for a, b in zip(labels.tolist(), after.tolist(), strict=True)}) == classes


def test_colluding_flippers_flip_alike() -> None:
    """Whoever draws from one stream draws one permutation; the others draw as without them."""
    apart, together = LabelFlip(), LabelFlip(colluding=True)
    draws = {(kind.colluding, name): flipped(np.arange(20), 20, Streams(5).numpy(*kind.label_stream(name))).tolist()
             for kind in (apart, together) for name in ("client0", "client1", "colluding flip")}  # fmt: skip
    assert draws[True, "client0"] == draws[True, "client1"] == draws[True, "colluding flip"]
    separate = [draws[False, name] for name in ("client0", "client1", "colluding flip")]
    assert all(one != other for i, one in enumerate(separate) for other in (*separate[:i], draws[True, "client0"]))


@pytest.mark.parametrize("added", [True, False])
@pytest.mark.parametrize("scale", [0.5, 3.0])
def test_the_size_of_noise(added: bool, scale: float) -> None:
    trained = adapters(0)
    sent = value(noisy(trained, scale, added, seed=1))
    for name, tensor in trained.value.items():
        noise = sent[name] - tensor if added else sent[name]
        assert abs(float(noise.std() / tensor.square().mean().sqrt()) / scale - 1.0) < 0.1
        assert abs(float(noise.mean())) < 0.2 * float(noise.std())
    again, other = (value(noisy(trained, scale, added, seed=seed)) for seed in (1, 2))
    assert all(torch.equal(again[name], sent[name]) for name in sent)
    assert not torch.equal(other["a"], sent["a"])


def test_the_nth_noise_is_that_of_its_number() -> None:
    """The seed says what is drawn, whether it is added or sent alone; the work is 20 operations for each number."""
    for options, scale, added in (({}, 1.0, True), ({"noise": "added", "noise_scale": 0.5}, 0.5, True),
                                  ({"noise": "replaced"}, 1.0, False)):  # fmt: skip
        client = MisbehavingClient(Noise(**options), "client3", Streams(7))  # type: ignore[arg-type]
        for number in (1, 2):
            sent = client.sent(adapters(0), adapters(1))
            expected = noisy(adapters(1), scale, added, Streams(7).integer("noise", "client3", number))
            assert torch.equal(value(sent)["a"], value(expected)["a"])
            assert isinstance(sent, Work)
            assert sent.flops == 20 * 6500
    alone, added_to = (value(noisy(adapters(1), 2.0, added, 5)) for added in (False, True))
    torch.testing.assert_close(added_to["a"], adapters(1).value["a"] + alone["a"])


def test_noise_is_new_every_time_and_another_for_everyone() -> None:
    sent = []
    for name in ("client0", "client1"):
        client = MisbehavingClient(Noise(), name, Streams(0))
        sent += [value(client.sent(adapters(0), adapters(1)))["a"] for _ in range(2)]
    for i, one in enumerate(sent):
        assert not any(torch.equal(one, other) for other in sent[:i])


def test_stale_replayers_lag_behind() -> None:
    client = MisbehavingClient(Stale(stale_uploads=2), "client0", Streams(0))
    trained = [adapters(i) for i in range(6)]
    assert client.sent(trained[5], trained[4], upload=False) is trained[4]  # it has sent nothing yet
    assert [trained.index(client.sent(adapters(9), each)) for each in trained] == [0, 0, 0, 1, 2, 3]  # type: ignore[arg-type]
    assert client.sent(adapters(9), adapters(8), upload=False) is trained[3]
    assert client.sent(adapters(9), trained[0]) is trained[4]
    client = MisbehavingClient(Stale(), "client0", Streams(0))  # five, where nobody says
    assert [trained.index(client.sent(adapters(9), each)) for each in (*trained, trained[0])] == [0] * 6 + [1]  # type: ignore[arg-type]


def test_free_riders_send_what_they_got_and_flippers_what_they_trained() -> None:
    received, trained = adapters(0), adapters(1)
    rider, flipper = (MisbehavingClient(each, "c", Streams(0)) for each in (FreeRider(), LabelFlip()))
    assert rider.sent(received, trained) is received
    assert flipper.sent(received, trained) is trained
    assert (rider.trains, flipper.trains) == (False, True)


@pytest.mark.parametrize("factor", [1.0, 3.0])
def test_a_flipped_sign_undoes_the_change(factor: float) -> None:
    received, trained = adapters(0), adapters(1)
    sent = MisbehavingClient(SignFlip(factor=factor), "c", Streams(0)).sent(received, trained)
    assert isinstance(sent, Work)
    assert sent.flops == 3 * 6500
    for name, tensor in value(sent).items():
        change = trained.value[name] - received.value[name]
        torch.testing.assert_close((tensor - received.value[name]) / factor, -change, rtol=1e-5, atol=1e-6)


def test_options_of_a_kind_go_before_those_of_the_section() -> None:
    options = UnreliableOptions(noise="replaced", noise_scale=3.0, stale_uploads=2, clients={
        "client0": "noise", "client1": {"kind": "noise", "noise_scale": 0.5}, "client2": "stale",
        "client3": {"kind": "stale", "stale_uploads": 7}, "client4": {"kind": "sign_flip", "factor": 2.0}})  # type: ignore[dict-item]  # fmt: skip
    found = options.of(NAMES, Streams(0))
    assert list(found.values()) == [Noise(noise="replaced", noise_scale=3.0), Noise(noise="replaced", noise_scale=0.5),
                                    Stale(stale_uploads=2), Stale(stale_uploads=7), SignFlip(factor=2.0)]  # fmt: skip
    assert options.clients["client0"] == Noise()  # what is written out again leaves open what was left open
    plain = UnreliableOptions(clients={"client0": "noise", "client1": "stale"}).of(NAMES, Streams(0))  # type: ignore[dict-item]
    assert list(plain.values()) == [Noise(noise="added", noise_scale=1.0), Stale(stale_uploads=5)]


@pytest.mark.parametrize(
    "options",
    [
        {"share": 0.5, "kinds": ["sign_flip"]},
        {"share": 0.5, "kinds": [{"kind": "noise", "noise_scale": 2.0}]},
        {"clients": {"client0": "label_flip"}},  # the usual kinds, noise among them, are done by nobody
    ],
)
def test_an_option_for_all_kinds_that_completes_none_is_told(options: dict[str, Any]) -> None:
    assert UnreliableOptions.model_validate(options | {"noise_scale": 3.0}).idle() == ["noise_scale"]
    for fine in ({"share": 0.0}, {"share": 0.5}, {"clients": {"client0": "noise"}}):
        assert UnreliableOptions.model_validate({"noise_scale": 3.0} | fine).idle() == []


@pytest.mark.parametrize(
    ("clients", "valid"), [(3, "client0, client1, client2"), (4, "client0, client1, client2, ...")]
)
def test_an_unknown_client_is_told_who_there_is(clients: int, valid: str) -> None:
    with pytest.raises(InputFaults) as error:
        UnreliableOptions(clients={"clint0": "stale"}).of(NAMES[:clients], Streams(0))  # type: ignore[dict-item]
    assert str(error.value) == f"clients.clint0: there is no client 'clint0'; valid: {valid}"


def test_attacks_may_be_small_but_not_nothing() -> None:
    assert UnreliableOptions(noise_scale=0.01).noise_scale == 0.01
    for options in (UnreliableOptions, Noise):
        with pytest.raises(ValidationError):
            options(noise_scale=0.0)
    assert SignFlip().factor == 1.0
    assert (SignFlip(factor=0.1).factor, Stale(stale_uploads=1).stale_uploads) == (0.1, 1)
    for make in (lambda: SignFlip(factor=0.0), lambda: Stale(stale_uploads=0)):
        with pytest.raises(ValidationError):
            make()


def test_somebody_has_to_do_something() -> None:
    with pytest.raises(ValidationError):
        UnreliableOptions(kinds=())
