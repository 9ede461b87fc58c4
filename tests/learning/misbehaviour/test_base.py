"""Unreliable clients: who, with what labels, and what they hand on."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from elsa_sim.base.errors import InputFaults
from elsa_sim.base.streams import Streams
from elsa_sim.learning.execution.work import Ref, TensorSpec, Work
from elsa_sim.learning.misbehaviour.base import KINDS, Misbehaviour, UnreliableOptions, flipped, noisy

NAMES = [f"client{i}" for i in range(20)]
SPEC = {"a": TensorSpec((200, 30)), "b": TensorSpec((500,))}


def adapters(seed: int) -> Ref:
    draw = torch.Generator().manual_seed(seed)
    return Ref.of({name: 0.1 * torch.randn(spec.shape, generator=draw) for name, spec in SPEC.items()}, SPEC)


def value(shown: Ref | Work) -> dict[str, torch.Tensor]:
    if isinstance(shown, Ref):
        return dict(shown.value)
    (made,) = shown.function(*[each.value for each in shown.inputs])
    return dict(made)


def test_a_share_of_the_clients_by_turns() -> None:
    found = UnreliableOptions(share=0.2).of(NAMES, Streams(3))
    assert sorted(found.values()) == sorted(KINDS)
    assert list(found) == [name for name in NAMES if name in found]
    assert found == UnreliableOptions(share=0.2).of(NAMES, Streams(3))
    assert found != UnreliableOptions(share=0.2).of(NAMES, Streams(4))
    more = UnreliableOptions(share=0.5).of(NAMES, Streams(3))
    assert found.items() <= more.items()
    assert len(more) == 10
    assert set(UnreliableOptions(share=1.0, kinds=("noise",)).of(NAMES, Streams(3)).values()) == {"noise"}
    assert UnreliableOptions().of(NAMES, Streams(3)) == {}


def test_named_clients_count_towards_the_share() -> None:
    options = UnreliableOptions(share=0.2, clients={"client7": "stale", "client2": "noise"}, kinds=("label_flip",))
    found = options.of(NAMES, Streams(3))
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


def test_noise_is_new_every_time_and_another_for_everyone() -> None:
    sent = []
    for name in ("client0", "client1"):
        misbehaviour = Misbehaviour(name, "noise", UnreliableOptions(), Streams(0))
        sent += [value(misbehaviour.shown(adapters(0), adapters(1)))["a"] for _ in range(2)]
    for i, one in enumerate(sent):
        assert not any(torch.equal(one, other) for other in sent[:i])


def test_stale_replayers_lag_behind() -> None:
    misbehaviour = Misbehaviour("client0", "stale", UnreliableOptions(stale_uploads=2), Streams(0))
    trained = [adapters(i) for i in range(6)]
    assert misbehaviour.shown(trained[5], trained[4], upload=False) is trained[4]  # it has sent nothing yet
    assert [trained.index(misbehaviour.shown(adapters(9), each)) for each in trained] == [0, 0, 0, 1, 2, 3]  # type: ignore[arg-type]
    assert misbehaviour.shown(adapters(9), adapters(8), upload=False) is trained[3]
    assert misbehaviour.shown(adapters(9), trained[0]) is trained[4]


def test_free_riders_hand_on_what_they_got_and_flippers_what_they_trained() -> None:
    received, trained = adapters(0), adapters(1)
    rider, flipper = (Misbehaviour("c", kind, UnreliableOptions(), Streams(0)) for kind in ("free_rider", "label_flip"))  # type: ignore[arg-type]
    assert rider.shown(received, trained) is received
    assert flipper.shown(received, trained) is trained
    assert (rider.trains, flipper.trains) == (False, True)
