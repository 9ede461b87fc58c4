"""Frozen products in half precision: which layers, how close, and that nothing but rounding changes."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
from in_process import InProcess
from small_runs import loaded, played, quick
from torch import nn
from transformers.pytorch_utils import Conv1D

from elsa_sim.base.errors import ScenarioError
from elsa_sim.learning.backbone.precision import HalfConv1D, HalfLinear, halve
from elsa_sim.learning.execution.pools import POOLS
from elsa_sim.run import simulation

HALF = "execution.precision=bfloat16"
FEDAVG = "protocol={kind: fedavg, rounds: 2, local_steps: 2, lr: 5.0e-3}"


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float(((found - expected).norm() / expected.norm()).detach())


@pytest.mark.parametrize(
    "made", [lambda: nn.Linear(256, 64), lambda: nn.Linear(256, 64, bias=False), lambda: Conv1D(64, 256)]
)
def test_a_product_and_its_gradient_are_close_and_in_the_type_of_the_input(made: object) -> None:
    model = nn.ModuleDict({"layer": made()})  # type: ignore[operator]
    model.requires_grad_(False)
    x = torch.randn(3, 5, 256, requires_grad=True)
    before = model["layer"](x)
    (slope,) = torch.autograd.grad(before.square().sum(), x)
    halve(model, ())
    assert isinstance(model["layer"], HalfLinear | HalfConv1D)
    assert model["layer"].weight.dtype == torch.bfloat16
    after = model["layer"](x)
    (other,) = torch.autograd.grad(after.square().sum(), x)
    assert after.dtype == other.dtype == torch.float32
    assert 1e-6 < relative(after, before) < 2**-7
    assert 1e-6 < relative(other, slope) < 2**-6


def test_what_is_trained_or_tied_stays_as_it_is() -> None:
    model = nn.ModuleDict(
        {"frozen": nn.Linear(4, 4), "trained": nn.Linear(4, 4), "table": nn.Embedding(4, 4), "tied": nn.Linear(4, 4)}
    )
    model["tied"].weight = model["table"].weight  # type: ignore[assignment]
    halve(model, ("trained.weight",))
    kinds = {name: type(each) for name, each in model.items()}
    assert kinds == {"frozen": HalfLinear, "trained": nn.Linear, "tied": nn.Linear, "table": nn.Embedding}


@pytest.mark.parametrize("backbone", ["tiny-bert", "tiny-gpt2", "tiny-llama"])
@pytest.mark.parametrize("protocol", [FEDAVG, "protocol={kind: elsa, rounds: 2, local_steps: 2, lr: 5.0e-3}"])
def test_a_run_is_close_and_its_timeline_the_same(backbone: str, protocol: str) -> None:
    small = "{num_hidden_layers: 3, hidden_size: 32, intermediate_size: 48, num_attention_heads: 2}"
    config = {"tiny-bert": small, "tiny-gpt2": "{n_layer: 3, n_embd: 32, n_head: 2}",
              "tiny-llama": small.replace("}", ", num_key_value_heads: 2}")}[backbone]  # fmt: skip
    model = f"backbone={{name: {backbone}, config: {config}, lora: {{rank: 2, alpha: 4}}}}"
    one, two = played(protocol, model), played(protocol, model, HALF)
    assert one.summary["timeline_sha256"] == two.summary["timeline_sha256"]
    np.testing.assert_allclose(one.rounds["loss"], two.rounds["loss"], rtol=1e-3)
    assert one.rounds["loss"].tolist() != two.rounds["loss"].tolist(), "something was rounded"


def test_executors_and_workers_agree() -> None:
    batched = played(FEDAVG, HALF)
    for change in ("execution.executor=serial", "execution.workers=2"):
        with patch.dict(POOLS, local=InProcess):
            other = played(FEDAVG, HALF, change)
        np.testing.assert_allclose(batched.rounds["loss"], other.rounds["loss"], rtol=1e-3)


def test_adapters_are_kept_and_taken_up(tmp_path: Path) -> None:
    first = played(FEDAVG, HALF, folder=tmp_path / "run")
    start = f"backbone.adapters={tmp_path / 'run' / 'adapters'}"
    with quick():
        again = simulation.run(loaded(FEDAVG, HALF, start))
    assert again.rounds["loss"].iloc[0] == pytest.approx(first.rounds["loss"].iloc[-1], rel=1e-3)


def test_without_arithmetic_it_has_no_effect() -> None:
    with pytest.raises(ScenarioError, match="precision has no effect in timing mode"):
        loaded(HALF, "execution.mode=timing")
