"""Where cells are played: processes of this machine (joblib), or the workers of a Ray cluster (extra ``ray``).

Both give the cells back as they end. A cell that fails does not stop the others, and neither does one whose process dies.

Tested in tests/study/test_play.py and tests/cluster/test_studies.py.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from ..base.cluster import Call, Cluster
from ..base.errors import OutOfMemory, RunFailed
from ..base.parents import end_with
from ..base.registry import load_plugin
from ..results.manifest import partial_of
from .cells import Cell, give_up, play
from .options import Study

#: Plays cells and gives them back as they end.
Runner = Callable[[Sequence[Cell]], Iterator[Cell]]
DIED = "the process died; the machine may have run out of memory"


def runner(study: Study, jobs: int | None = None, ray: str | None = None, plugins: Sequence[str] = ()) -> Runner:
    """What plays the cells of a study: ``jobs`` processes (as many as there are cores), or a Ray cluster at an address."""
    import joblib

    execution = study.base.data.get("execution") or {}
    threads = int(execution.get("threads", 1))
    if ray is not None:
        gpus = int(execution.get("device") == "cuda")
        return partial(on_ray, address=ray, threads=threads, gpus=gpus, plugins=tuple(plugins))
    return partial(here, jobs=jobs or max(1, joblib.cpu_count() // threads), plugins=tuple(plugins))


def _played(
    plugins: Sequence[str], index: int, text: str, folder: Path, parent: int | None = None, notes: Sequence[str] = ()
) -> int:
    if parent is not None:
        end_with(parent)
    for module in plugins:
        load_plugin(module)
    play(text, folder, notes)
    return index


def here(cells: Sequence[Cell], jobs: int, plugins: Sequence[str] = ()) -> Iterator[Cell]:
    """Play cells in ``jobs`` processes of this machine (one job: in this process)."""
    import joblib
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    left = dict(enumerate(cells))
    tasks = [joblib.delayed(_played)(plugins, i, cell.text, cell.folder, os.getpid()) for i, cell in left.items()]
    try:
        for index in joblib.Parallel(jobs, batch_size=1, return_as="generator_unordered")(tasks):
            yield left.pop(index)
    except TerminatedWorkerError:  # it does not say whose; those under way are played one by one
        ended = [index for index, cell in left.items() if cell.state != "open"]
        for index in ended:
            yield left.pop(index)
        under_way = [index for index, cell in left.items() if partial_of(cell.folder).exists()]
        for index in under_way:
            yield _alone(left.pop(index), plugins)
        yield from here(list(left.values()), jobs, plugins)


def _alone(cell: Cell, plugins: Sequence[str]) -> Cell:
    """Play a cell in a process of its own; if that dies, the cell has failed."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            pool.submit(_played, plugins, 0, cell.text, cell.folder, os.getpid()).result()
        except BrokenProcessPool:
            give_up(cell.folder, DIED)
    return cell


def on_ray(
    cells: Sequence[Cell], address: str, threads: int = 1, gpus: int = 0, plugins: Sequence[str] = ()
) -> Iterator[Cell]:
    """Play cells on a Ray cluster: ``auto`` for one that is there, ``local`` for a new one on this machine, or host:port.

    Its workers must have this package installed and share the folder of the study. A cell whose process or node dies is
    gone on with elsewhere, a few times at most.

    Raises:
        InputError: Ray is not installed, or the cluster cannot be reached.
        RunFailed: the cluster is gone.
    """
    cluster = Cluster(address, f"--ray {address}")
    try:
        yield from _on(cluster, cells, threads, gpus, plugins)
    except RunFailed as error:
        error.add_note("the same command goes on from what was played")
        raise
    finally:
        cluster.close()


def _on(cluster: Cluster, cells: Sequence[Cell], threads: int, gpus: int, plugins: Sequence[str]) -> Iterator[Cell]:
    def arguments(cell: Cell, died: Sequence[str] = ()) -> tuple[Any, ...]:
        notes = [f"its process on the Ray cluster died {len(died)} times ({', '.join(died)}); it was played on"]
        # no relative path: processes of a cluster have another working directory
        return tuple(plugins), 0, cell.text, cell.folder.absolute(), None, tuple(notes if died else ())

    def died(call: Call) -> None:
        call.arguments = arguments(played[call], call.died)

    played = {Call(arguments(cell)): cell for cell in cells}
    for call in cluster.play(_played, list(played), threads, gpus, died=died):
        cell = played[call]
        if call.died and call.error is not None:
            give_up(cell.folder, f"{DIED} ({', '.join(call.died)}: begun {len(call.died)} times)")
        elif isinstance(call.error, OutOfMemory):
            give_up(cell.folder, f"{call.error}")
        elif call.error is not None:
            raise call.error
        yield cell
