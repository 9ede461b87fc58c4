"""Subgraphs of work as bytes: functions, their inputs, and which outputs are wanted; and what a worker does with them."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import cloudpickle
import torch
from torch import Tensor

from .scheduler import play
from .work import LOCAL, Node, Ref, Spec

if TYPE_CHECKING:
    from ..backbone.model import Backbone


class Worker:
    """What computes inside a worker."""

    def __init__(self, backbone: bytes | memoryview, threads: int) -> None:
        torch.set_num_threads(threads)
        self.backbone: Backbone = pickle.loads(backbone)

    def work(self, task: bytes) -> bytes:
        """The wanted outputs of a task, in order."""
        return _dumps(_compute(_Unpickler(io.BytesIO(task), self.backbone).load()), self.backbone)


def serialised(nodes: Sequence[Node], backbone: Backbone) -> tuple[bytes, list[Ref]]:
    """A task of ``nodes``, every one after those that it waits for, and the handles that its results are for.

    The nodes let go of their inputs: what nobody but them holds is not wanted back.
    """
    steps = _steps(nodes)
    for node in nodes:
        node.inputs = ()
    wanted: list[tuple[int, int]] = []
    refs: list[Ref] = []
    for index, node in enumerate(nodes):
        for output, pointer in enumerate(node.outputs):
            ref = pointer()
            if ref is not None:
                assert ref.spec is not LOCAL, "a local value does not leave its process"
                wanted.append((index, output))
                refs.append(ref)
    return _dumps((steps, wanted), backbone), refs


def _steps(nodes: Sequence[Node]) -> list[tuple[Any, list[Any], int]]:
    """Function, inputs and number of outputs of each node; its handles are not held."""
    place = {id(node): index for index, node in enumerate(nodes)}

    def sent(item: Any) -> Any:
        if not isinstance(item, Ref):
            return item
        if item.node is None:
            assert item.spec is not LOCAL, "a local value does not leave its process"
            return item.value
        outputs = [output() for output in item.node.outputs]
        return _Inner(place[id(item.node)], next(i for i, ref in enumerate(outputs) if ref is item))

    return [(node.function, [sent(item) for item in node.inputs], len(node.outputs)) for node in nodes]


def deserialised(result: bytes, backbone: Backbone) -> list[Any]:
    """The values that a task gave."""
    return list(_Unpickler(io.BytesIO(result), backbone).load())


class _Inner:
    """An input that is an output of another node of the task."""

    def __init__(self, node: int, output: int) -> None:
        self.node, self.output = node, output


class _Here:
    """Whoever asks for a value here asks for what the subgraph does not hold."""

    def run(self, node: Node) -> None:
        raise RuntimeError("the subgraph does not hold what it needs")

    def derive(self, function: Callable[..., Sequence[Any]], sources: Sequence[Ref], spec: Spec) -> Ref:
        raise RuntimeError("functions make values of values")


def _compute(task: tuple[list[tuple[Any, list[Any], int]], list[tuple[int, int]]]) -> list[Any]:
    steps, wanted = task
    runner, nodes, made = _Here(), list[Node](), list[tuple[Ref, ...]]()
    for function, inputs, outputs in steps:
        found = [made[item.node][item.output] if isinstance(item, _Inner) else item for item in inputs]
        node, refs = Node.made(function, found, (None,) * outputs, runner)
        nodes.append(node)
        made.append(refs)
    kept = [made[node][output] for node, output in wanted]
    made.clear()
    steps.clear()
    play(nodes)
    return [ref.value for ref in kept]


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Tensors go with their own elements only, whatever they are views of, and arrive on the device that they were on; the
    backbone does not go at all."""

    def __init__(self, file: io.BytesIO, backbone: Backbone) -> None:
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)
        self._backbone = backbone

    def persistent_id(self, item: Any) -> str | None:
        return "backbone" if item is self._backbone else None

    def reducer_override(self, item: Any) -> Any:
        if isinstance(item, Tensor):
            flat = item.detach().cpu().reshape(-1).clone().view(torch.uint8).numpy()
            place = () if item.device.type == "cpu" else (str(item.device),)
            return _tensor, (flat, item.dtype, tuple(item.shape), *place)
        return super().reducer_override(item)


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, backbone: Backbone) -> None:
        super().__init__(file)
        self._backbone = backbone

    def persistent_load(self, name: str) -> Any:
        return self._backbone


def _tensor(flat: Any, dtype: torch.dtype, shape: tuple[int, ...], device: str = "cpu") -> Tensor:
    tensor = torch.from_numpy(flat).view(dtype).view(shape)
    return tensor if device == "cpu" else tensor.to(device)


def _dumps(value: Any, backbone: Backbone) -> bytes:
    file = io.BytesIO()
    _Pickler(file, backbone).dump(value)
    return file.getvalue()
