"""Worker processes: their death and their exceptions reach the run."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from graphs import NUMBER, Heavy
from learning.training.test_model import model

from elsa_sim.base.errors import RunFailed
from elsa_sim.learning.execution.distributed import Distributed
from elsa_sim.learning.execution.pools import POOLS, _ended, _receive, _send
from elsa_sim.learning.execution.work import Work


class Deadly(Heavy):
    """One that ends the process it runs in."""

    def __call__(self, *inputs: Any) -> tuple[Any, ...]:
        import os

        os._exit(9)


class Failing(Heavy):
    """One that fails with some error."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __call__(self, *inputs: Any) -> tuple[Any, ...]:
        raise self.error


class Hanging(Heavy):
    """One that takes for ever."""

    def __call__(self, *inputs: Any) -> tuple[Any, ...]:
        time.sleep(1000)
        return super().__call__(*inputs)


@pytest.mark.processes
def test_failures_are_raised_here_and_a_worker_that_dies_fails_the_run() -> None:
    of = model()
    pool = POOLS["local"](of.backbone, 2, 1)

    def played(*kernels: Heavy) -> None:
        executor = Distributed(of.backbone, pool)
        for ref in [executor.finish(Work("test", kernel, (i,), (NUMBER,)))[0] for i, kernel in enumerate(kernels)]:
            _ = ref.value

    try:
        with pytest.raises(ValueError, match="on purpose"):
            played(Heavy(), Failing(ValueError("on purpose")))
        played(Heavy(), Heavy())  # they go on
        with pytest.raises(RunFailed, match=r"a worker process died \(exit status 9\)"):
            played(Deadly(), Deadly())
    finally:
        pool.close()


@pytest.mark.processes
def test_a_worker_that_hangs_is_given_up() -> None:
    """After the limit, with the names of its share; one that answers in time is not."""
    of = model()
    pool = POOLS["local"](of.backbone, 2, 1, 60.0)
    try:
        executor = Distributed(of.backbone, pool)
        for ref in [executor.finish(Work("fine", Heavy(), (i,), (NUMBER,)))[0] for i in range(2)]:
            _ = ref.value  # once they run, a second is enough
        pool.timeout_s = 1.0
        refs = [executor.finish(Work(name, kernel, (1,), (NUMBER,)))[0]
                for name, kernel in (("part1.forward", Heavy()), ("part2.backward", Hanging()))]  # fmt: skip
        begin = time.monotonic()
        with pytest.raises(RunFailed, match=r"^1 of the workers gave no answer within 1 s \(execution\.worker_timeout\): "
                                            r"1 x part2\.backward; a larger"):  # fmt: skip
            _ = refs[0].value
        assert 1.0 <= time.monotonic() - begin < 20.0
    finally:
        pool.close()


PARENT = """
import sys, time
from learning.training.test_model import model
from elsa_sim.learning.execution.pools import LocalPool
pool = LocalPool(model().backbone, 2, 1)
print(*[worker.pid for worker in pool._workers], flush=True)
time.sleep(600)
"""


@pytest.mark.processes
def test_workers_and_files_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    here = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "TMPDIR": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, env=here, text=True) as parent:
        assert parent.stdout is not None
        workers = [int(number) for number in parent.stdout.readline().split()]
        assert len(workers) == 2
        assert all(_runs(worker) for worker in workers)
        parent.kill()
    end = time.monotonic() + 60
    while any(_runs(worker) for worker in workers) and time.monotonic() < end:
        time.sleep(0.1)
    assert not any(_runs(worker) for worker in workers)
    assert not list(tmp_path.iterdir())


def _runs(number: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("failed", [False, True])
def test_frames_arrive_whole_or_not_at_all(failed: bool) -> None:
    pipe = io.BytesIO()
    for frame in (b"", b"x" * 70_000):
        _send(pipe, frame, failed)
    whole = pipe.getvalue()
    pipe.seek(0)
    assert _receive(pipe) == (failed, b"")
    assert _receive(pipe) == (failed, b"x" * 70_000)
    with pytest.raises(EOFError):
        _receive(pipe)
    for cut in (3, len(whole) - 1):
        broken = io.BytesIO(whole[:cut])
        if cut > 9:
            _receive(broken)
        with pytest.raises(EOFError):
            _receive(broken)


def test_a_process_that_has_ended_says_how() -> None:
    with subprocess.Popen(["false"]) as ended:
        assert _ended(ended) == 1
    with subprocess.Popen(["sleep", "60"]) as busy:
        assert _ended(busy) is None
        busy.kill()
