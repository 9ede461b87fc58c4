"""What `kills.py` does with a program: begins it as a fork or a process of its own, kills it, and looks at what it left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from elsa_sim.base.errors import InputError
from elsa_sim.cli import commands
from elsa_sim.results import metrics

SIGNALS = {"KILL": signal.SIGKILL, "TERM": signal.SIGTERM, "INT": signal.SIGINT}


class Trial:
    """One command in a folder of its own."""

    def __init__(self, folder: Path, *command: object, cold: bool) -> None:
        self.folder, self.command, self.cold = folder, [str(word) for word in command], cold
        self.said, self.file = "", folder / f"said{len(list(folder.glob('said*')))}.txt"

    def begin(self) -> int:
        """Start it; returns its process id."""
        out = os.open(self.file, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        if self.cold:
            line = [sys.executable, "-m", "elsa_sim", *self.command]
            child = subprocess.Popen(
                line, cwd=self.folder, stdout=subprocess.DEVNULL, stderr=out, start_new_session=True
            )
            child.returncode = 0  # it is waited for here
            os.close(out)
            return child.pid
        number = os.fork()
        if number == 0:
            self._be(out)
        os.close(out)
        return number

    def _be(self, out: int) -> None:
        """In the forked process: be the command."""
        status = 70
        try:
            os.setsid()
            for each in (signal.SIGINT, signal.SIGTERM):
                signal.signal(each, signal.default_int_handler if each == signal.SIGINT else signal.SIG_DFL)
            os.dup2(out, 2)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.chdir(self.folder)
            sys.argv = ["elsa-sim", *self.command]
            commands.main()
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 0
        finally:
            os._exit(status)

    def end(self, number: int) -> int:
        """Wait for it; returns the exit status, negative for a signal."""
        _, status = os.waitpid(number, 0)
        self.said = self.file.read_text(errors="replace")
        return os.waitstatus_to_exitcode(status)

    def run(self) -> int:
        return self.end(self.begin())


def run(folder: Path, *more: object, cold: bool = False) -> Trial:
    """A run of the small scenario into ``out``."""
    return Trial(folder, "run", "small.yaml", "--out", "out", "--quiet", *more, cold=cold)


def study(folder: Path, *more: object, cold: bool = False) -> Trial:
    return Trial(folder, "study", "grid.yaml", "--out", "out", "--quiet", *more, cold=cold)


def wait(place: Path, name: str | None, after_s: float, number: int) -> None:
    """Until some seconds from now, or from when a file of that name is in a run directory at ``place``."""
    end = time.monotonic() + 60
    while name is not None and time.monotonic() < end:
        if any((each / name).exists() for each in (place, place.with_name(f"{place.name}.partial"))):
            break
        if os.waitid(os.P_PID, number, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            return
        time.sleep(0.0002)
    time.sleep(after_s)


def kill(trial: Trial, place: Path, how: str, name: str | None, after_s: float, twice: bool) -> int:
    number = trial.begin()
    wait(place, name, after_s, number)
    for _ in range(2 if twice else 1):
        os.kill(number, SIGNALS[how])
        time.sleep(0.003)
    return trial.end(number)


def runs_in(folder: Path) -> list[Path]:
    """The run directories at ``out``, whatever is behind the name."""
    return sorted(path for path in folder.glob("out*") if path.is_dir())


def states(folders: list[Path], faults: list[str]) -> Counter[str]:
    """How run directories load."""
    found: Counter[str] = Counter()
    for folder in folders:
        try:
            results = metrics.load(folder)
        except InputError as error:
            found["refused"] += 1
            if "\n" in str(error):
                faults.append(f"{folder.name}: refused in several lines: {error}")
            if any((folder / name).exists() for name in ("summary.json", "events.parquet")):
                faults.append(f"{folder.name}: does not load: {error}")
        else:
            found["whole" if results.summary["complete"] else "in part"] += 1
    return found


def judged(trial: Trial, status: int, allowed: set[int]) -> list[str]:
    """What is wrong with how a command ended."""
    faults = [] if status in allowed else [f"status {status}"]
    lines = [line for line in trial.said.splitlines() if not line.startswith("round ") and "played before" not in line]
    if "Traceback" in trial.said:
        faults.append(f"a traceback: {lines[-1]}")
    elif len(lines) > 1:
        faults.append(f"{len(lines)} lines: {lines}")
    return faults


@contextmanager
def disk(folder: Path, size: int) -> Iterator[Path]:
    """A disk of so many bytes."""
    place = folder / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)
