"""The model as a source of work: shapes as declared, executors agree, memory is what a client owns."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score
from small_models import CLASSES, VOCABULARY, batch_of, made, outlined, perturbed, samples
from torch import Tensor

from elsa_sim.learning.aggregation.rules.mean import Mean
from elsa_sim.learning.backbone.flops import Formulas
from elsa_sim.learning.backbone.model import Objective
from elsa_sim.learning.backbone.options import BackboneOptions, LoraOptions, Part, three_parts
from elsa_sim.learning.execution.executor import Batched, Executor, TimingOnly
from elsa_sim.learning.execution.work import Ref, Spec, TensorSpec, Work
from elsa_sim.learning.tasks.base import Split
from elsa_sim.learning.tasks.data import Batch, Batches, in_chunks
from elsa_sim.learning.training.model import Model, Trained
from elsa_sim.learning.training.optim import FLOPS_PER_PARAMETER, Moments, Optimizer

LAYERS = 4
PARTS = three_parts(LAYERS, 1, 2)
ADAMW = Optimizer(0.01, 0.1)


@cache
def model(
    objective: Objective = "classification", *, outline: bool = False, dtype: torch.dtype = torch.float32
) -> Model:
    name = "tiny-bert" if objective == "classification" else "tiny-gpt2"
    options = BackboneOptions(name=name, lora=LoraOptions(rank=2))
    backbone = made(options, objective, meta=outline)
    return Model(backbone if outline else backbone.to(dtype), Formulas(outlined(options, objective)))


def start(of: Model) -> Ref:
    if of.backbone.outline:
        return of.initial()
    return Ref.of(perturbed(of.backbone.initial()), dict(of.specs))


@dataclass
class Local:
    """What one client and its server have after some steps."""

    losses: list[Ref]
    parts: tuple[Trained, ...]

    @property
    def adapters(self) -> Ref:
        return Ref.merge([trained.adapters for trained in self.parts])


def split_steps(of: Model, executor: Executor, theta: Ref, batches: Iterable[Batch]) -> Iterator[Local]:
    """Split training step by step, so that clients can take turns."""
    bottom, middle, top = (of.take(part, theta) for part in PARTS)
    losses: list[Ref] = []
    for batch in batches:
        h1, saved1 = executor.finish(of.forward(bottom, batch, batch.lengths))
        yield Local(losses, (bottom, middle, top))
        h2, saved2 = executor.finish(of.forward(middle, h1, batch.lengths))
        g2, *after3, loss = executor.finish(of.learn(top, h2, batch, ADAMW))
        yield Local(losses, (bottom, middle, top))
        g1, *after2 = executor.finish(of.backward(middle, saved2, g2, batch.lengths, ADAMW))
        _, *after1 = executor.finish(of.backward(bottom, saved1, g1, batch.lengths, ADAMW))
        bottom, middle, top = bottom.stepped(*after1), middle.stepped(*after2), top.stepped(*after3)
        losses.append(loss)
    yield Local(losses, (bottom, middle, top))


def whole_steps(of: Model, executor: Executor, theta: Ref, batches: Iterable[Batch]) -> Local:
    trained, losses = of.take(of.whole, theta), []
    for batch in batches:
        _, *after, loss = executor.finish(of.learn(trained, batch, batch, ADAMW))
        trained = trained.stepped(*after)
        losses.append(loss)
    return Local(losses, (trained,))


def some_batches(count: int, stream: int) -> list[Batch]:
    split = samples(24)
    return list(islice(Batches(split, np.arange(24), 4, 0, np.random.default_rng(stream)), count))


def train(of: Model, executor: Executor, clients: int, steps: int, order: int = 0) -> list[Local]:
    """Clients take turns in a random order, like devices in simulated time."""
    theta, rng = start(of), np.random.default_rng(order)
    running = [split_steps(of, executor, theta, some_batches(steps, client)) for client in range(clients)]
    ended: dict[int, Local] = {}
    pending = list(range(clients))
    while pending:
        client = int(rng.choice(pending))
        try:
            ended[client] = next(running[client])
        except StopIteration:
            pending.remove(client)
    return [ended[client] for client in range(clients)]


def equal(one: Mapping[str, Tensor], two: Mapping[str, Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


# Values -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("objective", ["classification", "causal_lm"])
def test_several_split_steps_are_several_whole_steps(objective: Objective) -> None:
    of, batches = model(objective), some_batches(4, 0)
    *_, split = split_steps(of, Executor(), start(of), batches)
    together = whole_steps(of, Executor(), start(of), batches)
    for one, two in zip(split.losses, together.losses, strict=True):
        torch.testing.assert_close(one.value, two.value, rtol=1e-5, atol=0)
    theta, other = split.adapters.value, together.parts[0].adapters.value
    assert theta.keys() == other.keys() == of.specs.keys()
    before = start(of).value
    for name in theta:
        # AdamW divides a gradient by its own size, so rounding of a tiny one moves a parameter by up to a step.
        moved = (other[name] - before[name]).norm()
        assert moved > 0
        assert (theta[name] - other[name]).norm() < 1e-2 * moved


def close(one: Mapping[str, Tensor], two: Mapping[str, Tensor], within: float = 1e-4) -> bool:
    """Equal but for rounding, of which AdamW makes more where gradients are tiny: ``within`` the norm of all."""
    assert one.keys() == two.keys()
    apart, size = (
        sum(float(t.square().sum()) for t in each) for each in ([one[n] - two[n] for n in one], two.values())
    )
    return apart <= within**2 * size


@pytest.mark.parametrize("objective", ["classification", "causal_lm"])
@pytest.mark.parametrize("together", [0, 1.5, 100], ids=["one by one", "two chains", "all chains"])
def test_batched_training_is_serial_training(objective: Objective, together: float) -> None:
    """In double precision, so that what differs is no rounding.

    AdamW divides a gradient by its own size. Where that is as tiny as the rounding of what it is the sum of, the step is of
    any size up to the learning rate, and the next gradients are others; how tiny that is differs between processors.
    """
    of = model(objective, dtype=torch.float64)
    expected = train(of, Executor(), clients=3, steps=3, order=1)
    first = some_batches(1, 0)[0]
    budget = together * of.forward(of.take(PARTS[0], start(of)), first, first.lengths).function.footprint
    for order in (1, 2):
        batched = train(of, Batched(), clients=3, steps=3, order=order)
        assert not any(loss.ready for local in batched for loss in local.losses)
        with (
            patch("elsa_sim.learning.execution.scheduler.BUDGET", budget),
            patch("elsa_sim.learning.training.batched.CHUNK", {"cpu": 20 * of.hidden}),
        ):
            _ = batched[1].losses[-1].value
        for one, two in zip(batched, expected, strict=True):
            mine, theirs = ([float(loss.value) for loss in local.losses] for local in (one, two))
            assert mine == pytest.approx(theirs, rel=1e-10)
            assert close(one.adapters.value, two.adapters.value, 1e-10)
            for a, b in zip(one.parts, two.parts, strict=True):
                assert a.moments.value.step == b.moments.value.step == 3
                assert close(a.moments.value.first, b.moments.value.first, 1e-10)
                assert close(a.moments.value.second, b.moments.value.second, 1e-10)


def test_aggregation_may_be_pending_too() -> None:
    of, values = model(), {}
    for name, executor in (("serial", Executor()), ("batched", Batched())):
        locals_ = train(of, executor, clients=2, steps=1)
        (merged,) = executor.finish(of.aggregate(Mean(), [local.adapters for local in locals_], [1.0, 3.0], start(of)))
        values[name] = merged.value
        expected = [
            0.25 * a + 0.75 * b for a, b in zip(*(local.adapters.value.values() for local in locals_), strict=True)
        ]
        for tensor, value in zip(merged.value.values(), expected, strict=True):
            torch.testing.assert_close(tensor, value)
    assert close(values["serial"], values["batched"])


class Witness(Executor):
    """Checks every value against its declared shape, and remembers the work."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[tuple[str, float, tuple[Spec, ...]]] = []

    def finish(self, work: Work) -> tuple[Ref, ...]:
        refs = super().finish(work)
        self.done.append((work.label, work.flops, work.outputs))
        for ref in refs:
            matches(ref.value, ref.spec)
        return refs


class Outline(TimingOnly):
    """Remembers the work that it does not do."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[tuple[str, float, tuple[Spec, ...]]] = []

    def finish(self, work: Work) -> tuple[Ref, ...]:
        self.done.append((work.label, work.flops, work.outputs))
        return super().finish(work)


def matches(value: Any, spec: Spec) -> None:
    if isinstance(spec, TensorSpec):
        assert (tuple(value.shape), f"torch.{spec.dtype}") == (spec.shape, str(value.dtype))
    elif isinstance(spec, Mapping):
        assert value.keys() == spec.keys()
        for name in spec:
            matches(value[name], spec[name])


@pytest.mark.parametrize("objective", ["classification", "causal_lm"])
def test_shapes_are_as_declared_and_known_without_arithmetic(objective: Objective) -> None:
    witness, outline = Witness(), Outline()
    for executor, of in ((witness, model(objective)), (outline, model(objective, outline=True))):
        locals_ = train(of, executor, clients=2, steps=2)
        executor.finish(of.aggregate(Mean(), [local.adapters for local in locals_], [1.0, 1.0], start(of)))
        whole_steps(of, executor, start(of), some_batches(1, 0))
    assert witness.done == outline.done
    assert len(witness.done) == 2 * 2 * 5 + 2


def test_a_tensor_without_a_part_in_training_is_left_alone() -> None:
    """A first part of embeddings alone has nothing to train."""
    of, batch = model(), batch_of([4, 3])
    bottom = of.take(three_parts(LAYERS, 0, 1)[0], start(of))
    assert bottom.adapters.spec == {}
    h1, saved = Executor().finish(of.forward(bottom, batch, batch.lengths))
    gradient = Ref.of(torch.ones(h1.spec.shape), h1.spec)
    to_input, adapters, moments = Executor().finish(of.backward(bottom, saved, gradient, batch.lengths, ADAMW))
    assert (to_input.value, adapters.value, moments.value) == (None, {}, None)


# FLOPs --------------------------------------------------------------------------------------------------------------


def test_flops_of_work_are_those_counted_and_the_update() -> None:
    of, batch = model(), batch_of([4, 3, 6])
    theta, counter = start(of), of.formulas
    bottom, middle, top = (of.take(part, theta) for part in PARTS)
    sizes = [sum(spec.numel for spec in trained.adapters.spec.values()) for trained in (bottom, middle, top)]
    shape = (3, 6)
    forward = of.forward(bottom, batch, batch.lengths)
    learn = of.learn(top, Ref(of.states(13)), batch, ADAMW)
    backward = of.backward(middle, Ref(None), Ref(of.states(13)), batch.lengths, ADAMW)
    mean = of.aggregate(Mean(), [theta, theta, theta], [1.0] * 3, start(of))
    assert (forward.label, forward.flops) == ("part1.forward", counter.flops(PARTS[0], "forward", *shape))
    assert learn.label == "part3.learn"
    assert learn.flops == counter.flops(PARTS[2], "learn", *shape) + FLOPS_PER_PARAMETER * sizes[2]
    assert backward.label == "part2.backward"
    assert backward.flops == counter.flops(PARTS[1], "backward", *shape) + FLOPS_PER_PARAMETER * sizes[1]
    assert (mean.label, mean.flops) == ("aggregate", 2.0 * 3 * sum(spec.numel for spec in of.specs.values()))


# Memory -------------------------------------------------------------------------------------------------------------


def storages() -> dict[int, int]:
    """Address -> bytes of every tensor that lives."""
    gc.collect()
    found = [item for item in gc.get_objects() if issubclass(type(item), Tensor) and item.device.type == "cpu"]
    return {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in found if t.layout == torch.strided}


@pytest.mark.parametrize("executor", [Executor, Batched])
def test_a_client_costs_its_adapters_and_two_moments(executor: type[Executor]) -> None:
    of, clients = model(), 7
    theta = start(of)
    train(of, executor(), 1, 1)  # whatever is made once
    before = storages()
    locals_ = train(of, executor(), clients, 2)
    for local in locals_:
        _ = local.adapters.value, [trained.moments.value for trained in local.parts]
    losses = [float(loss.value) for local in locals_ for loss in local.losses]
    for local in locals_:
        local.losses.clear()
    new = {address: size for address, size in storages().items() if address not in before}
    adapters = sum(spec.nbytes for spec in of.specs.values())
    shared = adapters  # the adapters that training began with
    assert sum(new.values()) <= clients * 3 * adapters + shared
    assert sum(new.values()) >= clients * 3 * adapters
    assert sum(before.values()) >= of.backbone.bytes(of.whole)
    assert max(new.values()) <= max(spec.nbytes for spec in of.specs.values()), "a tensor holds more than it shows"
    assert len(losses) == 2 * clients
    assert theta.ready


def test_a_client_shares_no_copy_of_frozen_tensors() -> None:
    of = model()
    (local,) = train(of, Executor(), 1, 1)
    frozen = {
        p.untyped_storage().data_ptr() for name, p in of.backbone.model.named_parameters() if name not in of.specs
    }
    for trained in local.parts:
        state: Moments = trained.moments.value
        assert (
            trained.adapters.value.keys() == state.first.keys() == state.second.keys() == set(of.names([trained.part]))
        )
        held = [*trained.adapters.value.values(), *state.first.values(), *state.second.values()]
        assert not frozen & {tensor.untyped_storage().data_ptr() for tensor in held}
        assert not any(tensor.requires_grad or tensor.grad_fn for tensor in held)


def test_adapters_after_a_broadcast_are_shared_until_they_are_trained() -> None:
    of = model()
    theta = of.initial()
    clients = [[of.take(part, theta) for part in PARTS] for _ in range(5)]
    for name in of.specs:
        holders = [t.adapters.value[name] for parts in clients for t in parts if name in t.adapters.value]
        assert {tensor.data_ptr() for tensor in holders} == {theta.value[name].data_ptr()}
        assert len(holders) == 5
    assert all(trained.moments is None for parts in clients for trained in parts)


def test_moments_stay_with_the_client_when_it_takes_over_adapters() -> None:
    of = model()
    (local,) = train(of, Executor(), 1, 2)
    again = of.take(PARTS[0], start(of), local.parts[0])
    assert again.moments is local.parts[0].moments
    assert equal(again.adapters.value, start(of).pick(of.names([PARTS[0]])).value)
    assert of.take(PARTS[0], start(of)).moments is None


def test_activations_exist_for_as_many_clients_as_the_budget_allows() -> None:
    """Chains beyond it wait until others are done; their saved activations do not pile up."""
    of, live, most = model(), set(), [0]
    locals_ = train(of, Batched(), clients=6, steps=2)
    original = of.backbone.forward

    def forward(part: Part, *rest: Any) -> Tensor:
        out = original(part, *rest)
        if out.grad_fn is not None:
            live.add(id(out))
            most[0] = max(most[0], len(live))
            weakref.finalize(out, live.discard, id(out))
        return out

    of.backbone.forward = forward
    try:
        with patch("elsa_sim.learning.execution.scheduler.BUDGET", 0):
            for local in locals_:
                _ = local.adapters.value
    finally:
        del of.backbone.forward
    assert 0 < most[0] <= 4, "the activations of several clients exist at once"


# Evaluation ---------------------------------------------------------------------------------------------------------


def evaluate(of: Model, theta: Mapping[str, Tensor], chunks: Iterable[Batch]) -> dict[str, float]:
    batches = list(chunks)
    adapters = Ref.of(theta, dict(of.specs))
    return of.score(
        [Executor().finish(of.evaluate_batch(of.whole, adapters, batch, batch)) for batch in batches], batches
    )


def test_metrics_of_classification() -> None:
    of, split = model(), samples(28)
    theta = start(of).value
    metrics = evaluate(of, theta, in_chunks(split, 40, 0))
    logits = []
    for index in range(28):
        tokens = torch.from_numpy(split.tokens(index).astype(np.int64))[None]
        logits.append(of.backbone.call(theta, of.whole, tokens, torch.tensor([tokens.shape[1]]))[0].detach())
    labels = torch.from_numpy(split.labels)
    guess = torch.stack(logits).argmax(-1)
    assert metrics["accuracy"] == pytest.approx(float((guess == labels).double().mean()))
    assert metrics["macro_f1"] == pytest.approx(f1_score(labels, guess, average="macro"))
    assert metrics["loss"] == pytest.approx(
        float(torch.nn.functional.cross_entropy(torch.stack(logits), labels)), rel=1e-5
    )
    whole = evaluate(of, theta, in_chunks(split, 10**6, 0))
    assert whole == pytest.approx(metrics, rel=1e-5), "metrics depend on the size of the chunks"


def test_metrics_of_language_modelling_weigh_tokens() -> None:
    of = model("causal_lm")
    split = Split.of([row.tolist() for row in map(samples(12).tokens, range(12))])
    theta = start(of).value
    small, large = (evaluate(of, theta, in_chunks(split, budget, 0)) for budget in (10, 10**6))
    assert small == pytest.approx(large, rel=1e-5)
    assert small.keys() == {"loss", "perplexity"}
    assert small["perplexity"] == pytest.approx(np.exp(small["loss"]))
    uniform = evaluate(of, {n: torch.zeros_like(t) for n, t in theta.items()}, in_chunks(split, 50, 0))
    assert 0.5 * np.log(VOCABULARY) < uniform["loss"] < 2 * np.log(VOCABULARY)


def test_a_hopeless_loss_has_a_finite_perplexity(monkeypatch: pytest.MonkeyPatch) -> None:
    of = model("causal_lm")
    monkeypatch.setattr("elsa_sim.learning.training.reference.loss", lambda *_: torch.tensor(1e6))
    split = Split.of([[5, 6, 7]])
    assert np.isfinite(evaluate(of, start(of).value, in_chunks(split, 50, 0))["perplexity"])


def test_evaluation_keeps_nothing() -> None:
    of = model()
    theta = {name: tensor.requires_grad_() for name, tensor in start(of).value.items()}
    before = storages()
    evaluate(of, theta, in_chunks(samples(CLASSES * 5), 64, 0))
    assert storages().keys() <= before.keys()
