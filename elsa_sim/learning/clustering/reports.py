"""The arithmetic of probing, as functions of work: they hold the frozen backbone and plain data, so they may run anywhere.

Tested in tests/protocols/test_elsa.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..backbone.options import Part
from ..training import reference
from .fingerprint import Array, Projection, fingerprint
from .scores import ClientScores, compare, lower
from .trust import similarity

if TYPE_CHECKING:
    from ..backbone.model import Backbone

Values = Mapping[str, Tensor]


@dataclass(frozen=True, eq=False)
class Through:
    """(adapters, token ids [Q, T] or packed states [n, D]) -> packed states behind ``part``, of texts of ``lengths``."""

    backbone: Backbone
    part: Part
    lengths: np.ndarray

    def __call__(self, adapters: Values, source: Any) -> tuple[Tensor]:
        with torch.no_grad():
            x = self.backbone.tensor(source)
            return (reference.forward(self.backbone, self.part, adapters, x, self.lengths)[0],)

    def represent(self, adapters: Values, source: Any) -> Tensor:
        """Representations [Q, D] behind the part, its head left out."""
        part = replace(self.part, last=False)
        with torch.no_grad():
            x = self.backbone.tensor(source)
            padded = x if part.first else reference.unpack_tokens(x, self.lengths)
            true = torch.from_numpy(self.lengths).to(padded.device)
            return self.backbone.family.pool(self.backbone.call(adapters, part, padded, true), true)


class Fit(Through):
    """(pretrained adapters, token ids) -> mean [D] and basis [D, k] of the projection."""

    def __call__(self, adapters: Values, source: Any, dimensions: int) -> tuple[dict[str, Tensor]]:  # type: ignore[override]
        fitted = Projection.fit(float64(self.represent(adapters, source)), dimensions)
        return ({"mean": _float32(fitted.mean), "basis": _float32(fitted.basis)},)


@dataclass(frozen=True, eq=False)
class Report(Through):
    """(adapters, packed states, projection or ``None``) -> what a client reports; see :meth:`.Probing.report`."""

    predicts: bool
    compares: bool

    def __call__(self, adapters: Values, source: Any, fitted: Values | None) -> tuple[dict[str, Tensor]]:  # type: ignore[override]
        states = self.represent(adapters, source)
        said: dict[str, Tensor] = {}
        if fitted is not None:
            found = fingerprint(Projection(float64(fitted["mean"]), float64(fitted["basis"]))(float64(states)))
            said |= {"mean": _float32(found.mean), "covariance": _float32(lower(found.covariance))}
        if self.predicts:
            with torch.no_grad():
                said["predictions"] = predict(self.backbone, adapters, states).softmax(-1)
        elif self.compares:
            said["similarity"] = _float32(lower(similarity(float64(states))))
        return (said,)


@dataclass(frozen=True)
class Compare:
    """(report, report, ...) -> :class:`ClientScores`, in their order."""

    groups: int
    centred: bool

    def __call__(self, *reports: Values) -> tuple[ClientScores]:
        said: Sequence[Mapping[str, Array]] = [{n: float64(t) for n, t in each.items()} for each in reports]
        return (compare(said, self.groups, centred=self.centred),)


def predict(backbone: Backbone, adapters: Values, states: Tensor) -> Tensor:
    """Logits [Q, C] of the head on representations [Q, D]."""
    head = Part("head", backbone.layers, backbone.layers, last=True)
    one = torch.ones(len(states), dtype=torch.int64, device=states.device)
    return backbone.call(adapters, head, states[:, None], one).reshape(len(states), -1)


def float64(x: Tensor) -> Array:
    """A tensor as an array of float64."""
    return np.asarray(x.detach().double().cpu().numpy())


def _float32(x: Array) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32))
