"""Execute every notebook beside this file from start to end; with `--save`, keep the outputs in it.

python notebooks/execute.py [--save] [NAME.ipynb ...]
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parent


def main(arguments: list[str]) -> None:
    """Execute the named notebooks, or all."""
    names = [name for name in arguments if name != "--save"]
    for path in [FOLDER / name for name in names] or sorted(FOLDER.glob("*.ipynb")):
        notebook, begin = nbformat.read(path, as_version=4), time.perf_counter()
        NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(FOLDER)}}).execute()
        if "--save" in arguments:
            nbformat.write(notebook, path)
        sys.stdout.write(f"{path.name}: executed in {time.perf_counter() - begin:.0f} s\n")


if __name__ == "__main__":
    main(sys.argv[1:])
