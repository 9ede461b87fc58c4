"""Trained layers whose weights may be one set for all rows of a batch, or one for each row: rows of different clients side by side.

Tested in tests/learning/backbone/test_model.py and tests/learning/training/test_batched.py.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class RowLinear(nn.Linear):
    """A linear layer whose weight may be one for all rows [out, in], or one for each row of the batch [B, out, in]."""

    def forward(self, input: Tensor) -> Tensor:
        """[B, T, in], [B * T, in] or [B, in] to [B, T, out], [B * T, out] or [B, out], in the weight's type."""
        input = input.to(self.weight.dtype)
        if self.weight.dim() == 2:
            return super().forward(input)
        flat = input.dim() == 2  # some modules see the tokens of all rows in one sequence
        x = input.view(len(self.weight), -1, input.shape[-1]) if flat else input.expand(len(self.weight), -1, -1)
        weight = self.weight.transpose(1, 2)
        out = torch.bmm(x, weight) if self.bias is None else torch.baddbmm(self.bias[:, None], x, weight)
        return out.flatten(0, 1) if flat else out


class RowNorm(nn.LayerNorm):
    """A layer norm whose weight may be one for all rows [D], or one for each row of the batch [B, D]."""

    def forward(self, input: Tensor) -> Tensor:
        """[B, D] to [B, D]."""
        if self.weight.dim() == 1:
            return super().forward(input)
        out = nn.functional.layer_norm(input, self.normalized_shape, eps=self.eps) * self.weight
        return out if self.bias is None else out + self.bias
