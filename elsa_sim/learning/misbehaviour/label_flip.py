"""Label flipping: a client trains as everybody does, on labels that are permuted once.

One random cyclic permutation of all classes, so that every label is wrong: one for each client, or one for all who collude
and so push in one direction. Needs a task with class labels.
Tested in tests/learning/misbehaviour/test_base.py.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from .base import Misbehaviour


class LabelFlip(Misbehaviour):
    """Trains on labels that are permuted once, so that each is wrong."""

    relabels: ClassVar[bool] = True
    kind: Literal["label_flip"] = "label_flip"
    colluding: bool = False
    """Whether all who collude permute labels alike; otherwise each draws its own permutation."""

    def label_stream(self, client: str) -> tuple[str, ...]:
        return ("colluding flip",) if self.colluding else super().label_stream(client)

    def labels(self, labels: npt.NDArray[np.int64], classes: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        return flipped(labels, classes, rng)


def flipped(labels: npt.NDArray[np.int64], classes: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Labels after one random cyclic permutation of all classes: every label becomes another one."""
    order = rng.permutation(classes)
    after = np.empty(classes, dtype=np.int64)
    after[order] = np.roll(order, 1)
    return after[labels]
