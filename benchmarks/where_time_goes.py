"""Where host time goes in a run: tensor math, event loop, network, recording, and the rest.

A thread looks at the stack of the running program every millisecond, and books the time since it last looked to the
innermost frame that belongs to one of these:

* tensor math: inside ``Executor.time``, that is, the arithmetic of clients, servers, codecs and evaluations
* network: ``elsa_sim/network``, ``links``, ``topology`` and ``wireless``: rates and routes
* recording: ``elsa_sim/results/event_table.py``
* work: ``elsa_sim/learning``, ``codecs`` and ``world/codec_pipeline.py`` outside the math: batches drawn, shapes, FLOPs, bytes
* event loop: SimPy, the world's verbs, protocols, devices
* set-up and closing: everything outside the simulated time: reading, tokenising, loading weights, summaries

    python benchmarks/where_time_goes.py                  # W, batched, split in three parts over the network
    python benchmarks/where_time_goes.py --executor serial --protocol fedavg --workload W-tiny
    python benchmarks/where_time_goes.py --quick
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from types import FrameType

import measuring
import workloads

#: Part of a path -> what it is; the first that matches.
PLACES = (
    ("/elsa_sim/network/", "network"),
    ("/elsa_sim/links/", "network"),
    ("/elsa_sim/topology/", "network"),
    ("/elsa_sim/wireless/", "network"),
    ("/elsa_sim/results/event_table.py", "recording"),
    ("/elsa_sim/learning/", "work"),
    ("/elsa_sim/codecs/", "work"),
    ("/elsa_sim/world/codec_pipeline.py", "work"),
    ("/elsa_sim/world/coding.py", "work"),
    ("/simpy/", "event loop"),
    ("/elsa_sim/", "event loop"),
)
OVERHEAD = ("event loop", "network", "recording")


class Watch(threading.Thread):
    """Books the time of one thread by what it does."""

    def __init__(self, thread: int, every_s: float = 0.001) -> None:
        super().__init__(daemon=True)
        self.thread, self.every_s, self.over = thread, every_s, threading.Event()
        self.seconds: Counter[str] = Counter()

    def run(self) -> None:
        before = time.perf_counter()
        while not self.over.wait(self.every_s):
            frame = sys._current_frames().get(self.thread)
            now = time.perf_counter()
            self.seconds[what(frame)] += now - before
            before = now


def what(frame: FrameType | None) -> str:
    """What a stack is busy with."""
    innermost, playing = "", False
    while frame is not None:
        path, name = frame.f_code.co_filename, frame.f_code.co_name
        if name == "time" and path.endswith("learning/executor.py"):
            return "tensor math"
        innermost = innermost or next((kind for part, kind in PLACES if part in path), "")
        playing = playing or (name == "_play" and path.endswith("simulation.py"))
        frame = frame.f_back
    return innermost if playing else "set-up and closing"


def main() -> None:
    """Run, watch, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", choices=list(workloads.WORKLOADS), default="W")
    parser.add_argument("--executor", default="batched")
    parser.add_argument("--protocol", default="elsa", help="elsa (three parts) or fedavg (unsplit)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    from elsa_sim.run import simulation

    sizes = workloads.describe(arguments.workload, {"clients": 4, "rounds": 1} if arguments.quick else {})
    execution = {"executor": arguments.executor, "threads": arguments.threads}
    loaded = workloads.load(sizes, protocol=arguments.protocol, **execution)
    print(measuring.machine(arguments.threads))
    sys.setswitchinterval(0.0005)  # the watch gets its turn while Python code runs
    watch = Watch(threading.get_ident())
    watch.start()
    with tempfile.TemporaryDirectory() as folder:
        simulation.run(loaded, Path(folder) / "run")
    watch.over.set()
    watch.join()
    total = sum(watch.seconds.values())
    within = total - watch.seconds["set-up and closing"]
    rows = [[kind, f"{seconds:.2f}", f"{100 * seconds / total:.1f} %", "" if kind == "set-up and closing"
             else f"{100 * seconds / within:.1f} %"] for kind, seconds in watch.seconds.most_common()]  # fmt: skip
    overhead = sum(watch.seconds[kind] for kind in OVERHEAD)
    rows.append([" + ".join(OVERHEAD), f"{overhead:.2f}", f"{100 * overhead / total:.1f} %",
                 f"{100 * overhead / within:.1f} %"])  # fmt: skip
    title = f"{arguments.workload}, {arguments.protocol}, {arguments.executor}"
    measuring.print_table(title, ["what", "host s", "of the run", "of the simulated time"], rows)


if __name__ == "__main__":
    main()
