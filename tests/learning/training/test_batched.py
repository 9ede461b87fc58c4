"""Many calls as one: the states, losses and gradients of each are those of the reference, of it alone."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
from small_models import CASES, HIDDEN, LAYERS, LINEAR, PAD, batch_of, made, perturbed, small
from torch import Tensor

from elsa_sim.learning.backbone.model import Backbone, Objective
from elsa_sim.learning.backbone.options import BackboneOptions, LoraOptions, Part, three_parts
from elsa_sim.learning.tasks.data import Batch
from elsa_sim.learning.training import batched, reference
from elsa_sim.learning.training.optim import stack

#: Sequences of three clients: unequal numbers of them, of unequal lengths.
LENGTHS = ([7, 3, 9, 4], [5], [2, 8, 3])


class Calls:
    """Three clients with adapters and batches of their own."""

    def __init__(self, backbone: Backbone, pad: int = 0) -> None:
        self.backbone = backbone.double()
        initial = backbone.initial()
        self.adapters = [perturbed(initial, seed) for seed in range(len(LENGTHS))]
        self.batches = [batch_of(lengths, pad, seed) for seed, lengths in enumerate(LENGTHS)]
        self.lengths = [batch.lengths for batch in self.batches]

    def stacked(self, part: Part) -> dict[str, Tensor]:
        return stack([{name: each[name] for name in self.backbone.names(part)} for each in self.adapters])

    @property
    def tokens(self) -> Tensor:
        """Token ids of all, packed."""
        return torch.cat([packed(batch) for batch in self.batches])

    def forward(self, part: Part) -> tuple[list[Tensor], list[batched.SavedActivations]]:
        x = self.tokens if part.first else torch.cat(self.states(1))
        return batched.forward(self.backbone, part, self.stacked(part), x, self.lengths)

    def states(self, seed: int) -> list[Tensor]:
        """Some states or gradients [n, D] of each."""
        draw = torch.Generator().manual_seed(seed)
        return [
            torch.randn(int(each.sum()), self.backbone.hidden, generator=draw, dtype=torch.float64)
            for each in self.lengths
        ]

    def alone(self, part: Part, i: int, gradient: Tensor) -> tuple[Tensor, Tensor | None, dict[str, Tensor]]:
        """States, and gradients of the input and of the adapters, of one call by the reference."""
        x = torch.from_numpy(self.batches[i].tokens) if part.first else self.states(1)[i]
        states, saved = reference.forward(self.backbone, part, self.adapters[i], x, self.lengths[i])
        return states, *reference.backward(saved, gradient)


def packed(batch: Batch) -> Tensor:
    return torch.from_numpy(batch.tokens[np.arange(batch.tokens.shape[1]) < batch.lengths[:, None]])


def same(ours: Tensor | None, theirs: Tensor | None) -> None:
    assert (ours is None) == (theirs is None)
    if ours is not None and theirs is not None:
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


def checked(calls: Calls, part: Part, saved: list[batched.SavedActivations], order: list[int]) -> None:
    """Backward of the calls in ``order``, together, is that of each alone."""
    gradients = calls.states(2)
    inputs, adapters = batched.backward([saved[i] for i in order], [gradients[i] for i in order])
    for place, i in enumerate(order):
        _, to_input, expected = calls.alone(part, i, gradients[i])
        same(inputs[place], to_input)
        assert adapters.keys() == expected.keys()
        for name, each in expected.items():
            same(adapters[name][place], each)


@pytest.mark.parametrize("every_linear", [False, True], ids=["default-targets", "every-linear"])
@pytest.mark.parametrize(("family", "objective"), CASES)
def test_each_call_gets_what_the_reference_gives_it(
    tmp_path: Path, family: str, objective: Objective, every_linear: bool
) -> None:
    pad = PAD.get(family, 0)
    calls = Calls(small(tmp_path, family, objective, targets=LINEAR[family] if every_linear else None), pad)
    bottom, middle, top = three_parts(LAYERS, 1, 1)
    with patch.object(batched, "CHUNK", {"cpu": 12 * HIDDEN}):
        for part in (bottom, middle):
            states, saved = calls.forward(part)
            assert len(saved[0].shared.chunks) > 2
            for i, mine in enumerate(states):
                same(mine, calls.alone(part, i, calls.states(2)[i])[0])
            checked(calls, part, saved, [0, 1, 2])
        labels = torch.cat([torch.from_numpy(batch.labels) for batch in calls.batches])
        told = labels if objective == "classification" else None
        x = torch.cat(calls.states(1))
        losses, inputs, adapters = batched.learn(
            calls.backbone, top, calls.stacked(top), x, calls.lengths, calls.tokens, told
        )
    for i, batch in enumerate(calls.batches):
        own = torch.from_numpy(batch.labels) if objective == "classification" else None
        loss, to_input, expected = reference.learn(
            calls.backbone,
            top,
            calls.adapters[i],
            calls.states(1)[i],
            batch.lengths,
            torch.from_numpy(batch.tokens),
            own,
        )
        same(losses[i], loss)
        same(inputs[i], to_input)
        assert adapters.keys() == expected.keys()
        for name, each in expected.items():
            same(adapters[name][i], each)


MIDDLE = Part("part2", 1, 3)


@pytest.fixture
def calls() -> Calls:
    return Calls(made(BackboneOptions(name="tiny-gpt2", lora=LoraOptions(rank=2)), "causal_lm"))


@pytest.mark.parametrize("order", [[2, 0, 1], [1, 2, 0], [2, 1, 0]], ids=str)
def test_gradients_belong_to_their_calls_in_whatever_order_they_come(calls: Calls, order: list[int]) -> None:
    checked(calls, MIDDLE, calls.forward(MIDDLE)[1], order)


@pytest.mark.parametrize("turns", [[[1], [2, 0]], [[2, 0], [1]], [[1], [0], [2]]], ids=str)
def test_calls_of_one_forward_pass_may_run_backwards_apart(calls: Calls, turns: list[list[int]]) -> None:
    with patch.object(batched, "CHUNK", {"cpu": 12 * calls.backbone.hidden}):
        saved = calls.forward(MIDDLE)[1]
    shared = saved[0].shared
    for turn in turns:
        assert shared.kept, "what another call needs was let go of"
        checked(calls, MIDDLE, saved, turn)
    assert not shared.kept
    assert not shared.open


def test_chunks_hold_every_row_once_and_little_padding() -> None:
    lengths = [np.array(each) for each in LENGTHS]
    with patch.object(batched, "CHUNK", {"cpu": 12 * HIDDEN}):
        found = batched.chunks(lengths, HIDDEN, torch.device("cpu"))
    every = np.concatenate(lengths)
    assert sorted(np.concatenate([chunk.row for chunk in found]).tolist()) == list(range(len(every)))
    assert sorted(torch.cat([chunk.flat for chunk in found]).tolist()) == list(range(int(every.sum())))
    owners = np.repeat(np.arange(len(lengths)), [len(each) for each in lengths])
    for chunk, after in zip(found, [*found[1:], None], strict=True):
        assert chunk.lengths.tolist() == every[chunk.row].tolist()
        assert chunk.owner.tolist() == owners[chunk.row].tolist()
        assert chunk.width == max(chunk.lengths.tolist())
        assert len(chunk.row) == 1 or len(chunk.row) * chunk.width <= 12 + chunk.width / 2
        assert after is None or after.width <= min(chunk.lengths.tolist()), "rows are not sorted by length"
