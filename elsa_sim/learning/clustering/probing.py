"""Probing as work: what devices compute so that the cloud can tell how clients behave (ELSA, arXiv:2601.13824).

The cloud fits a projection to the pretrained model's representations of Q public texts. A client runs the texts through its
Part 1, its server's Part 2 and its Part 3, and reports its fingerprint and what it predicts. The cloud scores all reports.
A representation is that of the first token (encoder) or the last one (decoder) behind the last layer.

FLOPs: passes through the model are counted; of the rest the leading terms are charged (products of matrices, an inverse
2 k^3, a symmetric eigenproblem 9 N^3, and 20 iterations of trust).
Tested in tests/protocols/test_elsa.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
import torch

from ..backbone.options import Part
from ..execution.work import Ref, TensorSpec, Work
from ..tasks.data import Batch
from ..training.model import Model, Trained
from .reports import Compare, Fit, Report, Through

#: Iterations of the fixed point of trust that are charged.
_ITERATIONS = 20


class Probing:
    """Work on one ``batch`` of public texts.

    A report holds a fingerprint if ``dimensions`` are given (at most those that there are), and what ``consistency`` asks
    for: ``predictions`` (also ``centred``), a ``similarity`` matrix, or nothing.
    """

    def __init__(self, model: Model, batch: Batch, dimensions: int | None, consistency: str | None) -> None:
        self.model, self.batch = model, batch
        self.count, self.hidden = batch.shape[0], model.hidden
        self.dimensions = None if dimensions is None else min(dimensions, self.count - 1, self.hidden)
        self.predicts, self.compares = consistency in ("predictions", "centred"), consistency == "similarity"
        self.centred = consistency == "centred"

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
        flops = self._flops(body) + 4.0 * self.count**2 * self.hidden
        kernel = Fit(self.model.backbone, body, self.batch.lengths)
        return Work("fit projection", kernel, (pretrained, self.batch, self.dimensions), (spec,), flops)

    def through(self, trained: Trained, x: Ref | Batch) -> Work:
        """The texts through a part without head. Output: packed states [n, D]."""
        part, outputs = trained.part, (self.model.states(self.batch.valid),)
        kernel = Through(self.model.backbone, part, self.batch.lengths)
        return Work(f"{part.name}.probe", kernel, (trained.adapters, x), outputs, self._flops(part))

    def report(self, top: Trained, h2: Ref, projection: Ref | None) -> Work:
        """The texts through Part 3. Output: the report, float32.

        ``mean`` [k] and ``covariance`` [k (k + 1) / 2] (its lower triangle) of the fingerprint; ``predictions`` [Q, C],
        or ``similarity`` [Q (Q + 1) / 2].
        """
        k, spec = self.dimensions, dict[str, TensorSpec]()
        flops = self._flops(replace(top.part, last=False))
        if k is not None:
            spec |= {"mean": TensorSpec((k,)), "covariance": TensorSpec((k * (k + 1) // 2,))}
            flops += 2.0 * self.count * k * (self.hidden + 3 * k)
        if self.predicts:
            classes, head = self._head
            spec["predictions"] = TensorSpec((self.count, classes))
            flops += head
        elif self.compares:
            spec["similarity"] = TensorSpec((self.count * (self.count + 1) // 2,))
            flops += 2.0 * self.count**2 * self.hidden
        kernel = Report(self.model.backbone, top.part, self.batch.lengths, self.predicts, self.compares)
        return Work(f"{top.part.name}.probe", kernel, (top.adapters, h2, projection), (spec,), flops)

    def compare(self, reports: Sequence[Ref], groups: int) -> Work:
        """Compare all reports. Output: a :class:`.ClientScores`, in the order of ``reports``."""
        clients, k = len(reports), self.dimensions
        said = self.count * (self._head[0] if self.predicts else self.count)
        flops = 0.0 if k is None else clients * 2.0 * k**3 + clients**2 * 4.0 * k**2 + 9.0 * clients**3
        flops += _ITERATIONS * clients * 12.0 * said if self.predicts or self.compares else 0.0
        return Work("judge clients", Compare(groups, self.centred), tuple(reports), (None,), flops)

    def _flops(self, part: Part) -> float:
        return float(self.model.formulas.flops(part, "forward", *self.batch.shape))

    @cached_property
    def _head(self) -> tuple[int, float]:
        """Classes, and FLOPs of the head on the representations."""
        outputs, flops = self.model.formulas.head(self.count)
        return outputs, float(flops)
