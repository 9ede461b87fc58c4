"""Hosts (network namespaces) that an emulator in user space joins, with links that have a rate, a queue and a delay.

``emulator.c`` is compiled here, with ``cc``. Hosts use the kernel's TCP with cubic (the player's
sockets ask for it), windows that are cut after an idle
retransmission timeout, nothing remembered of earlier connections, and no segmentation offloads.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab import run

from elsa_sim.topology import Topology

HERE = Path(__file__).parent
DEVICE = "net0"
#: Beyond this a measurement was disturbed by others on the machine: mean, and worst, lateness of deliveries and wake-ups (s).
LATE_MEAN_S, LATE_MAX_S = 0.5e-3, 10e-3
SETTINGS = {
    "tcp_slow_start_after_idle": "1", "tcp_no_metrics_save": "1", "tcp_timestamps": "1",
    "tcp_sack": "1", "tcp_ecn": "2", "tcp_rmem": "4096\t131072\t6291456", "tcp_wmem": "4096\t16384\t4194304",
}  # fmt: skip


@dataclass(frozen=True)
class Port:
    """One direction of a link: rate (bit/s; 0: no limit), drop-tail queue (bytes on the link) and one-way delay (s)."""

    rate_bps: float
    queue_bytes: float
    delay_s: float


@dataclass(frozen=True)
class Net:
    """Hosts, ports by name, and for each pair of hosts that talk the ports from one to the other."""

    hosts: tuple[str, ...]
    ports: Mapping[str, Port]
    routes: Mapping[tuple[str, str], tuple[str, ...]]

    def round_trip(self, a: str, b: str, there: int = 0, back: int = 0) -> float:
        """Nominal round trip (s) of packets of so many bytes on the links, without queueing."""
        legs = ((self.routes[a, b], there), (self.routes[b, a], back))
        passed = ((self.ports[name], size) for route, size in legs for name in route)
        return sum(port.delay_s + (size * 8 / port.rate_bps if port.rate_bps else 0.0) for port, size in passed)


@dataclass(frozen=True)
class Lateness:
    """How late the emulator was since it was last asked: its deliveries, its wake-ups (s); packets dropped per port."""

    packets: int
    late_mean_s: float
    late_max_s: float
    wake_mean_s: float
    wake_max_s: float
    drops: Mapping[str, int] = field(default_factory=dict)

    @property
    def busy(self) -> bool:
        """Whether the machine was too busy for what was measured to count."""
        mean = max(self.late_mean_s, self.wake_mean_s)
        return mean > LATE_MEAN_S or max(self.late_max_s, self.wake_max_s) > LATE_MAX_S


def from_topology(topology: Topology, hosts: Sequence[str], queue_bytes: Mapping[str, float] | float) -> Net:
    """The network of a topology; queues per direction ``"u>v"``, or one size for all. Other nodes than hosts only forward."""
    ports = {}
    for link in topology.links:
        for u, v, rate in ((link.u, link.v, link.up), (link.v, link.u, link.down)):
            queue = queue_bytes if isinstance(queue_bytes, int | float) else queue_bytes[f"{u}>{v}"]
            ports[f"{u}>{v}"] = Port(rate, queue, link.latency)
    routes = {
        (src, dst): tuple(f"{u}>{v}" for u, v in itertools.pairwise(topology.route(src, dst)))
        for src, dst in itertools.permutations(hosts, 2)
    }
    return Net(tuple(hosts), ports, routes)


@functools.cache
def emulator() -> Path:
    """The compiled emulator, in a folder that goes with this process.

    Raises:
        subprocess.CalledProcessError: it does not compile.
    """
    folder = tempfile.TemporaryDirectory(prefix="elsa-emulator-")
    _FOLDERS.append(folder)
    binary = Path(folder.name) / "emulator"
    subprocess.run(["cc", "-O2", "-o", binary, HERE / "emulator.c", "-lm"], check=True, capture_output=True)
    return binary


_LABS = itertools.count()
_FOLDERS: list[tempfile.TemporaryDirectory[str]] = []


def missing() -> str | None:
    """Why links with delay cannot be emulated here, or ``None``."""
    if os.geteuid() != 0:
        return "emulation needs root"
    for tool in ("ip", "cc"):
        if shutil.which(tool) is None:
            return f"emulation of delays needs {tool}, which is not there"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "emulation of delays needs /dev/net/tun"
    try:
        with delay_lab(Net(("a", "b"), {}, {})):
            return None
    except (OSError, RuntimeError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", None) or ""
        return f"emulation of delays does not work here: {error} {said if isinstance(said, str) else said.decode()}".strip()


@dataclass
class DelayLab:
    """A network that is being emulated."""

    net: Net
    spaces: Mapping[str, str]
    process: subprocess.Popen[str]

    def address(self, host: str) -> str:
        """The address of a host."""
        return f"10.201.0.{1 + self.net.hosts.index(host)}"

    def lateness(self) -> Lateness:
        """How late the emulator was since this was last asked.

        Raises:
            RuntimeError: the emulator is no more.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            print(file=self.process.stdin, flush=True)
            told = json.loads(self.process.stdout.readline())
        except (OSError, ValueError) as error:
            raise RuntimeError("the emulator broke off") from error
        return Lateness(**told | {"drops": dict(zip(self.net.ports, told["drops"], strict=True))})

    def start(self, host: str, script: str) -> subprocess.Popen[str]:
        """Start a script of this folder on a host; it has the standard library only."""
        command = ["ip", "netns", "exec", self.spaces[host], sys.executable, "-I", "-S", str(HERE / script)]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ping(self, a: str, b: str, count: int = 20) -> float:
        """The median round trip (s) of ICMP echos of 64 bytes.

        Raises:
            RuntimeError: most of them were lost.
        """
        out, _ = self.start(a, "echo.py").communicate(json.dumps({"to": self.address(b), "count": count}))
        trips: list[float] = json.loads(out or "[]")
        if len(trips) <= count // 2:
            raise RuntimeError(f"{a} reaches {b} with {len(trips)} of {count} echos")
        return statistics.median(trips)


@contextmanager
def delay_lab(net: Net) -> Iterator[DelayLab]:
    """Build a network, and take everything down at the end.

    Raises:
        RuntimeError: the emulator did not start.
    """
    lab_number = next(_LABS)
    spaces = {host: f"elsa{os.getpid()}t{lab_number}-{i}" for i, host in enumerate(net.hosts)}
    index = {name: i for i, name in enumerate(net.ports)}
    lines = [f"host {space} {DEVICE}" for space in spaces.values()]
    lines += [f"port {p.rate_bps:.3f} {p.queue_bytes:.0f} {p.delay_s:.9f}" for p in net.ports.values()]
    for (src, dst), route in net.routes.items():
        numbers = " ".join(str(index[name]) for name in route)
        lines.append(f"route {net.hosts.index(src)} {net.hosts.index(dst)} {numbers}")
    process = None
    try:
        run("ip -batch -", [f"netns add {space}" for space in spaces.values()])
        process = subprocess.Popen([emulator()], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdin is not None
        assert process.stdout is not None
        print("\n".join([*lines, "go"]), file=process.stdin, flush=True)
        if process.stdout.readline() != "ready\n":
            raise RuntimeError("the emulator did not start")
        lab = DelayLab(net, spaces, process)
        for host, space in spaces.items():
            _set_up(space, lab.address(host))
        lab.lateness()  # what was late up to here does not count
        yield lab
    finally:
        if process is not None:
            process.communicate()
        for space in spaces.values():
            subprocess.run(["ip", "netns", "del", space], capture_output=True, check=False)


def _set_up(space: str, address: str) -> None:
    """Addresses, a plain queue in front of the emulator (no pacing), and the kernel's settings."""
    values: dict[str, Any] = {f"net.ipv4.{key}": value for key, value in SETTINGS.items()}
    values |= {"net.ipv6.conf.all.disable_ipv6": 1}
    assigned = [f"{key}={value}" for key, value in values.items()]
    subprocess.run(["ip", "netns", "exec", space, "sysctl", "-q", "-w", *assigned], capture_output=True, check=True)
    run(f"ip -n {space} -batch -", [
        "link set lo up", f"link set {DEVICE} mtu 1500 txqueuelen 10000 up", f"addr add {address}/24 dev {DEVICE}",
    ])  # fmt: skip
