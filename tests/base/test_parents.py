"""A child in the middle of a computation ends when its parent is killed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from elsa_sim.base.parents import end_with

CHILD = """
import os, sys
from elsa_sim.base.parents import end_with
end_with(int(sys.argv[1]))
print(os.getpid(), flush=True)
while True:
    pass
"""
PARENT = """
import os, subprocess, sys, time
subprocess.Popen([sys.executable, "-c", sys.argv[1], str(os.getpid())])
time.sleep(600)
"""


def test_a_busy_child_ends_with_its_parent() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT, CHILD], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert Path(f"/proc/{child}").exists()
        parent.kill()
        parent.wait()
        end = time.monotonic() + 60
        while Path(f"/proc/{child}").exists() and time.monotonic() < end:
            time.sleep(0.05)
        ended = not Path(f"/proc/{child}").exists()
        if not ended:
            os.kill(child, 9)
        assert ended


def test_whoever_was_started_by_another_is_left_alone() -> None:
    before = threading.active_count()
    end_with(os.getpid())
    assert threading.active_count() == before
