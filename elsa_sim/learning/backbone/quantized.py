"""Linear layers whose frozen weights are stored with fewer bits, and multiplied in the type of their input.

Weights are made whole again for a product, forwards and backwards, and not kept between: what is stored is all that training holds
of them. (Libraries for this keep the whole weights for the backward pass on a processor, or have kernels for some devices only.)
See :mod:`.numbers` for the two formats.

Tested in tests/learning/backbone/test_numbers.py.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.pytorch_utils import Conv1D

from .numbers import BLOCK, Quantized

#: The sixteen values of NormalFloat4: quantiles of a normal distribution, scaled to [-1, 1] (arXiv:2305.14314, appendix E).
NF4 = (-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
       -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
       0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0)  # fmt: skip


class _Product(torch.autograd.Function):
    """x W^T of a layer with stored weights; its gradient is for x only."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: Any) -> Tensor:
        ctx.layer = layer
        return F.linear(x, layer.dense(x.dtype))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient,) = gradients
        dense = ctx.layer.dense(gradient.dtype)
        found: Tensor = gradient @ dense
        return found, None


class _Stored:
    """A frozen linear layer with stored weights: ``weight`` (integers) and ``scale`` (float32)."""

    weight: Any
    scale: Tensor
    bias: Any
    size: tuple[int, int]
    """Outputs and inputs."""

    def dense(self, dtype: torch.dtype) -> Tensor:
        """The weights [out, in]."""
        if self.weight.dtype == torch.int8:
            rows: Tensor = self.weight * self.scale
            return rows.to(dtype)
        low, high = self.weight & 15, self.weight >> 4
        values = torch.tensor(NF4, device=low.device)[torch.stack([low, high], 1).flatten().long()]
        count = self.size[0] * self.size[1]
        whole = values.new_zeros(len(self.scale) * BLOCK)
        whole[:count] = values[:count]
        return (whole.view(-1, BLOCK) * self.scale[:, None]).flatten()[:count].view(self.size).to(dtype)

    def product(self, x: Tensor) -> Tensor:
        """[.., in] to [.., out], in the type of ``x``."""
        if torch.is_grad_enabled():
            out: Tensor = _Product.apply(x, self)  # type: ignore[no-untyped-call]
        else:
            out = F.linear(x, self.dense(x.dtype))
        return out if self.bias is None else out + self.bias


class StoredLinear(_Stored, nn.Linear):
    """In the place of a linear layer."""

    def forward(self, input: Tensor) -> Tensor:
        """See :meth:`_Stored.product`."""
        return self.product(input)


class StoredConv1D(_Stored, Conv1D):  # type: ignore[misc]
    """In the place of GPT-2's, whose weights are [in, out]."""

    def forward(self, x: Tensor) -> Tensor:
        """See :meth:`_Stored.product`."""
        return self.product(x)


def dense_state(model: nn.Module) -> dict[str, Tensor]:
    """The state of ``model`` with stored weights made whole, in the type of its other weights, as layers multiply them."""
    state = dict(model.state_dict())
    dtype = next(each.dtype for each in model.parameters() if each.is_floating_point())
    for name, module in model.named_modules():
        if isinstance(module, _Stored):
            whole = module.dense(dtype)
            state[f"{name}.weight"] = whole.t() if isinstance(module, Conv1D) else whole
    return state


def quantize(layers: nn.Module, how: Quantized) -> None:
    """Store the weights of the linear modules inside ``layers``; those of adapters are of another type."""
    stored: dict[type, type[Any]] = {nn.Linear: StoredLinear, Conv1D: StoredConv1D}
    for module in layers.modules():
        if type(module) not in stored:
            continue
        weight: Tensor = module.weight.detach().float()  # type: ignore[operator]
        module.__class__ = stored[type(module)]
        weight = weight.t() if isinstance(module, Conv1D) else weight
        module.size = (weight.shape[0], weight.shape[1])  # type: ignore[assignment]
        values, scale = _int8(weight) if how == "int8" else _nf4(weight)
        module.weight = nn.Parameter(values, requires_grad=False)
        module.register_buffer("scale", scale, persistent=False)


def _int8(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Steps [out, in] of the largest magnitude of each row / 127, and that step [out, 1]."""
    scale = (weight.abs().amax(1, keepdim=True) / 127).clamp(min=torch.finfo(torch.float32).tiny)
    return (weight / scale).round().clamp(-127, 127).to(torch.int8), scale


def _nf4(weight: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest of sixteen values, two to a byte, and the largest magnitude of each block."""
    flat = weight.flatten()
    padded = flat.new_zeros(-(-len(flat) // BLOCK) * BLOCK)
    padded[: len(flat)] = flat
    blocks = padded.view(-1, BLOCK)
    scale = blocks.abs().amax(1)
    table = torch.tensor(NF4, device=flat.device)
    middle = (table[1:] + table[:-1]) / 2
    share = blocks / scale.clamp(min=torch.finfo(torch.float32).tiny)[:, None]
    code = torch.bucketize(share, middle).flatten()[: len(flat) + len(flat) % 2].to(torch.uint8)
    return code[0::2] | code[1::2] << 4, scale
