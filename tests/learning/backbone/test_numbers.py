"""Types of numbers, quantised weights and layers computed again: formats, memory, wire, FLOPs, time, and the training itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from in_process import InProcess
from resumed import assert_same, killed_after
from small_models import CASES, LAYERS, LINEAR, PAD, batch_of, configuration, made, perturbed
from small_runs import HIDDEN, known, loaded, played, quick
from torch import nn
from transformers.pytorch_utils import Conv1D

from elsa_sim.base.errors import ScenarioError
from elsa_sim.learning.backbone.model import Objective
from elsa_sim.learning.backbone.numbers import Numbers
from elsa_sim.learning.backbone.options import BackboneOptions, LoraOptions, three_parts, whole
from elsa_sim.learning.backbone.quantized import NF4, dense_state, quantize
from elsa_sim.learning.execution.pools import POOLS
from elsa_sim.learning.training import batched, reference
from elsa_sim.run import checks, resuming, simulation, understood

FEDAVG = "protocol={kind: fedavg, rounds: 2, local_steps: 2, lr: 5.0e-3}"
ELSA = "protocol={kind: elsa, rounds: 2, local_steps: 2, lr: 5.0e-3}"
KINDS = {
    "bfloat16": "backbone.dtype=bfloat16",
    "float16": "backbone.dtype=float16",
    "int8": "backbone.quantize=int8",
    "nf4": "backbone.quantize=nf4",
    "again": "backbone.gradient_checkpointing=true",
}
ALL = ("backbone.dtype=bfloat16", "backbone.quantize=nf4", "backbone.gradient_checkpointing=true")


@pytest.mark.parametrize(
    ("numbers", "size"),
    [
        (Numbers(), 4 * 77),
        (Numbers("float16"), 2 * 77),
        (Numbers("bfloat16", "int8"), 77 + 4 * 11),
        (Numbers(quantize="nf4"), 39 + 4 * 2),
    ],
)
def test_bytes_of_a_layer(numbers: Numbers, size: int) -> None:
    assert numbers.linear(7, 11) == size
    layer = nn.ModuleList([nn.Linear(7, 11)])
    if numbers.quantize is not None:
        quantize(layer, numbers.quantize)
        held = (layer[0].weight, layer[0].scale)
        assert sum(t.numel() * t.element_size() for t in held) == size


def stored(how: str, rows: int, columns: int, conv: bool = False) -> tuple[torch.Tensor, nn.Module]:
    torch.manual_seed(3)
    layers = nn.ModuleList([Conv1D(rows, columns) if conv else nn.Linear(columns, rows)]).requires_grad_(False)
    weight = layers[0].weight.clone()
    layers[0].weight.mul_(3.0)
    layers[0].weight.div_(3.0)
    quantize(layers, how)  # type: ignore[arg-type]
    return weight.t() if conv else weight, layers[0]


def test_eight_bits_are_within_half_a_step_of_their_row() -> None:
    weight, layer = stored("int8", 5, 9)
    found = layer.dense(torch.float32)  # type: ignore[operator]
    steps = weight.abs().amax(1, keepdim=True) / 127
    assert ((found - weight).abs() <= steps * 0.5001).all()
    assert ((found - weight).abs() > steps * 0.3).any(), "something was rounded"


@pytest.mark.parametrize(("rows", "columns"), [(4, 32), (5, 7), (1, 1), (3, 43)])
def test_four_bits_are_the_nearest_of_sixteen_values_of_their_block(rows: int, columns: int) -> None:
    weight, layer = stored("nf4", rows, columns)
    found = layer.dense(torch.float32).flatten()  # type: ignore[operator]
    flat = weight.flatten()
    for start in range(0, len(flat), 64):
        block = flat[start : start + 64]
        values = torch.tensor(NF4) * block.abs().max()
        nearest = values[(block[:, None] - values).abs().argmin(1)]
        torch.testing.assert_close(found[start : start + 64], nearest)


def test_the_sixteen_values_are_quantiles_of_a_normal_distribution() -> None:
    """Eight steps up from 0 and seven down, of equal probability up to 0.9677 (arXiv:2305.14314, appendix E)."""
    from scipy.stats import norm

    up = norm.ppf(np.linspace(0.9677083, 0.5, 9)[:-1])
    down = -norm.ppf(np.linspace(0.9677083, 0.5, 8)[:-1])
    expected = np.sort(np.concatenate([up, [0.0], down])) / up.max()
    np.testing.assert_allclose(NF4, expected, atol=1e-6)


@pytest.mark.parametrize("how", ["int8", "nf4"])
@pytest.mark.parametrize("conv", [False, True])
def test_a_product_and_its_gradient_are_those_of_the_whole_weights(how: str, conv: bool) -> None:
    _, layer = stored(how, 24, 16, conv)
    dense, bias = layer.dense(torch.float32), layer.bias.detach()  # type: ignore[operator, union-attr]
    for dtype in (torch.float32, torch.bfloat16):
        x, seen = torch.randn(2, 3, 16).to(dtype).requires_grad_(), list[torch.Tensor]()
        layer.bias.data = bias.to(dtype)  # type: ignore[union-attr]
        with torch.autograd.graph.saved_tensors_hooks(seen.append, lambda t: t):
            out = layer(x)
        assert not seen, "weights are made whole again, not kept"
        out, expected = layer(x), nn.functional.linear(x, dense.to(dtype), bias.to(dtype))
        slope = torch.randn_like(expected)
        (ours,), (theirs,) = (torch.autograd.grad(each, x, slope) for each in (out, expected))
        close = {} if dtype == torch.float32 else {"rtol": 2e-2, "atol": 2e-2}
        torch.testing.assert_close(out, expected, **close)  # type: ignore[arg-type]
        torch.testing.assert_close(ours, theirs, **close)  # type: ignore[arg-type]
    layer.bias.data = bias  # type: ignore[union-attr]
    assert torch.equal(dense_state(nn.ModuleList([layer]))["0.weight"], dense.t() if conv else dense)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("protocol", [FEDAVG, ELSA, "protocol={kind: alignfed, rounds: 2, local_steps: 2, lr: 5.0e-3}"])
def test_training_is_close_to_float32_and_learns_something(protocol: str, kind: str) -> None:
    one, two = known(protocol), known(protocol, KINDS[kind])
    close = 1e-6 if kind == "again" else {"nf4": 3e-2}.get(kind, 3e-3)
    np.testing.assert_allclose(one.rounds["loss"], two.rounds["loss"], rtol=close)
    assert two.rounds["loss"].nunique() == len(two.rounds)
    if kind != "again":
        assert one.rounds["loss"].tolist() != two.rounds["loss"].tolist(), "something was rounded"


@pytest.mark.parametrize("kind", KINDS)
def test_clients_are_probed_and_judged_in_it(kind: str) -> None:
    probed = "protocol={kind: elsa, rounds: 2, local_steps: 1, trust: {}, clustering: similar, probing: {texts: 8, warm_up: 1}}"
    public = ("task.public=8", "task.train_size=98")
    one, two = known(probed, *public), known(probed, *public, KINDS[kind])
    np.testing.assert_allclose(one.rounds["loss"], two.rounds["loss"], rtol=3e-2)


@pytest.mark.parametrize("backbone", ["tiny-gpt2", "tiny-llama"])
def test_all_at_once_on_decoders(backbone: str) -> None:
    small = (
        "{num_hidden_layers: 3, hidden_size: 32, intermediate_size: 48, num_attention_heads: 2, num_key_value_heads: 2}"
    )
    config = {"tiny-gpt2": "{n_layer: 3, n_embd: 32, n_head: 2}", "tiny-llama": small}[backbone]
    task = "task={objective: causal_lm, kind: synthetic, train_size: 60, test_size: 20}"
    model = f"backbone={{name: {backbone}, config: {config}, lora: {{rank: 2, alpha: 4}}}}"
    one, two = played(ELSA, model, task), played(ELSA, model, task, *ALL)
    np.testing.assert_allclose(one.rounds["loss"], two.rounds["loss"], rtol=3e-2)


@pytest.mark.parametrize("kind", KINDS)
def test_executors_and_workers_agree(kind: str) -> None:
    batched = known(FEDAVG, KINDS[kind])
    for change in ("execution.executor=serial", "execution.workers=2"):
        with patch.dict(POOLS, local=InProcess):
            other = played(FEDAVG, KINDS[kind], change)
        np.testing.assert_allclose(batched.rounds["loss"], other.rounds["loss"], rtol=3e-3)
        assert batched.summary["timeline_sha256"] == other.summary["timeline_sha256"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "codec", ["codec={}", "codec={activation: [{kind: ssop, rank: 4}, {kind: sketch, rows: 3, columns: 8}]}"]
)
def test_timing_mode_has_the_timeline_of_real_arithmetic(kind: str, codec: str) -> None:
    real, timing = known(ELSA, KINDS[kind], codec), known(ELSA, KINDS[kind], codec, "execution.mode=timing")
    assert real.summary["timeline_sha256"] == timing.summary["timeline_sha256"]


def test_states_cross_in_their_type() -> None:
    single, half = (known(ELSA, *change).summary["bytes"]["by_kind"] for change in ((), (KINDS["bfloat16"],)))
    assert half["adapters"] == single["adapters"]
    ratio = half["gradient"] / single["gradient"]
    assert 0.5 < ratio < 0.52  # lengths and labels are no states
    (text,) = (
        text for name, text in understood.rows(checks.check(loaded(KINDS["bfloat16"]))) if name == "activation messages"
    )
    assert text == f"no codec: {2 * HIDDEN} B up and down per token, of {2 * HIDDEN} B"


def test_devices_have_the_speed_of_the_type() -> None:
    speeds = "devices={client: {speed: {float32: 1 GFLOP/s, bfloat16: 4 GFLOP/s}}}"
    one, two = known(FEDAVG, speeds), known(FEDAVG, speeds, KINDS["bfloat16"])
    assert two.summary["sim_time_s"] < one.summary["sim_time_s"]
    with pytest.raises(ScenarioError, match="computes in float16, and no speed is stated for it"):
        checks.check(loaded(FEDAVG, speeds, KINDS["float16"]))


def test_what_is_computed_again_takes_time_and_saves_memory() -> None:
    usual, again = known(FEDAVG), known(FEDAVG, KINDS["again"])
    assert usual.summary["sim_time_s"] < again.summary["sim_time_s"]
    assert usual.summary["bytes"] == again.summary["bytes"]
    plans = [checks.check(loaded(FEDAVG, *change)) for change in ((), (KINDS["again"],))]
    whole = plans[0].scenario.protocol.pattern.divide(plans[0].source.layers, 0, 0)
    kept = [plan.outline.activations(whole, 8, 16) for plan in plans]
    assert kept[1] < kept[0] / 2


def test_all_at_once_is_gone_on_with(tmp_path: Path) -> None:
    every = "checkpoint={every: 1}"
    whole = played(ELSA, *ALL, every, folder=tmp_path / "whole")
    killed_after(tmp_path / "whole", tmp_path / "again", 1)
    with quick():
        assert_same(resuming.resume(tmp_path / "again"), whole)


@pytest.mark.parametrize("kind", KINDS)
def test_adapters_are_kept_and_taken_up(tmp_path: Path, kind: str) -> None:
    first = played(FEDAVG, KINDS[kind], folder=tmp_path / "run")
    start = f"backbone.adapters={tmp_path / 'run' / 'adapters'}"
    with quick():
        again = simulation.run(loaded(FEDAVG, KINDS[kind], start))
    assert again.rounds["loss"].iloc[0] == pytest.approx(first.rounds["loss"].iloc[-1], rel=1e-3)
    if kind in ("int8", "nf4"):  # other weights, and not only other types of the same
        with quick(), pytest.raises(ScenarioError, match="trained on the frozen weights"):
            simulation.run(loaded(FEDAVG, start))


def test_what_was_understood_tells_it() -> None:
    said = dict(understood.rows(checks.check(loaded(*ALL))))
    assert (
        "frozen parameters; in bfloat16, linear layers stored as nf4, gradient checkpointing; LoRA" in said["backbone"]
    )
    assert "float32" not in dict(understood.rows(checks.check(loaded())))["backbone"]


@pytest.mark.parametrize("kind", ["bfloat16", "int8"])
def test_products_in_half_precision_are_for_float32_weights(kind: str) -> None:
    with pytest.raises(ScenarioError, match=r"execution\.precision: is for products of float32 weights"):
        checks.check(loaded(FEDAVG, KINDS[kind], "execution.precision=bfloat16"))
    checks.check(loaded(FEDAVG, KINDS["again"], "execution.precision=bfloat16"))


@pytest.mark.parametrize(
    "numbers", [{"dtype": "bfloat16", "quantize": "int8"}, {"gradient_checkpointing": True}], ids=str
)
@pytest.mark.parametrize(("family", "objective"), CASES)
def test_every_family_cut_is_the_family_uncut(
    tmp_path: Path, family: str, objective: Objective, numbers: dict[str, Any]
) -> None:
    """States in half precision, quantised weights, layers computed again: loss and gradients, one call and two as one."""
    lora = LoraOptions(rank=2, targets=LINEAR[family])
    options = BackboneOptions(name=str(configuration(tmp_path, family)), weights="random", lora=lora, **numbers)
    backbone, batch = made(options, objective, pad=PAD.get(family, 0)), batch_of([5, 9, 7])
    adapters, tokens = perturbed(backbone.initial(), scale=0.05), torch.from_numpy(batch.tokens)
    labels = torch.from_numpy(batch.labels) if objective == "classification" and batch.labels is not None else None
    first, middle, last = three_parts(LAYERS, 1, 1)
    one, kept = reference.forward(backbone, first, adapters, tokens, batch.lengths)
    two, also = reference.forward(backbone, middle, adapters, one, batch.lengths)
    assert one.dtype == two.dtype == backbone.dtype
    value, gradient, found = reference.learn(backbone, last, adapters, two, batch.lengths, tokens, labels)
    assert gradient is not None
    gradient, more = reference.backward(also, gradient)
    assert gradient is not None
    found |= more | reference.backward(kept, gradient)[1]
    whole_value, _, expected = reference.learn(backbone, whole(LAYERS), adapters, tokens, batch.lengths, tokens, labels)
    close = {"rtol": 1e-5, "atol": 1e-6} if backbone.dtype == torch.float32 else {"rtol": 1e-2, "atol": 1e-3}
    torch.testing.assert_close(value, whole_value, **close)
    for name, slope in expected.items():
        assert float((found[name] - slope).norm()) <= close["rtol"] * float(slope.norm()) + 1e-6, name
    stacks = {name: torch.stack([each, each]) for name, each in adapters.items()}
    packed = torch.cat([torch.from_numpy(row[:n]) for row, n in zip(batch.tokens, batch.lengths, strict=True)])
    twice = None if labels is None else torch.cat([labels, labels])
    values, _, sums = batched.learn(backbone, whole(LAYERS), stacks, torch.cat([packed, packed]),
                                    [batch.lengths, batch.lengths], torch.cat([packed, packed]), twice)  # fmt: skip
    torch.testing.assert_close(values[1], value, rtol=10 * close["rtol"], atol=close["atol"])
    for name, slope in expected.items():
        apart = float((sums[name][1] - slope).norm())
        assert apart <= (1e-4 if backbone.dtype == torch.float32 else 0.1) * float(slope.norm()) + 1e-5, name
