"""Adapters to start from, put into the model.

Tested in tests/learning/backbone/test_adapters.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ...base.errors import Fault, InputFaults
from .adapters import VALUES, frozen_of, outside, own_name
from .quantized import dense_state


def start_from(model: nn.Module, folder: Path, head: Sequence[str]) -> tuple[str, ...]:
    """Put the adapters in ``folder`` into a model that has places for them; their header was checked.

    ``head`` are the modules that are trained in full. Returns the names of all tensors that were put.

    Raises:
        InputFaults: (at ``adapters``) they cannot be read, or were trained on other frozen weights, which are beside them.
    """
    parameters = dict(model.named_parameters())
    _same_frozen(model, folder, head)
    values = {own_name(name): tensor for name, tensor in _loaded(folder / VALUES).items()}
    strange = [name for name, t in values.items() if name not in parameters or parameters[name].shape != t.shape]
    if strange:
        raise InputFaults([Fault("adapters", f"{folder / VALUES} changed since it was checked, such as {strange[0]}")])
    with torch.no_grad():
        for name, tensor in values.items():
            parameters[name].copy_(tensor)
    return tuple(values)


def _same_frozen(model: nn.Module, folder: Path, head: Sequence[str]) -> None:
    path = frozen_of(folder)
    if path is None:
        return
    theirs = _loaded(path)
    named, whole = dict(model.named_parameters()), dense_state(model)
    for name, ours in ((name, whole[name]) for name in named):
        if ".lora_" in name or name.partition(".")[0] in head:
            continue
        other = theirs.get(outside(name))
        if other is None or other.shape != ours.shape or not torch.equal(other.to(ours), ours.to(other.dtype).to(ours)):
            what = f"they were trained on the frozen weights in {path.parent}, and the scenario's are others"
            raise InputFaults([Fault("adapters", f"{what} ({outside(name)}); state name: {path.parent}")])


def _loaded(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except Exception as error:  # safetensors has errors of its own
        reason = str(error).partition("\n")[0][:200]
        raise InputFaults([Fault("adapters", f"{path} cannot be read: {reason}")]) from None
