"""Worker processes: their death and their exceptions reach the run."""

from __future__ import annotations

from typing import Any

import pytest
from graphs import NUMBER, Heavy
from learning.training.test_model import model

from elsa_sim.base.errors import RunFailed
from elsa_sim.learning.execution.distributed import Distributed
from elsa_sim.learning.execution.pools import POOLS
from elsa_sim.learning.execution.work import Work


class Deadly(Heavy):
    """One that ends the process it runs in."""

    def __call__(self, *inputs: Any) -> tuple[Any, ...]:
        import os

        os._exit(9)


@pytest.mark.processes
def test_a_worker_that_dies_fails_the_run() -> None:
    of = model()
    pool = POOLS["local"](of.backbone, 2, 1)
    executor = Distributed(of.backbone, pool)
    refs = [executor.finish(Work("deadly", Deadly(), (i,), (NUMBER,)))[0] for i in range(2)]
    with pytest.raises(RunFailed, match="a worker process died"):
        _ = refs[0].value
    executor.close()
