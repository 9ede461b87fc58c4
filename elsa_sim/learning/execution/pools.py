"""Work in other processes: on this machine, or on a cluster (Ray).

A worker holds the frozen backbone and is sent subgraphs of work: functions, their inputs, and which outputs are wanted.
Nothing that is sent names the process it came from, so any worker can take any subgraph.
"""

from __future__ import annotations

import os
import pickle
import signal
import struct
import subprocess
import sys
import tempfile
import typing
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

import cloudpickle

from ...base.errors import InputError, OutOfMemory, RunFailed
from ..backbone.model import Backbone
from .serialisation import Worker


class WorkerPool(typing.Protocol):
    """Processes that compute."""

    size: int

    def work(self, tasks: Sequence[bytes]) -> list[bytes]:
        """The results of ``tasks`` (see :mod:`.serialisation`), computed side by side."""

    def close(self) -> None:
        """End the processes."""


class LocalPool:
    """Workers on this machine: interpreters of their own, so a script needs no guard and a run leaves nothing behind.

    Each reads the backbone from a file, then one task at a time from its standard input, as frames of a length and so many
    bytes.
    """

    def __init__(self, backbone: Backbone, size: int, threads: int) -> None:
        self.size = size
        self._file = tempfile.NamedTemporaryFile(prefix="elsa-sim-", suffix=".backbone")  # noqa: SIM115 until close
        self._file.write(_copied(backbone))
        self._file.flush()
        begin = pickle.dumps((list(sys.path), self._file.name, threads))
        command = [sys.executable, "-c", "from elsa_sim.learning.execution.pools import serve; serve()"]
        here = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        pipe = subprocess.PIPE
        self._workers = [subprocess.Popen(command, stdin=pipe, stdout=pipe, env=here) for _ in range(size)]
        for worker in self._workers:  # they begin while the timeline plays
            _send(worker.stdin, begin)

    def work(self, tasks: Sequence[bytes]) -> list[bytes]:
        """Each task on a worker of its own.

        Raises:
            OutOfMemory: a worker was killed.
            RunFailed: a worker died otherwise.
        """
        try:
            for worker, task in zip(self._workers, tasks, strict=False):
                _send(worker.stdin, task)
            results = [_receive(worker.stdout) for worker, _ in zip(self._workers, tasks, strict=False)]
        except (EOFError, BrokenPipeError):
            dead = [code for worker in self._workers if (code := _ended(worker)) is not None]
            if -signal.SIGKILL in dead:
                what = f"a worker process was killed (signal {signal.SIGKILL:d}), as it is when memory runs out"
                raise OutOfMemory(f"{what}; fewer execution.workers need less") from None
            how = f"exit status {dead[0]}" if dead and dead[0] >= 0 else f"signal {-dead[0]}" if dead else "no answer"
            raise RunFailed(f"a worker process died ({how}); fewer workers need less memory") from None
        for failed, result in results:
            if failed:
                raise pickle.loads(result)
        return [result for _, result in results]

    def close(self) -> None:
        for worker in self._workers:
            worker.kill()
            for pipe in (worker.stdin, worker.stdout):
                with suppress(BrokenPipeError):
                    pipe.close()  # type: ignore[union-attr]
            worker.wait()
        self._file.close()


def serve() -> None:
    """The life of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is for the run, which then ends its workers
    source, target = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    path, backbone, threads = pickle.loads(_receive(source)[1])
    sys.path[:] = path  # plugins are imported by name
    with suppress(EOFError):
        worker = Worker(Path(backbone).read_bytes(), threads)
        while True:
            _, task = _receive(source)
            try:
                _send(target, worker.work(task))
            except Exception as error:  # whatever it is, it is raised where the task came from
                _send(target, _portable(error), failed=True)


def _portable(error: Exception) -> bytes:
    try:
        pickle.loads(found := cloudpickle.dumps(error))
    except Exception:  # an exception that cannot be built again from its arguments
        return cloudpickle.dumps(RuntimeError(f"{type(error).__name__}: {error}"))  # type: ignore[no-any-return]
    return found  # type: ignore[no-any-return]


def _send(pipe: IO[bytes] | None, frame: bytes, failed: bool = False) -> None:
    assert pipe is not None
    pipe.write(struct.pack("<?Q", failed, len(frame)))
    pipe.write(frame)
    pipe.flush()


def _receive(pipe: IO[bytes] | None) -> tuple[bool, bytes]:
    assert pipe is not None
    head = pipe.read(9)
    if len(head) < 9:
        raise EOFError
    failed, size = struct.unpack("<?Q", head)
    frame = pipe.read(size)
    if len(frame) < size:
        raise EOFError
    return failed, frame


def _ended(worker: subprocess.Popen[bytes]) -> int | None:
    with suppress(subprocess.TimeoutExpired):
        return worker.wait(0.1)
    return None


class RayPool:
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
        actor = ray.remote(num_cpus=threads)(Worker)
        self._workers = [actor.remote(held, threads) for _ in range(size)]

    def work(self, tasks: Sequence[bytes]) -> list[bytes]:
        """Each task on a worker of its own.

        Raises:
            OutOfMemory: a worker was killed, as there was no memory for it.
            RunFailed: a worker died otherwise.
        """
        sent = [worker.work.remote(task) for worker, task in zip(self._workers, tasks, strict=False)]
        try:
            return list(self._ray.get(sent))
        except self._ray.exceptions.OutOfMemoryError as error:
            raise OutOfMemory(f"a worker of the cluster ran out of memory: {error}".partition("\n")[0]) from None
        except self._ray.exceptions.RayActorError as error:
            raise RunFailed(f"a worker of the cluster died: {error}".partition("\n")[0]) from error

    def close(self) -> None:
        if self._begun:
            self._ray.shutdown()


#: Where workers are, by the name that a scenario gives it.
POOLS: dict[str, type[LocalPool] | type[RayPool]] = {"local": LocalPool, "ray": RayPool}


def _copied(backbone: Backbone) -> bytes:
    return cloudpickle.dumps(backbone)  # type: ignore[no-any-return]
