"""The model as a source of work: what a protocol can ask to be computed.

Every method builds a :class:`Work` whose shapes and FLOPs are known; nothing runs here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache, lru_cache
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np

from ..aggregation import server_optim
from ..aggregation.alignment import Align, Change, module_of
from ..aggregation.base import Aggregate, Aggregation, DeferredWeights, Fixed, MergeChanges
from ..aggregation.server_optim import Adaptive
from ..backbone.options import Part, whole
from ..execution.work import LOCAL, Ref, Spec, TensorSpec, Work
from ..tasks.data import Batch, joined
from .kernels import Backward, EvaluateBatch, Forward, Infer, Learn, LearnJointly
from .optim import FLOPS_PER_PARAMETER, PROXIMAL_FLOPS, Optimizer

if TYPE_CHECKING:
    from ..backbone.blueprint import Blueprint
    from ..backbone.flops import Formulas
    from ..backbone.model import Backbone


class Trained(NamedTuple):
    """The adapters of one part in training, at one place: values, optimizer moments, and where training began."""

    part: Part
    adapters: Ref
    moments: Ref | None = None
    anchor: Ref | None = None

    def stepped(self, adapters: Ref, moments: Ref) -> Trained:
        """After one optimizer step."""
        return Trained(self.part, adapters, moments, self.anchor)


class Model:
    """Builds work on one shared frozen backbone."""

    def __init__(self, backbone: Backbone | Blueprint, formulas: Formulas) -> None:
        self.backbone = cast("Backbone", backbone)  # nothing is computed on a blueprint
        self.formulas = formulas
        self.layers, self.hidden, self.specs = backbone.layers, backbone.hidden, backbone.specs
        self.dtype = str(backbone.dtype).removeprefix("torch.")
        self.whole = whole(backbone.layers)
        self._numel = cache(lambda names: sum(self.specs[name].numel for name in names))
        #: Shape and type of so many packed tokens' hidden states.
        self.states = cache(lambda count: TensorSpec((count, self.hidden), self.dtype))

    def optimizer(self, lr: float, weight_decay: float, proximal: float = 0.0) -> Optimizer:
        """AdamW with these options."""
        return Optimizer(lr, weight_decay, proximal)

    def adaptive(self, lr: float, beta1: float, beta2: float, tau: float, maximum: bool) -> Adaptive:
        """FedAdam's step of a server; FedAMS' with ``maximum``."""
        return Adaptive(lr, beta1, beta2, tau, maximum)

    def initial(self) -> Ref:
        """The adapters everyone starts from (without values if the backbone has shapes only)."""
        if self.backbone.outline:
            return Ref(dict(self.specs))
        return Ref.of(self.backbone.initial(), dict(self.specs))

    def names(self, parts: Iterable[Part]) -> tuple[str, ...]:
        """Names of the trained tensors in any of ``parts``."""
        return tuple(name for part in parts for name in self.backbone.names(part))

    def take(self, part: Part, adapters: Ref, before: Trained | None = None) -> Trained:
        """Take over ``adapters`` for training ``part``, with the optimizer moments of ``before`` if given."""
        own = adapters.pick(self.backbone.names(part))
        return Trained(part, own, before.moments if before else None, own)

    def forward(self, trained: Trained, x: Ref | Batch, lengths: np.ndarray) -> Work:
        """Forward pass of a part without head, of a batch or of packed states of sequences of ``lengths``.

        Outputs: packed states [n, D]; the saved activations.
        """
        longest, total = _extent(lengths)
        flops = self.formulas.flops(trained.part, "forward", len(lengths), longest)
        outputs: tuple[Spec, ...] = (self.states(total), LOCAL)
        kernel = Forward(self.backbone, trained.part, lengths)
        return Work(f"{trained.part.name}.forward", kernel, (trained.adapters, x), outputs, flops)

    def backward(self, trained: Trained, saved: Ref, gradient: Ref, lengths: np.ndarray, optimizer: Optimizer) -> Work:
        """Backward pass of a part without head, and its update.

        Outputs: gradient of the packed input [n, D] (``None`` for token ids); updated adapters; moments.
        """
        flops = self.update_flops(trained, optimizer)
        flops += self.formulas.flops(trained.part, "backward", len(lengths), _extent(lengths)[0])
        outputs = (None if trained.part.first else gradient.spec, trained.adapters.spec, None)
        inputs = (trained.adapters, trained.moments, _anchor(trained, optimizer), saved, gradient)
        kernel = Backward(self.backbone, trained.part, lengths, optimizer)
        return Work(f"{trained.part.name}.backward", kernel, inputs, outputs, flops, trained.adapters)

    def learn(self, trained: Trained, x: Ref | Batch, batch: Batch, optimizer: Optimizer) -> Work:
        """Forward, loss, backward and update of a part with the head.

        Outputs: gradient of the packed input (``None`` for token ids); updated adapters; moments; the loss.
        """
        flops = self.formulas.flops(trained.part, "learn", *batch.shape) + self.update_flops(trained, optimizer)
        outputs = (
            None if trained.part.first else self.states(batch.valid),
            trained.adapters.spec,
            None,
            TensorSpec(()),
        )
        inputs = (trained.adapters, trained.moments, _anchor(trained, optimizer), x)
        kernel = Learn(self.backbone, trained.part, batch.lengths, optimizer, batch)
        return Work(f"{trained.part.name}.learn", kernel, inputs, outputs, flops, trained.adapters)

    def learn_jointly(
        self, trained: Trained, states: Sequence[Ref], batches: Sequence[Batch], optimizer: Optimizer
    ) -> Work:
        """:meth:`learn` of one batch that is made of the ``batches`` of several clients: the loss is the mean over all.

        Outputs: gradient of the packed states of each; updated adapters; moments; the loss.
        """
        batch = joined(batches)
        flops = self.formulas.flops(trained.part, "learn", *batch.shape) + self.update_flops(trained, optimizer)
        outputs = (*(self.states(each.valid) for each in batches), trained.adapters.spec, None, TensorSpec(()))
        inputs = (trained.adapters, trained.moments, _anchor(trained, optimizer), *states)
        kernel = LearnJointly(self.backbone, trained.part, batch.lengths, optimizer, batch)
        return Work(f"{trained.part.name}.learn", kernel, inputs, outputs, flops, trained.adapters)

    def aggregate(
        self, rule: Aggregation, contributions: Sequence[Ref], weights: Sequence[float] | DeferredWeights, base: Ref
    ) -> Work:
        """Adapters of several members as one, by ``rule``, each tensor over those that have it. Output: adapters.

        ``base`` are the adapters that training started from: rules may look at the change against them, and they stay where
        nobody has a weight.
        """
        shapes = [_shapes(ref) for ref in contributions]
        spec = {name: item for shape in shapes for name, item in shape.items()}
        everyone_counts = not isinstance(weights, DeferredWeights) and min(weights) > 0
        if not isinstance(weights, DeferredWeights):
            weights = DeferredWeights((), Fixed(tuple(weights)))
        kept = None if everyone_counts and not rule.needs_base else base
        kernel = Aggregate(rule, weights.weigh, len(weights.scores))
        return Work("aggregate", kernel, (*weights.scores, kept, *contributions), (spec,), rule.work_flops(shapes))

    def change(
        self, present: Ref, base: Ref, trained: Sequence[Ref], weights: Sequence[float], alpha: Ref | None = None
    ) -> Work:
        """``present`` + sum_i w_i alpha (trained_i - ``base``). Output: adapters."""
        flops = 3.0 * sum(item.numel for ref in trained for item in _items(ref))
        return Work("merge", Change(tuple(weights)), (present, base, alpha, *trained), (present.spec,), flops)

    def merge_changes(
        self,
        rule: Aggregation,
        present: Ref,
        updates: Sequence[tuple[Ref, Ref, Ref | None]],
        weights: Sequence[float],
    ) -> Work:
        """``present`` + sum_i w_i times what ``rule`` makes of alpha_i (trained_i - base_i). Output: adapters.

        ``updates`` are (base_i, trained_i, alpha_i), the last ``None`` where the whole change is taken.
        """
        shapes = [_shapes(trained) for _, trained, _ in updates]
        flops = 3.0 * sum(item.numel for shape in shapes for item in shape.values()) + rule.work_flops(shapes)
        inputs = [each for base, trained, alpha in updates for each in (base, alpha, trained)]
        kernel = MergeChanges(rule, tuple(weights), module_of)
        return Work("merge", kernel, (present, *inputs), (present.spec,), flops)

    def align(
        self,
        rule: Aggregation,
        present: Ref,
        base: Ref,
        trained: Sequence[Ref],
        weights: Sequence[float],
        batch: Batch,
        *,
        ridge: float,
        steps: int,
    ) -> Work:
        """Cross-version semantic alignment of a group of updates (see ``alignment``). Output: alpha by module.

        A Gauss-Newton step costs a forward pass, and one more for each module that has adapters; that a module's derivative
        begins at its layer is not made use of in the count.
        """
        part = Part("align", 0, self.layers, first=True, last=False)
        modules = len({module_of(name) for name in self.specs})
        flops = float((3 + (1 + modules) * steps) * self.formulas.flops(part, "forward", *batch.shape))
        if not rule.linear:
            flops += rule.work_flops([_shapes(ref) for ref in trained])
        function = Align(rule, self.backbone, batch, tuple(weights), ridge, steps)
        return Work("align", function, (base, present, *trained), (None,), flops)

    def server_step(self, theta: Ref, mean: Ref, state: Ref | None, optimizer: Adaptive) -> Work:
        """A step of a server's ``optimizer`` from ``theta`` towards the clients' mean. Outputs: adapters; state."""
        flops = float(server_optim.FLOPS_PER_PARAMETER * sum(item.numel for item in _items(mean)))
        return Work("server step", optimizer.step, (theta, mean, state), (theta.spec, None), flops)

    def infer(self, part: Part, adapters: Ref, x: Ref | Batch, lengths: np.ndarray) -> Work:
        """Forward pass of a part without head that nothing follows backwards. Output: packed states [n, D]."""
        return Work(
            f"{part.name}.infer", Infer(self.backbone, part, lengths), (adapters, x), (self.states(int(lengths.sum())),)
        )

    def evaluate_batch(self, part: Part, adapters: Ref, x: Ref | Batch, batch: Batch) -> Work:
        """Forward pass of a part with the head, against the truth. Outputs: loss; predicted classes [B], or ``None``."""
        kernel = EvaluateBatch(self.backbone, part, batch.lengths, batch)
        return Work(f"{part.name}.judge", kernel, (adapters, x), (None, None))

    def score(self, evaluated: Sequence[Sequence[Ref]], batches: Sequence[Batch]) -> dict[str, float]:
        """Metrics of what :meth:`evaluate_batch` gave for ``batches``: accuracy, macro_f1 and loss, or loss and perplexity."""
        losses = [loss.value for loss, _ in evaluated]
        decoder = self.backbone.objective == "causal_lm"
        counts = [int((batch.lengths - 1).sum()) if decoder else len(batch.lengths) for batch in batches]
        loss = float(np.average(losses, weights=counts))
        if decoder:
            return {"loss": loss, "perplexity": float(np.exp(min(loss, 700.0)))}
        truth = np.concatenate([batch.labels for batch in batches if batch.labels is not None])
        guess = np.concatenate([predicted.value for _, predicted in evaluated])
        from sklearn.metrics import f1_score  # a second of start-up, which a timing-only run need not wait for

        accuracy = float((truth == guess).mean())
        return {"accuracy": accuracy, "macro_f1": float(f1_score(truth, guess, average="macro")), "loss": loss}

    def accuracy_by_class(
        self, evaluated: Sequence[Sequence[Ref]], batches: Sequence[Batch], classes: int
    ) -> np.ndarray:
        """Accuracy on each class [classes] of what :meth:`evaluate_batch` gave; NaN where no batch has a sample of it."""
        truth = np.concatenate([batch.labels for batch in batches if batch.labels is not None])
        right = truth == np.concatenate([predicted.value for _, predicted in evaluated])
        count = np.bincount(truth, minlength=classes)
        hits = np.bincount(truth, weights=right, minlength=classes)
        found: np.ndarray = np.divide(hits, count, out=np.full(classes, np.nan), where=count > 0)
        return found

    def update_flops(self, trained: Trained, optimizer: Optimizer) -> float:
        """Operations of one optimizer step on a part."""
        each = FLOPS_PER_PARAMETER + (PROXIMAL_FLOPS if optimizer.proximal else 0)
        return float(each * self._numel(tuple(_shapes(trained.adapters))))


def _extent(lengths: np.ndarray) -> tuple[int, int]:
    """The longest of some sequences, and the tokens of all; asked for in every pass of a batch."""
    return _extent_of(lengths.dtype.char, lengths.tobytes())


@lru_cache(maxsize=4096)
def _extent_of(kind: str, raw: bytes) -> tuple[int, int]:
    lengths = np.frombuffer(raw, dtype=kind)
    return int(lengths.max()), int(lengths.sum())


def _anchor(trained: Trained, optimizer: Optimizer) -> Ref | None:
    return trained.anchor if optimizer.proximal else None


def _items(ref: Ref) -> Iterable[TensorSpec]:
    return _shapes(ref).values()


def _shapes(ref: Ref) -> Mapping[str, TensorSpec]:
    assert isinstance(ref.spec, Mapping)
    return ref.spec
