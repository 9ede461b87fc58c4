"""Where cells are played: processes of this machine (joblib), or the workers of a Ray cluster (extra ``ray``).

Both give the cells back as they end. A cell that fails does not stop the others, and neither does one whose process dies.

Tested in tests/study/test_play.py.
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

from ..base.errors import InputError
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

    threads = int((study.base.data.get("execution") or {}).get("threads", 1))
    if ray is not None:
        return partial(on_ray, address=ray, threads=threads, plugins=tuple(plugins))
    return partial(here, jobs=jobs or max(1, joblib.cpu_count() // threads), plugins=tuple(plugins))


def _played(plugins: Sequence[str], index: int, text: str, folder: Path, parent: int | None = None) -> int:
    if parent is not None:
        end_with(parent)
    for module in plugins:
        load_plugin(module)
    play(text, folder)
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


def on_ray(cells: Sequence[Cell], address: str, threads: int = 1, plugins: Sequence[str] = ()) -> Iterator[Cell]:
    """Play cells on a Ray cluster: ``auto`` for one that is there, ``local`` for a new one on this machine, or host:port.

    Its workers must have this package installed and share the folder of the study.

    Raises:
        InputError: Ray is not installed, or the cluster cannot be reached.
    """
    try:
        import ray
    except ImportError:
        raise InputError("--ray needs the extra: pip install 'elsa-sim[ray]'") from None
    try:
        ray.init(address=address, log_to_driver=False, logging_level="error", include_dashboard=False)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise InputError(f"--ray {address}: no cluster can be used there: {error}") from None
    try:
        yield from _submitted(ray, cells, threads, plugins)
    finally:
        ray.shutdown()


def _submitted(ray: Any, cells: Sequence[Cell], threads: int, plugins: Sequence[str]) -> Iterator[Cell]:
    remote = ray.remote(num_cpus=threads, max_retries=0)(_played)
    waiting = {remote.remote(plugins, i, cell.text, cell.folder): cell for i, cell in enumerate(cells)}
    while waiting:
        (ended, *_), _ = ray.wait(list(waiting))
        cell = waiting.pop(ended)
        try:
            ray.get(ended)
        except ray.exceptions.RayError as error:
            give_up(cell.folder, f"{DIED} ({type(error).__name__})")
        yield cell
