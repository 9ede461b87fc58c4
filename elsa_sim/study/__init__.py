"""Studies: a grid of scenarios and seeds, played in parallel into content-addressed run directories, and tabulated.

::

    from elsa_sim import study

    found = study.read(Path("study.yaml"))
    outcome = study.play(found, Path("studies/mine"), study.runner(found, jobs=2))
    outcome.table           # one row per configuration and metric: mean, std, ... over the seeds (pandas)
"""

from .cells import Cell, cells
from .execution import runner
from .options import Study, read
from .play import Outcome, Watcher, play
from .tables import columns

__all__ = ["Cell", "Outcome", "Study", "Watcher", "cells", "columns", "play", "read", "runner"]
