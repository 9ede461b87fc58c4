"""Work in other processes: on this machine, or on a cluster (Ray).

A worker holds the frozen backbone and is sent strands of work: functions, their inputs, and which outputs are wanted.
Nothing that is sent names the process it came from, so any worker can take any strand.
"""

from __future__ import annotations

import os
import pickle
import signal
import struct
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Protocol

import cloudpickle

from ...base.errors import InputError, RunFailed
from ..backbone.model import Backbone
from .serialisation import Hand


class Crew(Protocol):
    """Processes that compute."""

    size: int

    def work(self, tasks: Sequence[bytes]) -> list[bytes]:
        """The results of ``tasks`` (see ``shipment``), computed side by side."""

    def close(self) -> None:
        """End the processes."""


class Processes:
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
        self._hands = [subprocess.Popen(command, stdin=pipe, stdout=pipe, env=here) for _ in range(size)]
        for hand in self._hands:  # they begin while the timeline plays
            _send(hand.stdin, begin)

    def work(self, tasks: Sequence[bytes]) -> list[bytes]:
        """Each task on a worker of its own.

        Raises:
            RunFailed: a worker died.
        """
        try:
            for hand, task in zip(self._hands, tasks, strict=False):
                _send(hand.stdin, task)
            results = [_receive(hand.stdout) for hand, _ in zip(self._hands, tasks, strict=False)]
        except (EOFError, BrokenPipeError):
            dead = [code for hand in self._hands if (code := _ended(hand)) is not None]
            how = f"exit status {dead[0]}" if dead and dead[0] >= 0 else f"signal {-dead[0]}" if dead else "no answer"
            raise RunFailed(f"a worker process died ({how}); fewer workers need less memory") from None
        for failed, result in results:
            if failed:
                raise pickle.loads(result)
        return [result for _, result in results]

    def close(self) -> None:
        for hand in self._hands:
            hand.kill()
            for pipe in (hand.stdin, hand.stdout):
                with suppress(BrokenPipeError):
                    pipe.close()  # type: ignore[union-attr]
            hand.wait()
        self._file.close()


def serve() -> None:
    """The life of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is for the run, which then ends its workers
    source, target = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    path, backbone, threads = pickle.loads(_receive(source)[1])
    sys.path[:] = path  # plugins are imported by name
    with suppress(EOFError):
        hand = Hand(Path(backbone).read_bytes(), threads)
        while True:
            _, task = _receive(source)
            try:
                _send(target, hand.work(task))
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


def _ended(hand: subprocess.Popen[bytes]) -> int | None:
    with suppress(subprocess.TimeoutExpired):
        return hand.wait(0.1)
    return None


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


def _copied(backbone: Backbone) -> bytes:
    return cloudpickle.dumps(backbone)  # type: ignore[no-any-return]
