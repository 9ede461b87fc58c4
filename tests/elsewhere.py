"""A second device for machines that have only one: its tensors compute on the processor, but do not mix with the processor's.

Within :func:`elsewhere`, ``execution.device: cuda`` means that device. As on a GPU, an operation with tensors of both
devices fails (but for numbers without dimensions), and so does a look into memory (``numpy()``) before ``cpu()``. The arithmetic
is that of the processor, so a run gives what it gives there, up to the rounding of operations that are put together of others
here. Not captured: arithmetic in another order, memory, time, transforms of functions (``torch.func``, so AlignFed's
alignment), and that a graphics card may not know an operation.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from torch.utils._mode_utils import no_dispatch  # isort: skip
from torch.utils._pytree import tree_flatten, tree_map

from elsa_sim.learning.backbone.model import Backbone
from elsa_sim.learning.training import batched
from elsa_sim.run import builder

#: A type of device that PyTorch knows a name of, and no more.
DEVICE = torch.device("lazy:0")


class Elsewhere(Tensor):
    """A tensor that says it is on the other device; its elements are ``here``."""

    here: Tensor

    @staticmethod
    def __new__(cls, here: Tensor) -> Elsewhere:
        made = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            here.shape,
            strides=here.stride(),
            storage_offset=here.storage_offset(),
            dtype=here.dtype,
            device=DEVICE,
        )
        made.here = here
        return made  # type: ignore[no-any-return]

    def __repr__(self, **_: Any) -> str:
        return f"Elsewhere({self.here!r})"

    def tolist(self) -> Any:
        """As a list, which a GPU would copy to the processor."""
        return self.here.tolist()

    def __reduce_ex__(self, _: Any) -> tuple[Any, ...]:
        return Elsewhere, (self.here,)

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class Mixed(RuntimeError):
    """An operation has tensors of both devices."""


class _Watch(TorchDispatchMode):
    """Sees also the operations that make a tensor on the other device."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    tensors = [each for each in tree_flatten((args, kwargs))[0] if isinstance(each, Tensor)]
    there = [each for each in tensors if isinstance(each, Elsewhere)]
    asked = kwargs.get("device")
    if there and func not in (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default):
        alien = [tuple(each.shape) for each in tensors if not isinstance(each, Elsewhere) and each.dim() > 0]
        if alien:
            raise Mixed(f"{func} with tensors of the processor of shape {alien} and {tuple(there[0].shape)} elsewhere")
    if asked is not None and torch.device(asked).type == DEVICE.type:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    out = func(*tree_map(_here, args), **tree_map(_here, kwargs))
    if func is torch.ops.aten.copy_.default:
        return args[0]
    if torch.Tag.inplace_view in func.tags and there:  # the wrapper has the shape from now on, too
        with no_dispatch():
            args[0].data = Elsewhere(args[0].here)
        return args[0]
    wrapped = bool(there) if asked is None else torch.device(asked).type == DEVICE.type
    if not wrapped:
        return out
    known = {id(each.here): each for each in there}  # what was changed in place stays the tensor that it was

    def wrap(value: Any) -> Any:
        if not isinstance(value, Tensor) or isinstance(value, Elsewhere):
            return value
        return known[id(value)] if id(value) in known else Elsewhere(value)

    return tree_map(wrap, out)


def _here(value: Any) -> Any:
    return value.here if isinstance(value, Elsewhere) else value


_tensor = torch.tensor


def _from_data(data: Any, **how: Any) -> Tensor:
    """``torch.tensor``, which makes its tensor past everybody who watches."""
    device = how.pop("device", None)
    made = _tensor(data, **how)
    return made if device is None else made.to(device)


@contextmanager
def watched() -> Iterator[None]:
    """There is another device meanwhile."""
    with patch.object(torch, "tensor", _from_data), _Watch():
        yield


@contextmanager
def elsewhere() -> Iterator[None]:
    """``execution.device: cuda`` is the other device meanwhile; chunks are as large as on the processor."""

    def to(self: Backbone, device: str) -> Backbone:
        if device != "cuda":
            return nn.Module.to(self, device)
        with _Watch():
            for module in self.modules():
                for name, parameter in module._parameters.items():
                    if parameter is not None:
                        moved = nn.Parameter(Elsewhere(parameter.detach()), requires_grad=parameter.requires_grad)
                        module._parameters[name] = moved
                for name, buffer in module._buffers.items():
                    module._buffers[name] = None if buffer is None else Elsewhere(buffer)
        return self

    with (
        patch.object(Backbone, "to", to),
        patch.object(builder, "_need_cuda", lambda _: None),
        patch.dict(batched.CHUNK, {DEVICE.type: batched.CHUNK["cpu"]}),
        watched(),
    ):
        yield
