"""How much of a room its tests pin down: mutants of its modules, and the share that the room's own tests kill.

    python benchmarks/mutants.py network --sample 100

Mutmut makes the mutants, finds which tests call which function, and forks a process per mutant after the imports, so that
PyTorch is loaded once, not once per mutant. What is added here: one room at a time against its own tests (those that mirror
its modules, and those that a module's ``Tested in`` line names), a sample with a seed, a folder per room that an interrupted
run goes on in, and a table. See docs/testing.md.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import random
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: What the tests read beside the package.
COPIED = ("elsa_sim", "tests", "scenarios", "topologies", "README.md")
MUTMUT = [sys.executable, "-m", "mutmut"]
#: Statuses of mutmut that mean that a test noticed.
NOTICED = ("killed", "timeout", "segfault")


def tests_of(room: str) -> list[str]:
    """The folder that mirrors ``room``, and the test files that its modules name."""
    found = {f"tests/{room}"} if (ROOT / "tests" / room).is_dir() else set()
    for module in sorted((ROOT / "elsa_sim" / room).rglob("*.py")):
        said = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or ""
        _, _, named = said.partition("Tested in ")
        found.update(re.findall(r"tests/[\w/]+\.py", named))
    return sorted(test for test in found if not any(test.startswith(f"{other}/") for other in found))


def prepare(room: str, folder: Path) -> None:
    """A copy of the project in ``folder``, in which only ``room`` is mutated."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in COPIED:
        source, target = ROOT / name, folder / name
        if source.is_file():
            shutil.copy2(source, target)
            continue
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    beside = ROOT.parent / "shared"  # data that some tests compare with, where it is there
    if beside.is_dir() and not (folder / "shared").exists():
        (folder / "shared").symlink_to(beside)
    tests = [*tests_of(room), "-m", "not processes and not slow"]
    section = {"source_paths": ["elsa_sim"], "only_mutate": [f"elsa_sim/{room}/*"], "also_copy": [*COPIED],
               "pytest_add_cli_args": ["--hypothesis-seed=0"],
               "pytest_add_cli_args_test_selection": tests}  # fmt: skip
    lines = [f"{key} = {json.dumps(value)}" for key, value in section.items()]
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (folder / "pyproject.toml").write_text("\n".join([text, "[tool.mutmut]", *lines, ""]), encoding="utf-8")


def mutmut(folder: Path, *words: str, quiet: bool = False) -> str:
    """What ``mutmut words`` says in ``folder``."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": str(folder / "mutants"),
    }
    done = subprocess.run([*MUTMUT, *words], cwd=folder, env=environment, text=True, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip
    if done.returncode and not quiet:
        sys.exit(f"mutmut {words[0]} failed:\n{done.stdout[-3000:]}")
    return done.stdout


def statuses(folder: Path) -> dict[str, str]:
    """Mutant -> what became of it."""
    pairs = (line.strip().rpartition(": ") for line in mutmut(folder, "results", "--all", "true").splitlines())
    return {name: status for name, _, status in pairs if "__mutmut_" in name}


def changed(folder: Path, name: str) -> list[str]:
    """The lines in which a mutant differs."""
    shown = mutmut(folder, "show", name, quiet=True).splitlines()
    return [line for line in shown if line[:1] in "+-" and line[:3] not in ("+++", "---")]


def equivalent(lines: Sequence[str]) -> bool:
    """Whether the lines of a mutant differ in a ``strict=`` only, which no input that is right can tell."""
    plain = [re.sub(r",? *\bstrict=\w+", "", line[1:]).replace(", )", ")") for line in lines]
    return len(plain) == 2 and plain[0] == plain[1]


def row(room: str, every: int, found: Mapping[str, str]) -> str:
    """The line of the table for one room; the share is of those that are no equivalents."""
    count = Counter(found.values())
    noticed = sum(count[status] for status in NOTICED)
    real = len(found) - count["equivalent"]
    shares = (f"{noticed / n:.0%}" if n else "-" for n in (real, real - count["no tests"]))
    numbers = (every, len(found), noticed, count["survived"], count["no tests"], count["equivalent"], *shares)
    return f"{room:22}" + "".join(f"{number:>11}" for number in numbers)


def main() -> None:
    """Play the mutants of the rooms that are named, and say what became of them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("rooms", nargs="+", help="folders of elsa_sim, such as network or learning/execution")
    parser.add_argument("--sample", type=int, default=0, help="so many mutants of each room, drawn by the seed; 0: all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--children", type=int, default=1, help="mutants at a time")
    parser.add_argument("--folder", type=Path, default=ROOT / ".mutants", help="where it works, and goes on")
    options = parser.parse_args()
    heads = ("mutants", "tried", "killed", "survived", "no tests", "equivalent", "share", "of called")
    print(f"{'room':22}" + "".join(f"{head:>11}" for head in heads))
    for room in options.rooms:
        folder = options.folder / room.replace("/", "-")
        prepare(room, folder)
        made = mutmut(folder, "run", "--max-children", str(options.children), "no such mutant", quiet=True)
        every = statuses(folder)
        if not every:
            sys.exit(f"no mutants of {room} could be made:\n{made[-3000:]}")
        names = sorted(every)
        if options.sample:
            random.Random(options.seed).shuffle(names)  # so that a larger sample goes on from a smaller one
            names = sorted(names[: options.sample])
        left = [name for name in names if every[name] == "not checked"]
        for start in range(0, len(left), 200):
            mutmut(folder, "run", "--max-children", str(options.children), *left[start : start + 200])
        every = statuses(folder)
        found = {name: every[name] for name in names}
        lines = {name: changed(folder, name) for name, status in found.items() if status == "survived"}
        found.update((name, "equivalent") for name, each in lines.items() if equivalent(each))
        print(row(room, len(every), found), flush=True)
        for name, status in found.items():
            if status not in (*NOTICED, "equivalent"):
                print(f"    {status}: {name}", *lines.get(name, ()), sep="\n        ")


if __name__ == "__main__":
    main()
