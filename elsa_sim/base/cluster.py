"""Calls on a Ray cluster (extra ``ray``): what was under way where a process or a node died is done again elsewhere.

Calls must be pure, or able to go on where they were stopped. They are tasks of Ray without Ray's own retries, which tell nobody,
and which repeat without end what was killed for lack of memory. A call that raises is not done again: its exception comes back.

Tested in tests/cluster/test_laws.py.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import cloudpickle

from .errors import InputError, OutOfMemory, RunFailed, portable
from .interrupts import SIGNALS

#: How often a call is begun at most; only those count that died.
TRIES = 3
#: How often it is looked whether the cluster is there, while nothing ends (s).
EVERY = 1.0
#: How long the head may take to say which nodes there are (s).
ANSWER = 5.0
#: Ray ends a process whose cluster has not answered for so long (s), without a word; its default, 60, is soon after we say so.
RECONNECT = "RAY_gcs_rpc_server_reconnect_timeout_s"


class Late(RunFailed):
    """Calls have not ended in time."""

    def __init__(self, calls: Sequence[Call]) -> None:
        self.calls = tuple(calls)
        super().__init__(f"{len(calls)} calls have not ended in time")


@dataclass(eq=False)
class Call:
    """What a function is called with, and how that ended."""

    arguments: tuple[Any, ...]
    node: str | None = None
    """The node of the cluster that it should run on if there is room, as what it needs is there; then, where it ran."""
    result: Any = None
    error: Exception | None = None
    """What it raised, or that it is given up; then there is no result."""
    died: list[str] = field(default_factory=list)
    """What became of the processes that have died of it or under it, as Ray names it."""


class Cluster:
    """A connection to a Ray cluster: at ``address`` (as ``ray.init`` has it), or the one that this process is connected to.

    ``asked`` is where the user asks for it, for messages.

    Raises:
        InputError: Ray is not installed, or there is no cluster that can be used.
    """

    #: For how long the head may be silent (s).
    silent_s = 30.0
    #: For how long there may be no node that has what calls need (s): new ones may be on their way.
    empty_s = 300.0

    def __init__(self, address: str | None, asked: str) -> None:
        self.ray = ray = _imported(asked)
        self._begun = not ray.is_initialized()
        if self._begun:
            _usable(address, asked)
            try:
                with _signals_kept(), _patient():
                    ray.init(address=address, log_to_driver=False, logging_level="error", include_dashboard=False)
            except (ConnectionError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
                raise InputError(f"{asked}: no cluster can be used there: {_why(error)}") from None
        host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
        self._head = (host.strip("[]"), int(port))
        self._asking: tuple[threading.Thread, list[dict[str, Any]]] | None = None
        self._remote = ray.remote(max_retries=0)(_attempt)

    def play(
        self,
        function: Callable[..., Any],
        calls: Sequence[Call],
        cpus: int = 1,
        gpus: int = 0,
        timeout_s: float | None = None,
        died: Callable[[Call], None] = lambda call: None,
    ) -> Iterator[Call]:
        """Call ``function`` with the arguments of each, on so many processors and GPUs; gives them back as they end.

        ``died`` is told of a call before it is begun again. ``timeout_s`` is the host time (s) that calls may take side by
        side; where there is no room for that, or something died, the time begins anew whenever one ends.

        Raises:
            Late: some did not end in time.
            RunFailed: the cluster is gone, or has no node that has what a call needs.
        """
        ray = self.ray
        waiting: dict[Any, Call] = {}
        paths, sent = [os.path.abspath(each) for each in sys.path], cloudpickle.dumps(function)

        def begin(call: Call) -> None:
            remote = self._remote.options(num_cpus=cpus, num_gpus=gpus, scheduling_strategy=self._strategy(call))
            waiting[remote.remote(paths, sent, call.arguments)] = call

        well = time.monotonic()
        while (nodes := self._nodes()) is None:  # Ray itself would wait for the head, and heed no interrupt
            self._look(cpus, gpus, well)
            time.sleep(EVERY)
        try:
            for call in calls:
                begin(call)
            begun = well = time.monotonic()
            crowded = _room(nodes, cpus, gpus) < len(calls)
            while waiting:
                wait = EVERY if timeout_s is None else min(EVERY, max(0.0, begun + timeout_s - time.monotonic()))
                ready, _ = ray.wait(list(waiting), num_returns=1, timeout=wait)
                if ready:
                    call = waiting.pop(ready[0])
                    if self._ended(call, ready[0]):
                        yield call
                    else:
                        died(call)
                        begin(call)
                        crowded = True
                    well, begun = time.monotonic(), time.monotonic() if crowded else begun
                elif timeout_s is not None and time.monotonic() >= begun + timeout_s:
                    raise Late(list(waiting.values()))
                else:
                    well = self._look(cpus, gpus, well)
        except (ray.exceptions.LocalRayletDiedError, ray.exceptions.RaySystemError) as error:
            raise RunFailed(f"the Ray cluster is gone: {_why(error)}") from error
        finally:
            self._cancel(list(waiting))

    def _strategy(self, call: Call) -> Any:
        if call.node is None or call.died:
            return "SPREAD"
        affinity = self.ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
        return affinity(call.node, soft=True, _spill_on_unavailable=True)

    def _ended(self, call: Call, ready: Any) -> bool:
        """Take down how a call ended; whether that is the end of it."""
        exceptions = self.ray.exceptions
        try:
            call.node, fine, found = self.ray.get(ready)
        except exceptions.LocalRayletDiedError:
            raise
        except exceptions.OutOfMemoryError as error:
            call.error = OutOfMemory(f"a worker of the cluster ran out of memory: {error}".partition("\n")[0])
            call.error.__cause__ = error
        except exceptions.RayError as error:
            if isinstance(error, exceptions.RayTaskError) and not isinstance(error.cause, exceptions.ObjectLostError):
                told = f"{error}".strip().rpartition("\n")[2]  # the end of a traceback
                call.error = RunFailed(
                    f"a worker of the cluster cannot do what it is sent: {told}; are its packages these?"
                )
                return True
            call.died.append(type(error).__name__)
            if len(call.died) < TRIES:
                return False
            call.error = RunFailed(f"a worker of the cluster died, {TRIES} times: {_why(error)}")
            call.error.__cause__ = error
        else:
            if fine:
                call.result = found
            else:
                call.error = pickle.loads(found)
        return True

    def _nodes(self) -> list[dict[str, float]] | None:
        """What the nodes have that are alive; ``None`` where the head does not answer.

        Ray waits for a head without an end and heeds no interrupt meanwhile, so a thread asks it.
        """
        try:
            socket.create_connection(self._head, EVERY).close()
        except OSError:
            return None
        if self._asking is None:
            found: list[dict[str, Any]] = []
            thread = threading.Thread(target=lambda: found.extend(self.ray.nodes()), daemon=True)
            self._asking = thread, found
            thread.start()
        thread, found = self._asking
        thread.join(ANSWER)
        if thread.is_alive():
            return None
        self._asking = None
        return [node["Resources"] for node in found if node["Alive"]]

    def _look(self, cpus: int, gpus: int, well: float) -> float:
        """When the cluster last was one that can play calls, given when it was before."""
        now, nodes = time.monotonic(), self._nodes()
        if nodes is not None and _room(nodes, cpus, gpus):
            return now
        if nodes is None:
            if now - well > self.silent_s:
                raise RunFailed(f"the Ray cluster is gone: its head has not answered for {self.silent_s:g} s")
        elif now - well > self.empty_s:
            what = f"{cpus} processors" + (f" and {gpus} GPUs" if gpus else "")
            raise RunFailed(f"no node of the Ray cluster has had {what} for {self.empty_s:g} s")
        return well

    def _cancel(self, left: Sequence[Any]) -> None:
        if left and self._nodes() is not None:
            for each in left:
                self.ray.cancel(each, force=True)

    def close(self) -> None:
        """End the connection, if it was made here."""
        if self._begun:
            with _signals_kept():
                self.ray.shutdown()


def _imported(asked: str) -> Any:
    try:
        with _patient():  # it is read then, and once more when a connection is made
            import ray
            import ray.util.scheduling_strategies
    except ImportError:
        raise InputError(f"{asked}: ray is not installed; pip install 'elsa-sim[ray]'") from None
    return ray


def _usable(address: str | None, asked: str) -> None:
    """Refuse at once what Ray would try for long, or what is not meant."""
    found = os.environ.get("RAY_ADDRESS", "") if address in (None, "auto") else address or ""
    if "://" in found:
        raise InputError(f"{asked}: {found} is no HOST:PORT; start on a node of the cluster, or by 'ray job submit'")
    host, _, port = found.rpartition(":")
    if port.isdecimal():
        try:
            socket.create_connection((host.strip("[]"), int(port)), 10 * EVERY).close()
        except (OSError, OverflowError) as error:
            raise InputError(f"{asked}: no cluster can be used there: {found} does not answer: {error}") from None


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Ray has SIGTERM end the process, or leaves it to the operating system: afterwards, it is as before."""
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():
                signal.signal(number, handler)


@contextmanager
def _patient() -> Iterator[None]:
    """Have Ray not end this process before it can say that its cluster is gone."""
    stated = RECONNECT in os.environ
    os.environ.setdefault(RECONNECT, "600")
    try:
        yield
    finally:
        if not stated:
            del os.environ[RECONNECT]


def _room(nodes: Sequence[Mapping[str, float]], cpus: int, gpus: int) -> float:
    """For how many calls there are processors and GPUs."""
    needs = {name: need for name, need in (("CPU", cpus), ("GPU", gpus)) if need}
    return sum(min(node.get(name, 0.0) // need for name, need in needs.items()) for node in nodes)


def _attempt(paths: Sequence[str], sent: bytes, arguments: tuple[Any, ...]) -> tuple[str, bool, Any]:
    """Runs on the cluster: the node, and the result, or (``False``) what was raised.

    Modules are also looked for under ``paths``: plugins are imported by name.
    """
    import ray

    node = ray.get_runtime_context().get_node_id()
    sys.path += [each for each in paths if each not in sys.path]
    try:
        return node, True, pickle.loads(sent)(*arguments)
    except ray.exceptions.RayError:  # what it needs was lost with a node
        raise
    except Exception as error:
        return node, False, portable(error)


def _why(error: BaseException) -> str:
    """An exception of Ray in one line, with what is behind it, of which Ray tells in many."""
    said = [f"{error}".strip().partition("\n")[0], f"{error.__cause__ or ''}".strip().rpartition("\n")[2]]
    return "; ".join(filter(None, said)) or type(error).__name__
