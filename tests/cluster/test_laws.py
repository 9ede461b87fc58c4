"""A Ray cluster of two processes: what a node that dies was doing is done again, and nothing else changes.

The smallest proof of each law; longer ones, through the command line: test_studies.py and test_runs.py (``make ray``).
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from in_process import InProcess
from ray_cluster import TwoNodes, alive, dies, eventually, here, lingers, raises, two_nodes
from small_runs import loaded

from elsa_sim.base.cluster import TRIES, Call, Cluster, Late, _usable
from elsa_sim.base.errors import InputError, OutOfMemory, RunFailed
from elsa_sim.learning.execution import pools
from elsa_sim.run import simulation

pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed"),  # imported once the environment is set
]


@pytest.fixture(scope="module")
def nodes() -> Iterator[TwoNodes]:
    with two_nodes() as found:
        yield found


@pytest.fixture(scope="module")
def terminated() -> Iterator[list[int]]:
    """What SIGTERM does: a number more."""
    came: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: came.append(number))
    yield came
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="module")
def cluster(nodes: TwoNodes, terminated: list[int]) -> Iterator[Cluster]:
    cluster = Cluster(nodes.address, "a test")
    yield cluster
    cluster.close()


@pytest.fixture
def both(nodes: TwoNodes, cluster: Cluster) -> TwoNodes:
    """Both nodes are there."""
    nodes.second()
    eventually(lambda: len(alive()) == 2)
    return nodes


def meanwhile(function: Any, *arguments: Any) -> threading.Thread:
    thread = threading.Thread(target=function, args=arguments, daemon=True)
    thread.start()
    return thread


def kill_when_it_computes(nodes: TwoNodes, folder: Path) -> None:
    """Kill the second node as soon as something has begun there, and let what lingers go on."""
    (second,) = set(alive()) - {here()}
    eventually((folder / second).exists)
    nodes.kill("second")
    (folder / "linger").unlink()


def test_signals_are_left_as_they_were(cluster: Cluster, terminated: list[int]) -> None:
    """Ray itself would have SIGTERM end the process."""
    os.kill(os.getpid(), signal.SIGTERM)
    eventually(lambda: len(terminated) == 1, 5.0)


def test_calls_run_side_by_side_and_what_they_raise_comes_back_at_once(
    both: TwoNodes, cluster: Cluster, tmp_path: Path
) -> None:
    (tmp_path / "linger").touch()

    def let_go() -> None:
        eventually(lambda: len(list(tmp_path.iterdir())) == 3)  # that, and a file of each node
        (tmp_path / "linger").unlink()

    meanwhile(let_go)
    calls = [Call((str(tmp_path), pow, 3, i)) for i in range(2)]
    assert len(list(cluster.play(lingers, calls))) == 2
    assert [(call.result, call.error, call.died) for call in calls] == [(1, None, []), (3, None, [])]
    assert {call.node for call in calls} == set(alive())
    (failed,) = cluster.play(raises, [Call((str(tmp_path),))])
    assert type(failed.error) is KeyError
    assert failed.error.args == ("on purpose",)
    assert (tmp_path / "begun").read_text().count("begun") == 1


def test_a_call_that_takes_too_long_is_given_up(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "linger").touch()
    calls = [Call((str(tmp_path), abs, 1))]
    begin = time.monotonic()
    with pytest.raises(Late) as late:
        list(cluster.play(lingers, calls, timeout_s=1.0))
    assert 1.0 <= time.monotonic() - begin < 20.0
    assert late.value.calls == tuple(calls)
    (call,) = cluster.play(abs, [Call((-2,))], timeout_s=60.0)  # its processor is free again
    assert call.result == 2


def test_a_run_that_is_late_says_with_what(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "linger").touch()
    monkeypatch.setattr(pools, "_computed", partial(lingers, str(tmp_path)))
    pool = pools.RayPool("a backbone", 2, 1, 0.5)  # type: ignore[arg-type]
    told = r"^1 of the workers gave no answer within 0\.5 s \(execution\.worker_timeout\): 2 x test; a larger"
    with pytest.raises(RunFailed, match=told):
        pool.work([b"task"], ["2 x test"])


def test_a_lack_of_memory_is_told_and_the_call_not_done_again(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def get(ready: Any) -> Any:
        raise cluster.ray.exceptions.OutOfMemoryError("of 95 %\nand more")

    with monkeypatch.context() as patched:
        patched.setattr(cluster.ray, "get", get)
        (call,) = cluster.play(abs, [Call((1,))])
    assert type(call.error) is OutOfMemory
    assert str(call.error) == "a worker of the cluster ran out of memory: of 95 %"
    assert call.died == []


def test_a_call_that_dies_again_and_again_is_given_up(cluster: Cluster, tmp_path: Path) -> None:
    told: list[str] = []
    (call,) = cluster.play(dies, [Call((str(tmp_path),))], died=lambda each: told.extend(each.died[-1:]))
    assert isinstance(call.error, RunFailed)
    assert str(call.error).startswith(f"a worker of the cluster died, {TRIES} times: ")
    assert len(told) + 1 == len(call.died) == TRIES
    assert (tmp_path / "begun").read_text().count("begun") == TRIES


def test_a_run_whose_node_is_killed_has_the_results_of_local_workers(
    both: TwoNodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle, while the node computes; bit for bit, losses, adapters and evaluations included."""
    work, flushes = pools.RayPool.work, list[int]()

    def watched(self: pools.RayPool, tasks: Sequence[bytes], names: Sequence[str]) -> list[bytes]:
        flushes.append(len(tasks))
        if len(flushes) == 3:
            assert len(tasks) == 2
            (tmp_path / "linger").touch()
            meanwhile(kill_when_it_computes, both, tmp_path)
        return work(self, tasks, names)

    monkeypatch.setattr(pools.RayPool, "work", watched)
    monkeypatch.setattr(pools, "_computed", partial(lingers, str(tmp_path), pools._computed))
    workers = "execution={workers: 2, cluster: %s}"
    theirs = simulation.run(loaded(workers % "ray"))
    with patch.dict(pools.POOLS, local=InProcess):
        ours = simulation.run(loaded(workers % "local"))
    assert len(flushes) > 3
    assert theirs.summary["notes"] == [
        *ours.summary["notes"],
        "shares of work were computed again, as a worker or a node of the Ray cluster died: 1 x NodeDiedError",
    ]
    for name in ("trace_sha256", "timeline_sha256", "loss", "accuracy"):
        assert theirs.summary[name] == ours.summary[name]


def test_a_head_that_takes_a_connection_and_says_nothing_is_not_waited_for(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = threading.Event()
    with monkeypatch.context() as patched:
        patched.setattr("elsa_sim.base.cluster.ANSWER", 0.1)
        patched.setattr(cluster.ray, "nodes", lambda: silent.wait(60.0) and [])
        assert cluster._nodes() is None
        silent.set()
        eventually(lambda: cluster._nodes() == [], 5.0)
    assert cluster._nodes()


def test_a_cluster_that_is_gone_is_told(
    nodes: TwoNodes, cluster: Cluster, terminated: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last test with the cluster: it takes the head away."""
    monkeypatch.setattr(cluster, "empty_s", 2.0)
    with pytest.raises(RunFailed, match="no node of the Ray cluster has had 7 processors for 2 s"):
        list(cluster.play(abs, [Call((1,))], cpus=7))
    monkeypatch.setattr(cluster, "silent_s", 1.0)
    monkeypatch.setattr("elsa_sim.base.cluster.EVERY", 0.5)
    monkeypatch.setattr("elsa_sim.base.cluster.ANSWER", 0.5)
    meanwhile(lambda: (time.sleep(0.5), nodes.kill("head")))
    gone = "the Ray cluster is gone"
    with pytest.raises(RunFailed, match=gone):
        list(cluster.play(time.sleep, [Call((30.0,))]))
    with pytest.raises(RunFailed, match=gone):
        list(cluster.play(abs, [Call((1,))]))
    with pytest.raises(InputError, match=r"a test: no cluster can be used there: 127\.0\.0\.1:\d+ does not answer"):
        _usable(nodes.address, "a test")
    cluster.close()
    os.kill(os.getpid(), signal.SIGTERM)
    eventually(lambda: len(terminated) == 2, 5.0)


@pytest.mark.parametrize("address", ["ray://127.0.0.1:1", "auto", None])
def test_ray_client_is_refused(monkeypatch: pytest.MonkeyPatch, address: str | None) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "ray://127.0.0.1:1")
    with pytest.raises(
        InputError, match=r"a test: ray://127\.0\.0\.1:1 is no HOST:PORT; start on a node of the cluster"
    ):
        _usable(address, "a test")
    _usable("local", "a test")
