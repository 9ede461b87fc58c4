"""A run's life: check, build, simulate; cost inputs and memory.

``elsa_sim.run(loaded, folder)`` plays a scenario, see `elsa_sim.run.simulation.run`: the room has the name of the public
function, so it can be called like it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..results.metrics import Results
    from ..scenario.model import Loaded
    from ..world.progress import Observer
    from .folder import Earlier


class _Room(ModuleType):
    def __call__(
        self,
        loaded: Loaded,
        folder: Path | None = None,
        observer: Observer | None = None,
        *,
        earlier: Earlier = "refuse",
        then: Callable[[Results, Path], object] | None = None,
    ) -> Results:
        from .simulation import run

        return run(loaded, folder, observer, earlier=earlier, then=then)


sys.modules[__name__].__class__ = _Room
