"""The arithmetic of training as kernels: what one call computes, and many calls of different clients as one.

Nobody changes a kernel; that is not enforced, as it would double the time it takes to make one.

One call is the reference pass (:mod:`.reference`); many calls are a batched one (:mod:`.batched`): they share the frozen
backbone and bring adapters of their own.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ...base.lazy import lazy
from ..backbone.options import Part
from ..execution.work import Kernel
from ..tasks.data import Batch
from . import batched, reference
from .optim import Moments, Optimizer, stack, update, update_together

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ..backbone.model import Backbone
else:
    torch = lazy("torch")

Calls: TypeAlias = Sequence[tuple[Any, Sequence[Any]]]
#: Floats that training keeps per token and layer, in hidden sizes: projections, attention, the wide layer, norms.
_KEPT = 18


@dataclass(eq=False)
class Pass(Kernel):
    """A pass through a part of ``backbone`` of a batch of sequences of ``lengths``."""

    backbone: Backbone
    part: Part
    lengths: np.ndarray

    @property
    def key(self) -> Hashable:
        return type(self), self.part

    @property
    def footprint(self) -> float:
        return 4.0 * _KEPT * self.backbone.hidden * self.backbone.layers * float(self.lengths.sum())


class Forward(Pass):
    """(adapters, token ids or packed states [n, D]) -> packed states [n, D], saved activations."""

    def __call__(self, *inputs: Any) -> Sequence[Any]:
        adapters, source = inputs
        return reference.forward(self.backbone, self.part, adapters, self.backbone.tensor(source), self.lengths)

    def together(self, calls: Calls) -> list[Sequence[Any]]:
        stacks = _stacked(self, [adapters for _, (adapters, _) in calls])
        x = _packed(self.backbone, [source for _, (_, source) in calls])
        outputs, each_saved = batched.forward(
            self.backbone, self.part, stacks, x, [kernel.lengths for kernel, _ in calls]
        )
        return list(zip(outputs, each_saved, strict=True))


class Infer(Pass):
    """(adapters, token ids or packed states [n, D]) -> packed states [n, D], nothing saved."""

    @property
    def footprint(self) -> float:
        return 4.0 * self.backbone.hidden * float(self.lengths.sum())

    def __call__(self, *inputs: Any) -> Sequence[Any]:
        with torch.no_grad():
            return (reference.pack_tokens(self._output(*inputs), self.lengths),)

    def together(self, calls: Calls) -> list[Sequence[Any]]:
        return [kernel(*inputs) for kernel, inputs in calls]  # of one model on large batches: nothing to gain

    def _output(self, adapters: Mapping[str, Tensor], source: Tensor | Batch) -> Tensor:
        x = self.backbone.tensor(source)
        if not self.part.first:
            x = reference.unpack_tokens(x, self.lengths)
        return self.backbone.call(adapters, self.part, x, torch.from_numpy(self.lengths).to(self.backbone.device))


@dataclass(eq=False)
class EvaluateBatch(Infer):
    """(adapters, token ids or packed states [n, D]) -> loss of the batch, predicted classes [B] (``None`` for a decoder)."""

    batch: Batch

    def __call__(self, *inputs: Any) -> Sequence[Any]:
        backbone, batch = self.backbone, self.batch
        with torch.no_grad():
            logits = self._output(*inputs)
            loss = reference.loss(backbone, logits, labels_of(batch, backbone), backbone.tensor(batch), self.lengths)
        predicted = logits.argmax(-1).cpu().numpy() if backbone.objective == "classification" else None
        return float(loss), predicted


@dataclass(eq=False)
class TrainingPass(Pass):
    """A pass that ends with an optimizer step."""

    optimizer: Optimizer


class Backward(TrainingPass):
    """(adapters, moments, anchor, saved activations, gradient [n, D]) -> gradient of the input, adapters, moments."""

    def __call__(self, *inputs: Any) -> Sequence[Any]:
        adapters, moments, anchor, saved, gradient = inputs
        if isinstance(saved, batched.SavedActivations):
            ((to_input, *after),) = self.together([(self, inputs)])
            return to_input, *after
        to_input, gradients = reference.backward(saved, gradient)
        return to_input, *update(adapters, gradients, moments, self.optimizer, anchor)

    def together(self, calls: Calls) -> list[Sequence[Any]]:
        shared: dict[int, list[int]] = {}
        result: list[Sequence[Any]] = [()] * len(calls)
        for index, (kernel, inputs) in enumerate(calls):
            saved = inputs[3]
            if isinstance(saved, batched.SavedActivations):
                shared.setdefault(id(saved.shared), []).append(index)
            else:
                result[index] = kernel(*inputs)
        for indices in shared.values():
            mine = [calls[i] for i in indices]
            to_inputs, gradients = batched.backward([call[3] for _, call in mine], [call[4] for _, call in mine])
            stacks = stack([call[0] for _, call in mine], gradients)
            after = _updated(stacks, gradients, mine)
            for index, to_input, values in zip(indices, to_inputs, after, strict=True):
                result[index] = (to_input, *values)
        return result


@dataclass(eq=False)
class Learn(TrainingPass):
    """(adapters, moments, anchor, token ids or packed states [n, D]) -> gradient of the input, adapters, moments, loss."""

    batch: Batch

    def __call__(self, *inputs: Any) -> Sequence[Any]:
        adapters, moments, anchor, source = inputs
        backbone, batch = self.backbone, self.batch
        labels, tokens = labels_of(batch, backbone), backbone.tensor(batch)
        loss, to_input, gradients = reference.learn(
            backbone, self.part, adapters, backbone.tensor(source), self.lengths, tokens, labels
        )
        return to_input, *update(adapters, gradients, moments, self.optimizer, anchor), loss

    def together(self, calls: Calls) -> list[Sequence[Any]]:
        backbone = self.backbone
        stacks = _stacked(self, [call[0] for _, call in calls])
        tokens = _packed(backbone, [kernel.batch for kernel, _ in calls])
        x = tokens if self.part.first else _packed(backbone, [call[3] for _, call in calls])
        labels = None
        if backbone.objective == "classification":
            labels = torch.cat([torch.from_numpy(kernel.batch.labels) for kernel, _ in calls]).to(backbone.device)
        lengths = [kernel.lengths for kernel, _ in calls]
        losses, to_inputs, gradients = batched.learn(backbone, self.part, stacks, x, lengths, tokens, labels)
        after = _updated(stacks, gradients, calls)
        return [(i, *values, loss) for i, values, loss in zip(to_inputs, after, losses, strict=True)]


@dataclass(eq=False)
class LearnJointly(Learn):
    """(adapters, moments, anchor, packed states [n_k, D] of K clients) -> K gradients [n_k, D], adapters, moments, loss.

    One batch, that of all clients, and one step: :class:`Learn` of the joined states, in chunks of rows, since there are many.
    """

    def __call__(self, *inputs: Any) -> Sequence[Any]:
        adapters, moments, anchor, *states = inputs
        backbone, packed = self.backbone, torch.cat(states)
        own = {name: adapters[name][None] for name in backbone.names(self.part)}
        labels, tokens = labels_of(self.batch, backbone), _packed(backbone, [self.batch])
        losses, to_inputs, gradients = batched.learn(backbone, self.part, own, packed, [self.lengths], tokens, labels)
        assert to_inputs[0] is not None
        after = update(adapters, {name: each[0] for name, each in gradients.items()}, moments, self.optimizer, anchor)
        return *torch.split(to_inputs[0], [len(each) for each in states]), *after, losses[0]

    def together(self, calls: Calls) -> list[Sequence[Any]]:
        return [kernel(*inputs) for kernel, inputs in calls]


def labels_of(batch: Batch, backbone: Backbone) -> Tensor | None:
    """The class labels of a batch [B] where the backbone is, or ``None`` for language modelling."""
    return None if batch.labels is None else torch.from_numpy(batch.labels).to(backbone.device)


def _updated(
    stacks: Mapping[str, Tensor], gradients: Mapping[str, Tensor], calls: Calls
) -> list[tuple[dict[str, Tensor], Moments | None]]:
    moments, anchors = [call[1] for _, call in calls], [call[2] for _, call in calls]
    return update_together(stacks, gradients, moments, [kernel.optimizer for kernel, _ in calls], anchors)


def _stacked(kernel: Pass, adapters: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    names = kernel.backbone.names(kernel.part)
    return {name: torch.stack([each[name] for each in adapters]) for name in names}


def _packed(backbone: Backbone, sources: Sequence[Tensor | Batch]) -> Tensor:
    """Token ids [N] or states [N, D] of several calls, one after the other."""
    flat: list[Tensor] = []
    for source in sources:
        if isinstance(source, Batch):
            valid = np.arange(source.tokens.shape[1]) < source.lengths[:, None]
            flat.append(torch.from_numpy(source.tokens[valid]))
        else:
            flat.append(source)
    return torch.cat(flat).to(backbone.device)
