"""Kernels: many calls as one are each call alone, wherever their activations come from; and what a pass keeps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from small_models import batch_of, made, perturbed
from torch import Tensor

from elsa_sim.learning.backbone.model import Backbone, Objective
from elsa_sim.learning.backbone.options import BackboneOptions, LoraOptions, Part, three_parts
from elsa_sim.learning.tasks.data import Batch, joined
from elsa_sim.learning.training.kernels import Backward, Forward, Infer, Learn, LearnJointly
from elsa_sim.learning.training.optim import Moments, Optimizer

PARTS = three_parts(4, 1, 1)
MIDDLE, TOP = PARTS[1:]
ADAMW = Optimizer(0.01, 0.1)
BATCHES = [batch_of(lengths, seed=seed) for seed, lengths in enumerate(([7, 3, 4], [5, 5], [2, 8, 3], [4]))]


def backbone_of(objective: Objective = "classification", layers: int = 4) -> Backbone:
    name, field = ("tiny-bert", "num_hidden_layers") if objective == "classification" else ("tiny-gpt2", "n_layer")
    options = BackboneOptions(name=name, lora=LoraOptions(rank=2), config={field: layers})
    return made(options, objective).double()


def draws(seed: int, backbone: Backbone) -> Iterator[Tensor]:
    """States or gradients [n, D], one per batch."""
    draw = torch.Generator().manual_seed(seed)
    for batch in BATCHES:
        yield torch.randn(batch.valid, backbone.hidden, generator=draw, dtype=torch.float64)


def same(ours: Any, theirs: Any) -> None:
    """Of one value of a kernel."""
    assert type(ours) is type(theirs)
    if isinstance(ours, Moments):
        assert ours.step == theirs.step
        same(ours.first, theirs.first)
        same(ours.second, theirs.second)
    elif isinstance(ours, dict):
        assert ours.keys() == theirs.keys()
        for name in ours:
            same(ours[name], theirs[name])
    elif ours is not None:
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 1, 0, 2], [2, 3, 1, 0]], ids=str)
def test_activations_of_different_forward_passes_are_not_mixed(order: list[int]) -> None:
    """Calls 0 and 2 of one forward pass, 1 and 3 of another (3 is not asked for), and a fifth that ran alone."""
    backbone = backbone_of()
    theta = [perturbed(backbone.initial(), seed) for seed in range(len(BATCHES))]
    states, gradients = list(draws(1, backbone)), list(draws(2, backbone))
    forwards = [(Forward(backbone, MIDDLE, batch.lengths), (theta[i], states[i])) for i, batch in enumerate(BATCHES)]
    saved: dict[int, Any] = {}
    for group in ([0, 2], [1, 3]):
        for i, (_, each) in zip(group, forwards[0][0].together([forwards[i] for i in group]), strict=True):
            saved[i] = each
    alone = forwards[3][0](*forwards[3][1])[1]
    calls, expected = [], []
    for i in order:
        kernel = Backward(backbone, MIDDLE, BATCHES[i].lengths, ADAMW)
        mine = alone if i == 3 else saved[i]
        calls.append((kernel, (theta[i], None, None, mine, gradients[i])))
        reference = forwards[i][0](*forwards[i][1])[1]
        expected.append(kernel(theta[i], None, None, reference, gradients[i]))
    for ours, theirs in zip(calls[0][0].together(calls), expected, strict=True):
        for one, two in zip(ours, theirs, strict=True):
            same(one, two)
    assert saved[3].shared.kept, "one whose backward pass is still to come lost its activations"


def test_what_was_computed_together_may_be_used_alone() -> None:
    backbone = backbone_of()
    theta, states, gradients = perturbed(backbone.initial()), list(draws(1, backbone)), list(draws(2, backbone))
    kernels = [Forward(backbone, MIDDLE, batch.lengths) for batch in BATCHES]
    together = kernels[0].together([(kernel, (theta, x)) for kernel, x in zip(kernels, states, strict=True)])
    kernel = Backward(backbone, MIDDLE, BATCHES[2].lengths, ADAMW)
    ours = kernel(theta, None, None, together[2][1], gradients[2])
    theirs = kernel(theta, None, None, kernels[2](theta, states[2])[1], gradients[2])
    for one, two in zip(ours, theirs, strict=True):
        same(one, two)


@pytest.mark.parametrize("objective", ["classification", "causal_lm"])
def test_learning_together_is_learning_alone(objective: Objective) -> None:
    backbone = backbone_of(objective)
    theta = [perturbed(backbone.initial(), seed) for seed in range(len(BATCHES))]
    own = [batch if objective == "classification" else Batch(batch.tokens, batch.lengths, None) for batch in BATCHES]
    calls: list[Any] = []
    for i, x in enumerate(draws(1, backbone)):
        if own[i].lengths.min() > 1:
            calls.append((Learn(backbone, TOP, own[i].lengths, ADAMW, own[i]), (theta[i], None, None, x)))
    for (kernel, inputs), ours in zip(calls, calls[0][0].together(calls), strict=True):
        for one, two in zip(ours, kernel(*inputs), strict=True):
            same(one, two)


@pytest.mark.parametrize("objective", ["classification", "causal_lm"])
def test_one_batch_of_several_clients_is_their_joined_batch(objective: Objective) -> None:
    backbone = backbone_of(objective)
    theta, states = perturbed(backbone.initial()), list(draws(1, backbone))
    own = [batch if objective == "classification" else Batch(batch.tokens, batch.lengths, None) for batch in BATCHES]
    batch = joined(own)
    *to_inputs, adapters, moments, loss = LearnJointly(backbone, TOP, batch.lengths, ADAMW, batch)(
        theta, None, None, *states
    )
    learn = Learn(backbone, TOP, batch.lengths, ADAMW, batch)
    to_input, *expected = learn(theta, None, None, torch.cat(states))
    same(torch.cat(to_inputs), to_input)
    assert [len(each) for each in to_inputs] == [each.valid for each in own]
    for one, two in zip((adapters, moments, loss), expected, strict=True):
        same(one, two)


# What a pass keeps --------------------------------------------------------------------------------------------------


def kept(backbone: Backbone, batch: Batch) -> int:
    """Bytes that autograd keeps of a pass through all layers, the frozen model left out."""
    own = {p.untyped_storage().data_ptr() for p in backbone.parameters()}
    seen: dict[int, Tensor] = {}  # held, so that no address is used twice

    def pack(tensor: Tensor) -> Tensor:
        if (address := tensor.untyped_storage().data_ptr()) not in own:
            seen[address] = tensor
        return tensor

    part = Part("body", 0, backbone.layers, first=True)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        Forward(backbone, part, batch.lengths)(perturbed(backbone.initial()), batch)
    return sum(tensor.untyped_storage().nbytes() for tensor in seen.values())


@pytest.mark.parametrize("objective", ["classification", "causal_lm"])
@pytest.mark.parametrize("layers", [2, 4, 8])
def test_the_footprint_is_about_what_a_pass_keeps(objective: Objective, layers: int) -> None:
    """Of the bounds on what is under way at a time: within a factor of two, in layers, tokens and hidden size."""
    backbone = backbone_of(objective, layers).float()
    for lengths in ([16] * 4, [24] * 8):
        batch = batch_of(lengths)
        told = Forward(backbone, Part("part1", 0, 1, first=True), batch.lengths).footprint
        assert 0.5 < told / kept(backbone, batch) < 2.0


def test_a_pass_that_keeps_nothing_counts_its_output() -> None:
    backbone, batch = backbone_of(), BATCHES[0]
    told = Infer(backbone, MIDDLE, batch.lengths).footprint
    assert told == 4 * backbone.hidden * batch.valid
