"""Probing as work: what devices compute so that the cloud can tell how clients behave (ELSA, arXiv:2601.13824).

The cloud fits a projection to the pretrained model's representations of Q public texts. A client runs the texts through its
Part 1, its server's Part 2 and its Part 3, and reports its fingerprint and what it predicts. The cloud judges all reports.
A representation is that of the first token (encoder) or the last one (decoder) behind the last layer.

FLOPs: passes through the model are counted; of the rest the leading terms are charged (products of matrices, an inverse
2 k^3, a symmetric eigenproblem 9 N^3, and 20 iterations of trust).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from .. import segments
from ..backbone import Backbone
from ..backbone_options import Part
from ..data import Batch
from ..kernels import Infer
from ..model import Model, Trained
from ..work import Ref, TensorSpec, Work
from .fingerprint import Array, Projection, fingerprint
from .judgement import Judgement, judge, lower
from .trust import similarity

Values = Mapping[str, Tensor]
#: Iterations of the fixed point of trust that are charged.
_ITERATIONS = 20


class Probing:
    """Work on one ``batch`` of public texts.

    A report holds a fingerprint if ``dimensions`` are given (at most those that there are), and what ``consistency`` asks
    for: ``predictions`` (also ``balanced``), a ``similarity`` matrix, or nothing.
    """

    def __init__(self, model: Model, batch: Batch, dimensions: int | None, consistency: str | None) -> None:
        self.model, self.batch = model, batch
        self.count, self.hidden = batch.shape[0], model.hidden
        self.dimensions = None if dimensions is None else min(dimensions, self.count - 1, self.hidden)
        self.predicts, self.compares = consistency in ("predictions", "balanced"), consistency == "similarity"
        self.balance = consistency == "balanced"
        self.head = Part("head", model.layers, model.layers, last=True)

    @property
    def texts(self) -> Ref:
        """The texts as they cross: the ids of their tokens [n], int32."""
        spec = TensorSpec((self.batch.valid,), "int32")
        if self.model.backbone.outline:
            return Ref(spec)
        rows = zip(self.batch.tokens, self.batch.lengths, strict=True)
        ids = np.concatenate([row[:length] for row, length in rows]).astype(np.int32)
        return Ref.of(torch.from_numpy(ids), spec)

    def project(self, pretrained: Ref) -> Work:
        """Fit the projection to the pretrained model. Output: mean [D] and basis [D, k]."""
        assert self.dimensions is not None
        body = Part("model", 0, self.model.layers, first=True)
        spec = {"mean": TensorSpec((self.hidden,)), "basis": TensorSpec((self.hidden, self.dimensions))}

        backbone, batch, dimensions = self.model.backbone, self.batch, self.dimensions  # what goes to a worker, no more

        def function(adapters: Values) -> tuple[dict[str, Tensor]]:
            fitted = Projection.fit(_float64(_represent(backbone, adapters, body, batch, batch.lengths)), dimensions)
            return ({"mean": _float32(fitted.mean), "basis": _float32(fitted.basis)},)

        flops = self._flops(body) + 4.0 * self.count**2 * self.hidden
        return Work("fit projection", function, (pretrained,), (spec,), flops)

    def through(self, trained: Trained, x: Ref | Batch) -> Work:
        """The texts through a part without head. Output: packed states [n, D]."""
        kernel = Infer(self.model.backbone, trained.part, self.batch.lengths)
        states = self.model.states(self.batch.valid)
        return Work(f"{trained.part.name}.probe", kernel, (trained.adapters, x), (states,), self._flops(trained.part))

    def report(self, top: Trained, h2: Ref, projection: Ref | None) -> Work:
        """The texts through Part 3. Output: the report, float32.

        ``mean`` [k] and ``covariance`` [k (k + 1) / 2] (its lower triangle) of the fingerprint; ``predictions`` [Q, C],
        or ``similarity`` [Q (Q + 1) / 2].
        """
        body = replace(top.part, last=False)
        k, spec = self.dimensions, dict[str, TensorSpec]()
        if k is not None:
            spec |= {"mean": TensorSpec((k,)), "covariance": TensorSpec((k * (k + 1) // 2,))}
        flops = self._flops(body) + (0.0 if k is None else 2.0 * self.count * k * (self.hidden + 3 * k))
        if self.predicts:
            spec["predictions"] = TensorSpec((self.count, self._classes))
            flops += self._head_flops
        elif self.compares:
            spec["similarity"] = TensorSpec((self.count * (self.count + 1) // 2,))
            flops += 2.0 * self.count**2 * self.hidden

        backbone, lengths, head = self.model.backbone, self.batch.lengths, self.head
        predicts, compares = self.predicts, self.compares

        def function(adapters: Values, source: Any, fitted: Values | None) -> tuple[dict[str, Tensor]]:
            states = _represent(backbone, adapters, body, source, lengths)
            said: dict[str, Tensor] = {}
            if fitted is not None:
                found = fingerprint(Projection(_float64(fitted["mean"]), _float64(fitted["basis"]))(_float64(states)))
                said |= {"mean": _float32(found.mean), "covariance": _float32(lower(found.covariance))}
            if predicts:
                with torch.no_grad():
                    one = torch.ones(len(states), dtype=torch.int64, device=states.device)
                    logits = backbone.call(adapters, head, states[:, None], one)
                said["predictions"] = logits.reshape(len(states), -1).softmax(-1)
            elif compares:
                said["similarity"] = _float32(lower(similarity(_float64(states))))
            return (said,)

        return Work(f"{top.part.name}.probe", function, (top.adapters, h2, projection), (spec,), flops)

    def judge(self, reports: Sequence[Ref], groups: int) -> Work:
        """Compare all reports. Output: a :class:`Judgement`, in the order of ``reports``."""
        clients, k = len(reports), self.dimensions
        said = self.count * (self._classes if self.predicts else self.count)
        flops = 0.0 if k is None else clients * 2.0 * k**3 + clients**2 * 4.0 * k**2 + 9.0 * clients**3
        flops += _ITERATIONS * clients * 12.0 * said if self.predicts or self.compares else 0.0

        balance = self.balance

        def function(*values: Values) -> tuple[Judgement]:
            reported = [{name: _float64(tensor) for name, tensor in each.items()} for each in values]
            return (judge(reported, groups, balance=balance),)

        return Work("judge clients", function, tuple(reports), (None,), flops)

    def _flops(self, part: Part) -> float:
        return float(self.model.counter.flops(part, "forward", *self.batch.shape))

    @cached_property
    def _counted(self) -> tuple[int, float]:
        """Classes, and FLOPs of the head on the representations."""
        outline = self.model.counter.backbone
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            states = torch.zeros(self.count, 1, self.hidden, device="meta")
            one = torch.ones(self.count, dtype=torch.int64, device="meta")
            logits = outline.call(outline.initial(), self.head, states, one)
        return logits.numel() // self.count, float(counter.get_total_flops())

    @property
    def _classes(self) -> int:
        return self._counted[0]

    @property
    def _head_flops(self) -> float:
        return self._counted[1]


def _float64(x: Tensor) -> Array:
    return np.asarray(x.detach().cpu().numpy(), dtype=np.float64)


def _float32(x: Array) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32))


def _represent(backbone: Backbone, adapters: Values, part: Part, source: Any, lengths: np.ndarray) -> Tensor:
    """Representations [Q, D] behind ``part``, from token ids or packed states of sequences of ``lengths``."""
    with torch.no_grad():
        x = backbone.tensor(source)
        padded = x if part.first else segments.unpack(x, lengths)
        true = torch.from_numpy(lengths).to(padded.device)
        return backbone.family.pool(backbone.call(adapters, part, padded, true), true)
