"""Frozen products in half precision: bfloat16 in, float32 sums, for all linear layers that are not trained.

The states between layers, attention, normalisations, adapters, the class head and the optimizer stay in float32 (as in
mixed-precision training, Micikevicius et al., arXiv:1710.03740, with the format of Kalamkar et al., arXiv:1905.12322). What crosses
the wire, FLOPs and simulated time are those of float32: it is how a run is computed, not what is simulated. Gains where a
processor multiplies bfloat16 faster than float32; elsewhere it is slower.

Tested in tests/learning/backbone/test_precision.py.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.pytorch_utils import Conv1D


class HalfLinear(nn.Linear):
    """A frozen linear layer [.., in] to [.., out] whose weight is bfloat16."""

    def forward(self, input: Tensor) -> Tensor:
        """The product in bfloat16, in the input's type; the bias is added in that."""
        return _biased(F.linear(input.to(torch.bfloat16), self.weight).to(input.dtype), self.bias)


class HalfConv1D(Conv1D):  # type: ignore[misc]
    """The same where the weight is [in, out], as GPT-2 has it."""

    def forward(self, x: Tensor) -> Tensor:
        """As :class:`HalfLinear`."""
        return _biased((x.to(torch.bfloat16) @ self.weight).to(x.dtype), self.bias)


def _biased(product: Tensor, bias: Tensor | None) -> Tensor:
    return product if bias is None else product + bias


def halve(model: nn.Module, trained: Collection[str]) -> None:
    """Have the linear layers of ``model`` multiply in bfloat16, but those with tensors of the names ``trained``, and tied ones."""
    parameters: dict[int, int] = {}
    for _, parameter in model.named_parameters(remove_duplicate=False):
        parameters[id(parameter)] = parameters.get(id(parameter), 0) + 1
    halves: dict[type, type[Any]] = {nn.Linear: HalfLinear, Conv1D: HalfConv1D}
    for name, module in model.named_modules():
        if type(module) in halves and f"{name}.weight" not in trained and parameters[id(module.weight)] == 1:
            module.weight = nn.Parameter(module.weight.detach().to(torch.bfloat16), requires_grad=False)
            module.__class__ = halves[type(module)]
