"""A Ray cluster of this machine's own processes: a head and a second node, each with one processor.

Processes are ended by their own process groups and sessions, never by name: others may have clusters here.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

#: A dead node is noticed within about 2 s, not within 30.
QUICK = {
    "RAY_health_check_initial_delay_ms": "0",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "2",
}


def eventually(found: Callable[[], Any], limit_s: float = 120.0) -> Any:
    """What ``found`` gives as soon as that is something."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        if result := found():
            return result
        time.sleep(0.05)
    raise TimeoutError(f"not within {limit_s:g} s")


class TwoNodes:
    """The cluster; ``environment`` is what processes that use it need (its address and its own token)."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="r", dir="/tmp"))  # short: there are sockets in it
        token = self.folder / "token"
        token.touch(0o600)
        token.write_text(secrets.token_hex(32))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.address = f"127.0.0.1:{port}"
        self.environment = {
            "RAY_ADDRESS": self.address,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(token),
        }
        self.nodes: dict[str, subprocess.Popen[bytes]] = {}
        self._start("head", "--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={self.folder}")
        eventually(self._answers)
        self.second()

    def second(self) -> None:
        """Start the second node, if it is not there."""
        if "second" not in self.nodes:
            self._start("second", f"--address={self.address}")

    def _answers(self) -> bool:
        with suppress(OSError), socket.create_connection(tuple(self.address.split(":")), 1):  # type: ignore[arg-type]
            return True
        return False

    def _start(self, name: str, *more: str) -> None:
        line = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus=1",
                "--disable-usage-stats", "--object-store-memory=80000000", *more]  # fmt: skip
        here = {**os.environ, **self.environment, **QUICK, "OMP_NUM_THREADS": "1"}
        del here["RAY_ADDRESS"]
        with (self.folder / f"{name}.log").open("wb") as log:
            self.nodes[name] = subprocess.Popen(line, env=here, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log,
                                                stderr=log, start_new_session=True)  # fmt: skip

    def kill(self, name: str) -> None:
        """Kill the processes of a node, its raylet among them; its workers end with that."""
        node = self.nodes.pop(name)
        with suppress(ProcessLookupError):
            os.killpg(node.pid, signal.SIGKILL)
        node.wait()
        for each in _of_session(node.pid):
            with suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)

    def close(self) -> None:
        for name in list(self.nodes)[::-1]:
            self.kill(name)
        shutil.rmtree(self.folder, ignore_errors=True)


def _of_session(session: int) -> list[int]:
    """The processes of a session."""
    found = []
    for each in Path("/proc").iterdir():
        if each.name.isdigit():
            with suppress(OSError, ProcessLookupError):
                if os.getsid(int(each.name)) == session:
                    found.append(int(each.name))
    return found


@contextmanager
def two_nodes() -> Iterator[TwoNodes]:
    """The cluster, which ends however the block does; this process uses it."""
    cluster = TwoNodes()
    before = {name: os.environ.get(name) for name in cluster.environment}
    os.environ.update(cluster.environment)
    try:
        yield cluster
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        cluster.close()


def alive() -> list[str]:
    """The nodes of the cluster that this process is connected to."""
    import ray

    return [node["NodeID"] for node in ray.nodes() if node["Alive"]]


def here() -> str:
    """The node that this process runs on."""
    import ray

    return str(ray.get_runtime_context().get_node_id())


# What runs on the cluster; its processes import this module.


def lingers(folder: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Say that the call has begun, wait while there is a file ``linger``, and then do what is to be done."""
    linger = Path(folder) / "linger"
    if linger.exists():
        with (Path(folder) / here()).open("a") as log:
            log.write("begun\n")
        eventually(lambda: not linger.exists())
    return function(*arguments)


def dies(folder: str) -> None:
    """End the process, as a lack of memory does."""
    with (Path(folder) / "begun").open("a") as log:
        log.write("begun\n")
    os.kill(os.getpid(), signal.SIGKILL)


def raises(folder: str) -> None:
    """Fail."""
    with (Path(folder) / "begun").open("a") as log:
        log.write("begun\n")
    raise KeyError("on purpose")
