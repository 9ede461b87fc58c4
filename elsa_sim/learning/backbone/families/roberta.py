"""RoBERTa. Tested in tests/learning/backbone/test_families.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from .base import Shape, dense
from .bert import Bert

if TYPE_CHECKING:
    from torch import Tensor

    from ..architecture import Architecture


class Roberta(Bert):
    """RoBERTa (Liu et al., arXiv:1907.11692)."""

    model_type = "roberta"
    fields: ClassVar[dict[str, Any]] = Bert.fields | {"vocab_size": 50265, "pad_token_id": 1}
    prefix = "roberta."
    tops = ()

    @classmethod
    def padding_problem(cls, pad: Any, rows: int) -> str | None:
        if pad is None:
            return "RoBERTa counts positions from it, and there is none"
        return super().padding_problem(pad, rows)

    @classmethod
    def longest(cls, fields: Mapping[str, Any]) -> int | None:
        return int(fields[cls.positions_field]) - 1 - int(fields["pad_token_id"])  # positions go on from the padding id

    @classmethod
    def pooler(cls, shape: Architecture) -> dict[str, Shape]:
        return {}

    @classmethod
    def class_head(cls, shape: Architecture, labels: int) -> dict[str, Shape]:
        d = shape.hidden
        return dense("classifier.dense", d, d) | dense("classifier.out_proj", d, labels)

    def classify(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        return self.model.classifier(hidden)  # type: ignore[operator, no-any-return]
