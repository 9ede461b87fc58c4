"""Execute every notebook beside this file from start to end; with `--save`, keep the outputs in it.

python notebooks/execute.py [--save] [NAME.ipynb ...]
"""

from __future__ import annotations

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parent


def main(arguments: list[str]) -> None:
    """Execute the named notebooks, or all."""
    names = [name for name in arguments if name != "--save"]
    paths = [FOLDER / name for name in names] or sorted(FOLDER.glob("*.ipynb"))
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # of each kernel: they run side by side
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for told in pool.map(partial(executed, save="--save" in arguments), paths):
            sys.stdout.write(told)


def executed(path: Path, *, save: bool) -> str:
    """Execute a notebook; how long that took."""
    notebook, begin = nbformat.read(path, as_version=4), time.perf_counter()
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(FOLDER)}}).execute()
    if save:
        nbformat.write(notebook, path)
    return f"{path.name}: executed in {time.perf_counter() - begin:.0f} s\n"


if __name__ == "__main__":
    main(sys.argv[1:])
