"""Work in other processes: on this machine, or on a cluster (Ray).

A worker holds the frozen backbone and is sent subgraphs of work: functions, their inputs, and which outputs are wanted.
Nothing that is sent names the process it came from, so any worker can take any subgraph.
"""

from __future__ import annotations

import mmap
import os
import pickle
import select
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import typing
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from typing import IO, TYPE_CHECKING, Any

import cloudpickle
import numpy as np

from ...base.cluster import Call, Cluster, Late
from ...base.errors import OutOfMemory, RunFailed, portable
from ...base.parents import end_with
from .serialisation import Worker

if TYPE_CHECKING:
    from ..backbone.model import Backbone


class WorkerPool(typing.Protocol):
    """Processes that compute."""

    size: int

    @property
    def notes(self) -> Sequence[str]:
        """What happened to them that the user should know."""

    def work(self, tasks: Sequence[bytes], names: Sequence[str]) -> list[bytes]:
        """The results of ``tasks`` (see :mod:`.serialisation`), computed side by side; ``names`` say what they are."""

    def close(self) -> None:
        """End the processes."""


class LocalPool:
    """Workers on this machine: interpreters of their own, so a script needs no guard and a run leaves nothing behind.

    Each reads the backbone from a file, then one task at a time from its standard input, as frames of a length and so many
    bytes. They end with the process that started them, and so does the file, which has no name. ``timeout_s`` is the host
    time (s) that a task may take, none for any.
    """

    notes: Sequence[str] = ()

    def __init__(self, backbone: Backbone, size: int, threads: int, timeout_s: float | None = None) -> None:
        self.size, self.timeout_s = size, timeout_s
        self._file = tempfile.TemporaryFile(prefix="elsa-sim-")  # noqa: SIM115 until close
        self._file.write(_copied(backbone))
        self._file.flush()
        begin = pickle.dumps((list(sys.path), self._file.fileno(), threads, os.getpid()))
        command = [sys.executable, "-P", "-c", "from elsa_sim.learning.execution.pools import serve; serve()"]
        here = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        pipe, files = subprocess.PIPE, (self._file.fileno(),)
        self._workers = [
            subprocess.Popen(command, stdin=pipe, stdout=pipe, env=here, pass_fds=files) for _ in range(size)
        ]
        for worker in self._workers:  # they begin while the timeline plays
            _send(worker.stdin, begin)

    def work(self, tasks: Sequence[bytes], names: Sequence[str]) -> list[bytes]:
        """Each task on a worker of its own.

        Raises:
            OutOfMemory: a worker was killed.
            RunFailed: a worker died otherwise, or did not answer in time.
        """
        results: list[tuple[bool, bytes]] = []
        late: list[int] = []
        busy = self._workers[: len(tasks)]

        def give_up() -> None:
            late.extend(i for i, worker in enumerate(busy) if i >= len(results) and not _answers(worker))
            for i in late:
                busy[i].kill()  # whoever reads from it goes on

        watch = None if self.timeout_s is None else threading.Timer(self.timeout_s, give_up)
        if watch is not None:
            watch.start()
        try:
            for worker, task in zip(busy, tasks, strict=True):
                _send(worker.stdin, task)
            for worker in busy:
                results.append(_receive(worker.stdout))
        except (EOFError, BrokenPipeError):
            if late:
                raise _too_late(self.timeout_s, [names[i] for i in late]) from None
            dead = [code for worker in self._workers if (code := _ended(worker)) is not None]
            if -signal.SIGKILL in dead:
                what = f"a worker process was killed (signal {signal.SIGKILL:d}), as it is when memory runs out"
                raise OutOfMemory(f"{what}; fewer execution.workers need less") from None
            how = f"exit status {dead[0]}" if dead and dead[0] >= 0 else f"signal {-dead[0]}" if dead else "no answer"
            raise RunFailed(f"a worker process died ({how})") from None
        finally:
            if watch is not None:
                watch.cancel()
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
    path, backbone, threads, parent = pickle.loads(_receive(source)[1])
    end_with(parent)
    sys.path[:] = path  # plugins are imported by name
    with suppress(EOFError):
        with mmap.mmap(backbone, 0, access=mmap.ACCESS_READ) as held:
            worker = Worker(held[:], threads)
        while True:
            _, task = _receive(source)
            try:
                _send(target, worker.work(task))
            except Exception as error:  # whatever it is, it is raised where the task came from
                _send(target, portable(error), failed=True)


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


def _answers(worker: subprocess.Popen[bytes]) -> bool:
    """Whether an answer of a worker, or its end, can be read."""
    assert worker.stdout is not None
    return bool(select.select([worker.stdout], [], [], 0)[0])


def _too_late(timeout_s: float | None, names: Sequence[str]) -> RunFailed:
    what = "; ".join(names)
    return RunFailed(
        f"{len(names)} of the workers gave no answer within {timeout_s:g} s (execution.worker_timeout): {what}; a larger "
        "limit if they only need longer"
    )


def _ended(worker: subprocess.Popen[bytes]) -> int | None:
    with suppress(subprocess.TimeoutExpired):
        return worker.wait(0.1)
    return None


class RayPool:
    """Workers on the Ray cluster that this machine belongs to, else on a new one on this machine (extra ``ray``).

    A share of work is a call on the cluster (:mod:`...base.cluster`): what a worker or a node that died was computing is
    computed again. The backbone travels once to each node; every worker process keeps a copy, and shares go where they
    went before, as long as there is room.
    """

    def __init__(self, backbone: Backbone, size: int, threads: int, timeout_s: float | None = None) -> None:
        self.size, self.threads, self.timeout_s = size, threads, timeout_s
        self._cluster = Cluster(None, "execution.cluster: ray")
        self._held = self._cluster.ray.put(np.frombuffer(_copied(backbone), np.uint8))
        self._nodes: list[str | None] = [None] * size
        self._died: Counter[str] = Counter()

    @property
    def notes(self) -> Sequence[str]:
        """How often shares of work were computed again."""
        if not self._died:
            return ()
        causes = ", ".join(f"{count} x {name}" for name, count in sorted(self._died.items()))
        return (f"shares of work were computed again, as a worker or a node of the Ray cluster died: {causes}",)

    def work(self, tasks: Sequence[bytes], names: Sequence[str]) -> list[bytes]:
        """Each task on a worker of its own if there is room for that.

        Raises:
            OutOfMemory: a worker was killed, as there was no memory for it.
            RunFailed: workers died of a task again and again, or did not answer in time, or the cluster is gone.
        """
        calls = [Call((self._held, self.threads, task), node) for task, node in zip(tasks, self._nodes, strict=False)]
        try:
            for _ in self._cluster.play(_computed, calls, self.threads, timeout_s=self.timeout_s):
                pass
        except Late as late:
            raise _too_late(self.timeout_s, [names[calls.index(call)] for call in late.calls]) from None
        finally:
            self._died.update(name for call in calls for name in call.died)
        self._nodes[: len(calls)] = [call.node for call in calls]
        for call in calls:
            if call.error is not None:
                raise call.error
        return [call.result for call in calls]

    def close(self) -> None:
        self._cluster.close()


def _computed(held: Any, threads: int, task: bytes) -> bytes:
    """Runs on the cluster."""
    return _worker(held, threads).work(task)


@lru_cache(maxsize=1)
def _worker(held: Any, threads: int) -> Worker:
    """The worker that a process of the cluster is, from the first share on that it computes for a run."""
    import ray

    return Worker(memoryview(ray.get(held)), threads)


#: Where workers are, by the name that a scenario gives it.
POOLS: dict[str, type[LocalPool] | type[RayPool]] = {"local": LocalPool, "ray": RayPool}


def _copied(backbone: Backbone) -> bytes:
    return cloudpickle.dumps(backbone)  # type: ignore[no-any-return]
