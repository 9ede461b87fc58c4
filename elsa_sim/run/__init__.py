"""A run's life: check, build, simulate; cost inputs and memory.

``elsa_sim.run(scenario, folder)`` plays a scenario, see `elsa_sim.run.simulation.run`: the room has the name of the public
function, so it can be called like it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..results.metrics import Results
    from ..scenario.given import Given
    from ..world.progress import Observer
    from .folder import Earlier


class _Room(ModuleType):
    def __call__(
        self,
        scenario: Given,
        folder: str | Path | None = None,
        observer: Observer | None = None,
        *,
        overrides: Sequence[str] = (),
        progress: bool | None = None,
        earlier: Earlier = "refuse",
        then: Callable[[Results, Path], object] | None = None,
    ) -> Results:
        from .simulation import run

        return run(scenario, folder, observer, overrides=overrides, progress=progress, earlier=earlier, then=then)


sys.modules[__name__].__class__ = _Room
