"""Work in other processes: on this machine (loky), or on a cluster (Ray).

A worker holds the frozen backbone and is sent strands of work: functions, their inputs, and which outputs are wanted.
Nothing that is sent names the process it came from, so any worker can take any strand.
"""

from __future__ import annotations

import io
import pickle
import signal
import sys
from collections.abc import Sequence
from typing import Any, Protocol

import cloudpickle
import torch
from torch import Tensor

from ..errors import InputError, RunFailed
from .backbone import Backbone
from .lockstep import play
from .work import Node, Ref


class Crew(Protocol):
    """Processes that compute."""

    size: int

    def work(self, tasks: Sequence[bytes]) -> list[bytes]:
        """The results of ``tasks`` (see :func:`packed`), computed side by side."""

    def close(self) -> None:
        """End the processes."""


class Hand:
    """What computes inside a worker."""

    def __init__(self, backbone: bytes, threads: int) -> None:
        torch.set_num_threads(threads)
        self.backbone: Backbone = pickle.loads(backbone)

    def work(self, task: bytes) -> bytes:
        """The wanted outputs of a task, in order."""
        return _dumps(_compute(_Unpickler(io.BytesIO(task), self.backbone).load()), self.backbone)


class Processes:
    """Workers on this machine."""

    def __init__(self, backbone: Backbone, size: int, threads: int) -> None:
        from loky import ProcessPoolExecutor

        self.size = size
        self._pool = ProcessPoolExecutor(
            max_workers=size, initializer=_begin, initargs=(_copied(backbone), threads, list(sys.path))
        )
        for _ in range(size):  # they begin while the timeline plays
            self._pool.submit(int)

    def work(self, tasks: Sequence[bytes]) -> list[bytes]:
        """Each task on a worker of its own.

        Raises:
            RunFailed: a worker died.
        """
        from loky.process_executor import BrokenProcessPool

        try:
            return list(self._pool.map(_work, tasks))
        except BrokenProcessPool as error:
            reason = str(error).partition("\n")[0]
            raise RunFailed(f"a worker process died ({reason}); fewer workers need less memory") from error

    def close(self) -> None:
        self._pool.shutdown(wait=True, kill_workers=True)


class Cluster:
    """Workers as Ray actors: on the cluster that this machine belongs to, else on this machine (extra ``ray``)."""

    def __init__(self, backbone: Backbone, size: int, threads: int) -> None:
        try:
            import ray
        except ImportError:
            raise InputError("execution.cluster: ray is not installed; pip install 'elsa-sim[ray]'") from None
        self.size, self._ray = size, ray
        self._begun = not ray.is_initialized()
        if self._begun:
            ray.init(log_to_driver=False, include_dashboard=False)
        held = ray.put(_copied(backbone))
        actor = ray.remote(num_cpus=threads)(Hand)
        self._hands = [actor.remote(held, threads) for _ in range(size)]

    def work(self, tasks: Sequence[bytes]) -> list[bytes]:
        """Each task on a worker of its own.

        Raises:
            RunFailed: a worker died.
        """
        sent = [hand.work.remote(task) for hand, task in zip(self._hands, tasks, strict=False)]
        try:
            return list(self._ray.get(sent))
        except self._ray.exceptions.RayActorError as error:
            raise RunFailed(f"a worker of the cluster died: {error}".partition("\n")[0]) from error

    def close(self) -> None:
        if self._begun:
            self._ray.shutdown()


#: Where workers are, by the name that a scenario gives it.
CREWS: dict[str, type[Processes] | type[Cluster]] = {"local": Processes, "ray": Cluster}


def packed(nodes: Sequence[Node], backbone: Backbone) -> tuple[bytes, list[Ref]]:
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
            return item.value
        outputs = [output() for output in item.node.outputs]
        return _Inner(place[id(item.node)], next(i for i, ref in enumerate(outputs) if ref is item))

    return [(node.function, [sent(item) for item in node.inputs], len(node.outputs)) for node in nodes]


def unpacked(result: bytes, backbone: Backbone) -> list[Any]:
    """The values that a task gave."""
    return list(_Unpickler(io.BytesIO(result), backbone).load())


class _Inner:
    """An input that is an output of another node of the task."""

    def __init__(self, node: int, output: int) -> None:
        self.node, self.output = node, output


class _Now:
    """Keeps nodes until they are asked for together."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []

    def enlist(self, node: Node) -> None:
        self.nodes.append(node)

    def run(self, node: Node) -> None:
        raise RuntimeError("the strand does not hold what it needs")


def _compute(task: tuple[list[tuple[Any, list[Any], int]], list[tuple[int, int]]]) -> list[Any]:
    steps, wanted = task
    runner, made = _Now(), list[tuple[Ref, ...]]()
    for function, inputs, outputs in steps:
        found = [made[item.node][item.output] if isinstance(item, _Inner) else item for item in inputs]
        made.append(Node.pend(function, found, (None,) * outputs, runner))
    kept = [made[node][output] for node, output in wanted]
    made.clear()
    steps.clear()
    nodes, runner.nodes = runner.nodes, []
    play(nodes)
    return [ref.value for ref in kept]


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Tensors go with their own elements only, whatever they are views of; the backbone does not go at all."""

    def __init__(self, file: io.BytesIO, backbone: Backbone) -> None:
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)
        self._backbone = backbone

    def persistent_id(self, item: Any) -> str | None:
        return "backbone" if item is self._backbone else None

    def reducer_override(self, item: Any) -> Any:
        if isinstance(item, Tensor):
            flat = item.detach().cpu().reshape(-1).clone().view(torch.uint8).numpy()
            return _tensor, (flat, item.dtype, tuple(item.shape))
        return super().reducer_override(item)


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, backbone: Backbone) -> None:
        super().__init__(file)
        self._backbone = backbone

    def persistent_load(self, name: str) -> Any:
        return self._backbone


def _tensor(flat: Any, dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
    return torch.from_numpy(flat).view(dtype).view(shape)


def _dumps(value: Any, backbone: Backbone) -> bytes:
    file = io.BytesIO()
    _Pickler(file, backbone).dump(value)
    return file.getvalue()


def _copied(backbone: Backbone) -> bytes:
    return cloudpickle.dumps(backbone)  # type: ignore[no-any-return]


#: The hand of this process, if it is a worker.
_hands: list[Hand] = []


def _begin(backbone: bytes, threads: int, path: list[str]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is for the run, which then ends its workers
    sys.path[:] = path  # plugins are imported by name
    _hands[:] = [Hand(backbone, threads)]


def _work(task: bytes) -> bytes:
    return _hands[0].work(task)
