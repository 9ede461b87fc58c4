"""The same workload in other simulators of federated learning, as their users would write it: one file each.

What is the same is in `workload.py`: model, token ids, partition, every client's batches and their order, test batches, AdamW
steps from a fresh state, and weights by the number of a client's samples. Every batch is padded to the maximum length, since
these simulators hand over arrays; so the row to compare with, in time and in accuracy, is ``bare-32``. One round.

Each has an environment of its own, beside this program's: their pins contradict one another. ``NAME.txt`` beside this file
is what pip installs for each::

    make peers                                             # .venv-peers/NAME, minutes; see the Makefile for where
    python benchmarks/training.py --peers --peers-python .venv-peers

``NAME.alone.txt`` is installed without what it requires. A simulator that does not import or does not run is a row with its error.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

#: Simulators, each in a module of that name with ``run(sizes, threads)``.
NAMES = ("pfl", "flower", "appfl", "flgo")


def python(name: str, environments: str) -> str:
    """The interpreter for one of them: of the environment ``NAME`` in this folder, or this interpreter for all.

    Raises:
        FileNotFoundError: There is no such environment.
    """
    place = Path(environments)
    found = place / name / "bin" / "python" if place.is_dir() else place
    if not found.exists():
        raise FileNotFoundError(f"no interpreter {found} (make peers)")
    return str(found)


def run(name: str, sizes: dict[str, Any], threads: int) -> dict[str, float]:
    """Run the workload in one of them; its modules are imported here only.

    Returns:
        ``wall_s`` of all, ``rounds_s`` and ``rounds_cpu_s`` from the first evaluation to the last (s), ``accuracy``.
    """
    if sizes["rounds"] != 1:
        raise ValueError("other simulators are compared over one round")
    import torch

    torch.set_num_threads(threads)
    kept = _torchvision()
    found: dict[str, float] = importlib.import_module(f"peers.{name}").run(sizes, threads)
    del kept
    return found


def _torchvision() -> Any:
    """Let torchvision be imported, where it is, beside a PyTorch that it was not built for.

    FLGo and APPFL require it, and transformers imports it where it finds it; but PyPI's is built for CUDA, and without a
    name for its operators it does not import beside a PyTorch for processors. None of them is called here.
    """
    import torch

    try:
        importlib.import_module("torchvision")
    except ImportError:
        return None
    except RuntimeError:
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        return library
