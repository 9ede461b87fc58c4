"""Layers that do not read a subspace: they compute as if it were empty, and the residual stream carries it through."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from small_models import CONFIGS, LAYERS, small

from elsa_sim.learning.backbone.options import Part
from elsa_sim.learning.backbone.unread import leave_unread

RANK = 3


def directions(width: int) -> torch.Tensor:
    draw = torch.Generator().manual_seed(1)
    return torch.linalg.qr(torch.randn(width, RANK, generator=draw, dtype=torch.float64))[0].float()


@pytest.mark.parametrize("family", CONFIGS)
def test_what_lies_along_the_directions_changes_no_other_token_and_passes(tmp_path: Path, family: str) -> None:
    """A token's neighbours see it through attention only, and that does not read V. A layer that reads all does."""
    backbone = small(tmp_path, family)
    v, lengths = directions(backbone.hidden), torch.tensor([6])
    x = torch.randn(1, 6, backbone.hidden, generator=torch.Generator().manual_seed(2))
    moved = x.clone()
    moved[0, 2] += 2.0 * v[:, 0]
    part = Part("part", 0, 1)
    others = [0, 1, 3, 4, 5]

    def apart() -> tuple[float, float]:
        with torch.no_grad():
            change = backbone.forward(part, moved, lengths) - backbone.forward(part, x, lengths)
        return float(change[0, others].norm()), float((change[0, 2] @ v).norm())

    reading, _ = apart()
    leave_unread(backbone, v, range(1))
    unread, passed = apart()
    assert reading > 1e-4
    assert unread < 1e-5
    assert passed > 0.1, "the stream carries it on"


def test_a_table_of_positions_is_read_as_it_is(tmp_path: Path) -> None:
    """What attention reads of states without V is what it read before, whatever its table of positions has along V."""
    plain, backbone = small(tmp_path, "deberta-v2"), small(tmp_path, "deberta-v2")
    v, lengths, part = directions(backbone.hidden), torch.tensor([6]), Part("part", 0, 1)
    backbone.family.readers = backbone.family.readers[:3]  # the feed-forward block sees states that have V again
    leave_unread(backbone, v, range(1))
    x = torch.randn(1, 6, backbone.hidden, generator=torch.Generator().manual_seed(2))
    x = x - (x @ v) @ v.t()
    with torch.no_grad():
        torch.testing.assert_close(backbone.forward(part, x, lengths), plain.forward(part, x, lengths))


def test_only_the_layers_that_are_named_leave_it_unread(tmp_path: Path) -> None:
    plain, backbone = small(tmp_path, "bert"), small(tmp_path, "bert")
    leave_unread(backbone, directions(backbone.hidden), range(1, LAYERS))
    x = torch.randn(2, 5, backbone.hidden, generator=torch.Generator().manual_seed(2))
    lengths = torch.tensor([5, 4])
    with torch.no_grad():
        for layer in range(LAYERS):
            part = Part("part", layer, layer + 1)
            same = torch.equal(plain.forward(part, x, lengths), backbone.forward(part, x, lengths))
            assert same == (layer == 0)


def test_workers_leave_it_unread_too(tmp_path: Path) -> None:
    backbone = small(tmp_path, "bert")
    leave_unread(backbone, directions(backbone.hidden), range(LAYERS))
    copied = pickle.loads(pickle.dumps(backbone))
    x, lengths, part = torch.ones(1, 4, backbone.hidden), torch.tensor([4]), Part("part", 0, LAYERS)
    with torch.no_grad():
        assert torch.equal(backbone.forward(part, x, lengths), copied.forward(part, x, lengths))


def test_adapters_do_not_read_it_either(tmp_path: Path) -> None:
    """The gradient of an adapter's first matrix has nothing along V."""
    backbone = small(tmp_path, "bert")
    v = directions(backbone.hidden)
    leave_unread(backbone, v, range(LAYERS))
    part = Part("part", 0, LAYERS)
    leaves = {n: t.requires_grad_() for n, t in backbone.initial().items() if n in backbone.names(part)}
    for name, tensor in leaves.items():
        if "lora_B" in name:
            leaves[name] = (tensor.detach() + 0.1).requires_grad_()
    out = backbone.call(leaves, part, torch.randn(2, 5, backbone.hidden), torch.tensor([5, 5]))
    first = [name for name in leaves if "lora_A" in name]
    found = torch.autograd.grad(out.square().sum(), [leaves[name] for name in first])
    assert first
    for gradient in found:
        assert gradient.norm() > 0
        assert (gradient @ v).norm() < 1e-4 * gradient.norm()
