"""Memory that runs out, wherever it does, ends a run as a failure: told, with status 3, and a run directory that loads."""

from __future__ import annotations

import errno
import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from small_runs import TEXT, loaded, played, transfers

from elsa_sim.base.errors import OutOfMemory, RunFailed
from elsa_sim.cli import commands
from elsa_sim.learning.execution import pools
from elsa_sim.learning.execution.pools import LocalPool
from elsa_sim.learning.training.kernels import Learn
from elsa_sim.results import metrics
from elsa_sim.run import simulation
from elsa_sim.run.host_memory import exhausted

Patch = pytest.MonkeyPatch
NUMPY = type("_ArrayMemoryError", (MemoryError,), {})


@pytest.mark.parametrize(("error", "what"), [
    (MemoryError(), "host memory ran out; what helps: fewer execution.workers, a smaller task.batch_size"),
    (NUMPY("Unable to allocate 7 PiB"), "host memory ran out (Unable to allocate 7 PiB); what helps"),
    (pa.ArrowMemoryError("malloc of size 64 failed"), "host memory ran out (malloc of size 64 failed)"),
    (RuntimeError("std::bad_alloc"), "host memory ran out"),
    (OSError(errno.ENOMEM, "Cannot allocate memory"), "host memory ran out"),
    (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nSee"),
     "GPU memory ran out (CUDA out of memory. Tried to allocate 2 GiB.); what helps: execution.device: cpu"),
    (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED"), "GPU memory ran out"),
])  # fmt: skip
def test_what_libraries_say_of_memory_is_understood(error: Exception, what: str) -> None:
    found = exhausted(error)
    assert found is not None
    assert str(found).startswith(what)
    assert str(found).endswith("execution.mode: timing (no arithmetic)")


def test_the_tensor_librarys_own_words_are_understood() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(10**16)
    assert "host memory ran out at 3 s" in str(exhausted(caught.value, 3.0))
    with pytest.raises(MemoryError) as other:
        np.empty(10**17)
    assert exhausted(other.value) is not None


@pytest.mark.parametrize("error", [ValueError("out of memory"), RuntimeError("shapes do not match"), KeyError("memory"),
                                   OSError(errno.ENOSPC, "No space left on device")])  # fmt: skip
def test_other_errors_are_not_taken_for_it(error: Exception) -> None:
    assert exhausted(error) is None


def lacking(monkeypatch: Patch, error: Exception, after: int = 3) -> None:
    """Have the arithmetic of training run out of memory after some steps."""
    calls = [0]
    inner = Learn.__call__

    def learn(self: Learn, *inputs: Any) -> Any:
        calls[0] += 1
        if calls[0] > after:
            raise error
        return inner(self, *inputs)

    monkeypatch.setattr(Learn, "__call__", learn)


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")]
)
def test_arithmetic_that_lacks_memory_fails_the_run(monkeypatch: Patch, tmp_path: Path, error: Exception) -> None:
    lacking(monkeypatch, error)
    with pytest.raises(OutOfMemory, match=r"host memory ran out at 0\.\d+ s.*what helps") as caught:
        played("execution.executor=serial", folder=tmp_path)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None  # nothing of what failed is held any more
    made = metrics.load(tmp_path)
    assert made.summary["outcome"] == f"failed: {caught.value}"
    assert (made.summary["complete"], made.summary["invariants"]) == (False, "not checked")
    assert len(made.rounds) == 1
    assert len(transfers(made.events)) > 3


def test_weights_that_do_not_fit_fail_the_run(monkeypatch: Patch, tmp_path: Path) -> None:
    def build(*args: Any, **options: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr("elsa_sim.run.builder.build", build)
    with pytest.raises(OutOfMemory, match=r"^host memory ran out; what helps"):
        simulation.run(loaded(), tmp_path)
    assert metrics.load(tmp_path).summary["outcome"].startswith("failed: host memory ran out")


def test_other_mistakes_are_not_taken_for_it(monkeypatch: Patch) -> None:
    lacking(monkeypatch, RuntimeError("shapes do not match"))
    with pytest.raises(RunFailed, match="RuntimeError: shapes do not match") as told:
        played("execution.executor=serial")
    assert not isinstance(told.value, OutOfMemory)


def elsa(monkeypatch: Patch, *args: str) -> Any:
    monkeypatch.setattr(sys, "argv", ["elsa-sim", *args])
    monkeypatch.setattr(sys, "path", [*sys.path])
    with pytest.raises(SystemExit) as end:
        commands.main()
    return end.value.code


def test_the_command_line_says_so_with_status_3(
    monkeypatch: Patch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "small.yaml").write_text(TEXT)
    lacking(monkeypatch, MemoryError())
    out = ("--out", str(tmp_path / "out"), "--quiet", "--set", "execution.executor=serial")
    assert elsa(monkeypatch, "run", str(tmp_path / "small.yaml"), *out) == 3
    said = capsys.readouterr().err
    assert said.startswith("elsa-sim: host memory ran out at 0.")
    assert said.count("\n") == 1
    assert metrics.load(tmp_path / "out").summary["complete"] is False


def test_outside_a_run_it_is_status_3_too(
    monkeypatch: Patch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def read(*args: Any) -> Any:
        raise MemoryError

    (tmp_path / "small.yaml").write_text(TEXT)
    monkeypatch.setattr("elsa_sim.learning.tasks.synthetic.Synthetic.read", read)
    assert elsa(monkeypatch, "check", str(tmp_path / "small.yaml")) == 3
    assert capsys.readouterr().err.startswith("elsa-sim: host memory ran out; what helps")


class Killed(LocalPool):
    """Its workers are killed when there is work, as the kernel does when memory runs out."""

    def work(self, tasks: Any, names: Any) -> list[bytes]:
        for worker in self._workers:
            os.kill(worker.pid, signal.SIGKILL)
            worker.wait()
        return super().work(tasks, names)


def test_a_worker_that_is_killed_is_taken_for_it(monkeypatch: Patch, tmp_path: Path) -> None:
    monkeypatch.setitem(pools.POOLS, "local", Killed)
    with pytest.raises(
        OutOfMemory, match=r"a worker process was killed \(signal 9\), as it is when memory runs out; fewer"
    ):
        played("execution.workers=2", folder=tmp_path)
    assert metrics.load(tmp_path).summary["outcome"].startswith("failed: a worker process was killed")
