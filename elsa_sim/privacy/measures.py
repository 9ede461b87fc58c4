"""How much of a text was recovered, and how alike two sets of hidden states are.

Tested in tests/privacy/test_attacks.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch

IntArray = npt.NDArray[np.int64]


def common_subsequence(a: Sequence[int] | IntArray, b: Sequence[int] | IntArray) -> int:
    """Length of the longest common subsequence."""
    best = [0] * (len(b) + 1)
    for x in a:
        diagonal = 0
        for j, y in enumerate(b, 1):
            diagonal, best[j] = best[j], (diagonal + 1 if x == y else max(best[j], best[j - 1]))
    return best[-1]


def rouge_l(guessed: IntArray, true: IntArray, texts: IntArray) -> float:
    """Mean over texts of ROUGE-L F1 (Lin 2004) on tokens; ``texts`` tells which text each token belongs to."""
    scores = []
    for text in np.unique(texts):
        mine = texts == text
        guess, truth = guessed[mine], true[mine]
        scores.append(2.0 * common_subsequence(guess, truth) / (len(guess) + len(truth)))
    return float(np.mean(scores)) if scores else float("nan")


def cosine(payload: torch.Tensor, clean: torch.Tensor) -> float:
    """Mean cosine similarity of rows; rows of zeros count as 0."""
    a, b = payload.double(), clean.double()
    return float(((a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1)).clamp(min=1e-300)).mean())


def mean_squared_error(payload: torch.Tensor, clean: torch.Tensor) -> float:
    """Mean over elements."""
    return float((payload.double() - clean.double()).square().mean())
