"""Worker processes: their death and their exceptions reach the run."""

from __future__ import annotations

import io
import pickle
import subprocess
from typing import Any

import pytest
from graphs import NUMBER, Heavy
from learning.training.test_model import model

from elsa_sim.base.errors import RunFailed
from elsa_sim.learning.execution.distributed import Distributed
from elsa_sim.learning.execution.pools import POOLS, _ended, _portable, _receive, _send
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


class Odd(Exception):
    """One that cannot be made from its message."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} {two}")


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


def test_an_exception_that_cannot_be_built_again_is_told() -> None:
    same = pickle.loads(_portable(ValueError("a", 3)))
    assert type(same) is ValueError
    assert same.args == ("a", 3)
    told = pickle.loads(_portable(Odd("no", "luck")))
    assert type(told) is RuntimeError
    assert str(told) == "Odd: no luck"


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
