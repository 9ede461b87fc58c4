"""Values as forms and bytes: what handles hold, stored without pickling.

A *form* says what a value is built of, as JSON has it, with a place for each tensor; the bytes of its tensors come one after
the other. Values of ten thousand clients have few forms. Stored are tensors, arrays, numbers, texts, ``None``, mappings,
sequences, and dataclasses of these which belong to this package or to a module that was imported already; nothing else is
ever made from what is read.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor

#: Tensors begin at multiples of this many bytes, as those that the tensor library makes do.
ALIGNED = 64
#: Types of arrays that tensors have, too.
_NUMBERS = np.typecodes["AllInteger"] + "?efd"
_PACKAGE = __name__.partition(".")[0]


class NotStorable(TypeError):
    """A value of a type that cannot be stored."""


def form_of(value: Any, leaves: list[Tensor]) -> Any:
    """The form of ``value``; its tensors are appended to ``leaves``.

    Raises:
        NotStorable: some part of it has another type.
    """
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, Tensor) and value.layout == torch.strided and not value.is_complex():
        leaves.append(value)
        return ["tensor", *_described(value)]
    if type(value) is np.ndarray and value.dtype.char in _NUMBERS and value.dtype.isnative:
        array = torch.from_numpy(np.ascontiguousarray(value))
        leaves.append(array)
        return ["array", *_described(array)]
    if isinstance(value, np.generic) and value.dtype.char in _NUMBERS:
        return ["number", value.dtype.name, value.item()]
    if type(value) is dict:
        return ["mapping", [[form_of(key, leaves), form_of(item, leaves)] for key, item in value.items()]]
    if type(value) in (list, tuple):
        return [type(value).__name__, [form_of(item, leaves) for item in value]]
    kind = type(value)
    if dataclasses.is_dataclass(kind) and _dataclass(kind.__module__, kind.__qualname__) is kind:
        fields = {field.name: form_of(getattr(value, field.name), leaves) for field in dataclasses.fields(kind)}
        return ["object", kind.__module__, kind.__qualname__, fields]
    raise NotStorable(f"{type(value).__module__}.{type(value).__qualname__}")


def _described(tensor: Tensor) -> list[Any]:
    """Type, shape, device if it is not the processor, and strides if they are not the usual ones."""
    more: list[Any] = []
    if tensor.device.type != "cpu" or not tensor.is_contiguous():
        more = [str(tensor.device), None if tensor.is_contiguous() else list(tensor.stride())]
    return [str(tensor.dtype).removeprefix("torch."), list(tensor.shape), *more]


def value_of(form: Any, leaves: Callable[[torch.dtype, list[int]], Tensor]) -> Any:
    """The value of a form; ``leaves`` gives its tensors one after the other, by type and shape.

    Raises:
        ValueError: the form names something that is no dataclass of a module that may be used.
    """
    if not isinstance(form, list):
        return form
    built, *rest = form
    if built in ("tensor", "array"):
        dtype, shape, *more = rest
        tensor = leaves(getattr(torch, dtype), shape)
        return tensor.numpy() if built == "array" else _placed(tensor, *more)
    if built == "number":
        return np.dtype(rest[0]).type(rest[1])
    if built == "mapping":
        return {value_of(key, leaves): value_of(item, leaves) for key, item in rest[0]}
    if built in ("list", "tuple"):
        items = [value_of(item, leaves) for item in rest[0]]
        return items if built == "list" else tuple(items)
    if built != "object":
        raise ValueError(f"a value of an unknown sort, {built!r}")
    module, name, fields = rest
    kind = _dataclass(module, name)
    if kind is None or {field.name for field in dataclasses.fields(kind)} != fields.keys():
        raise ValueError(f"{module}.{name} is no dataclass that this run knows")
    made = object.__new__(kind)  # nothing of the class is called
    for key, item in fields.items():
        object.__setattr__(made, key, value_of(item, leaves))
    return made


def _placed(tensor: Tensor, device: str = "cpu", strides: list[int] | None = None) -> Tensor:
    """On its device, and with its strides: sums of other strides may round otherwise."""
    if strides is not None and 0 not in strides:
        tensor = torch.empty_strided(tensor.shape, strides, dtype=tensor.dtype).copy_(tensor)
    return tensor if device == "cpu" else tensor.to(device)


def _dataclass(module: str, name: str) -> Any:
    """The dataclass of that name; ``None``: there is none, or its module is another's and was not imported."""
    try:
        found: Any = import_module(module) if module.partition(".")[0] == _PACKAGE else sys.modules.get(module)
    except ImportError:
        return None
    for part in name.split("."):
        found = getattr(found, part, None)
    return found if isinstance(found, type) and dataclasses.is_dataclass(found) else None


def nbytes(dtype: torch.dtype, shape: list[int]) -> int:
    """Bytes of a tensor."""
    count = 1
    for size in shape:
        count *= size
    return count * dtype.itemsize


def padded(size: int) -> int:
    """``size`` bytes and what is left free until the next tensor may begin."""
    return -(-size // ALIGNED) * ALIGNED
