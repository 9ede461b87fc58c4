"""What in a run waited for what: its event table as a plan of messages and pauses.

The table says when and where things happened, not why. Something starts at a node at the instant at which its cause ended there:
a message arrived, or work was done. Work may wait in between, until the device has done what came before. So, per node:

* a transfer was caused by what ended at its node at the instant of its start; work that ended so caused no other work
* so was work that started on an idle device; work that started when the device had done other work was caused by the
  earliest ending there that has caused nothing yet
* an aggregation waited for all messages that arrived at its node and caused nothing else

Of several endings that could be it, those count whose kind of ending (`activation`, say) is known to have caused that kind of
start (`activation.decode`): known from starts where there is one possibility only. If none is known, all count.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from plans import Action

from elsa_sim.results.run_directory import Results

WORK = ("compute", "aggregation")


@dataclass(frozen=True)
class Pattern:
    """The plan of a run: actions, the message that or work after which each round ended, and starts that nothing explains."""

    actions: list[Action]
    connections: dict[str, tuple[str, str]]
    ends: list[str]
    simulated_s: list[float]
    unexplained: int


@dataclass(eq=False)
class Ending:
    """Something that ended at a node, and whether it has caused something."""

    row: int
    at: float
    kind: str
    message: bool
    used: bool = False


def pattern(results: Results) -> Pattern:
    """The plan of a run.

    Raises:
        ValueError: something in the run was aborted or was under way at its end, or it has no rounds.
    """
    rows = [row for row in results.events.to_dict("records") if row["kind"] in (*WORK, "transfer", "evaluation")]
    if any(row["status"] != "ok" for row in rows):
        raise ValueError(
            "something was aborted in the run, or under way at its end: only runs in which all is done are played"
        )
    nodes = {node: _Node(node, rows) for node in dict.fromkeys(row["node"] for row in rows)}
    known = {pair for node in nodes.values() for pair in node.sure()}
    actions = sorted((found for node in nodes.values() for found in node.actions(known)), key=lambda found: found[:2])
    rounds = [
        (f"e{i}", row["t_end_s"]) for i, row in enumerate(rows) if row["kind"] == "evaluation" and row["round"] > 0
    ]
    if not rounds:
        raise ValueError("the run has no rounds")
    keys = {f"{row['node']}>{row['peer']}": (row["node"], row["peer"]) for row in rows if row["kind"] == "transfer"}
    return Pattern(
        [action for _, _, action in actions], keys, [i for i, _ in rounds], [t for _, t in rounds],
        sum(node.unexplained for node in nodes.values()),
    )  # fmt: skip


class _Node:
    """What starts and what ends at one node, in the order of time."""

    def __init__(self, name: str, rows: Sequence[dict[str, Any]]) -> None:
        self.unexplained = 0
        mine = [(i, row) for i, row in enumerate(rows) if row["node"] == name]
        self.starts = sorted(mine, key=lambda pair: (pair[1]["t_start_s"], pair[0]))
        self.endings = [
            Ending(i, row["t_end_s"], str(row["detail"]), row["kind"] == "transfer")
            for i, row in enumerate(rows)
            if (row["peer"] == name if row["kind"] == "transfer" else row["node"] == name)
        ]
        work = [row for _, row in self.starts if row["kind"] in WORK]
        #: Work that starts while other work is under way: the device has several slots, or the node several devices.
        self.serial = all(a["t_end_s"] <= b["t_start_s"] for a, b in itertools.pairwise(work))

    def before(self, i: int, row: dict[str, Any]) -> list[Ending]:
        """What had ended when something started, the earliest first."""
        return [e for e in self.endings if e.at <= row["t_start_s"] and e.row < i]

    def sure(self) -> set[tuple[str, str, str]]:
        """Pairs (kind of ending, kind of start) that are plain.

        All that ended at the instant was of one kind; and for work that follows work, one message at most came since the device
        was idle, so that nothing else can have waited.
        """
        pairs = set()
        idle_until = 0.0
        for i, row in self.starts:
            before = self.before(i, row)
            now = [e for e in before if e.at == row["t_start_s"]]
            if row["kind"] in WORK:
                if any(not e.message for e in now):
                    if sum(e.message and e.at >= idle_until for e in before) > 1:
                        continue
                else:
                    idle_until = row["t_start_s"]
            if len({e.kind for e in now}) == 1:
                pairs.add((now[0].kind, row["kind"], str(row["detail"])))
        return pairs

    def actions(self, known: set[tuple[str, str, str]]) -> list[tuple[float, int, Action]]:
        """The node's part of the plan, with the times at which it starts."""
        found = []
        for i, row in sorted(self.starts, key=lambda pair: pair[1]["kind"] in WORK):  # work last, else in order
            before = self.before(i, row)
            now = [e for e in before if e.at == row["t_start_s"]]
            kind = (row["kind"], str(row["detail"]))
            if row["kind"] == "compute":
                waiting = [e for e in before if not e.used]
                causes = waiting if any(not e.message for e in now) else [e for e in waiting if e in now]
                likely = [e for e in causes if (e.kind, *kind) in known][:1]
            elif row["kind"] == "aggregation":
                likely, causes = [], [e for e in before if e in now or (e.message and not e.used)]
            else:
                likely, causes = [e for e in now if (e.kind, *kind) in known], now
            causes = likely or causes
            for cause in causes:
                cause.used = True
            found.append((row["t_start_s"], i, self._action(i, row, causes)))
        return found

    def _action(self, i: int, row: dict[str, Any], causes: Sequence[Ending]) -> Action:
        pause = row["t_end_s"] - row["t_start_s"] if row["kind"] in WORK else 0.0
        if not causes and row["t_start_s"] > 0:  # a timer, perhaps: so long after the last thing that ended here
            self.unexplained += 1
            causes = [e for e in self.endings if e.at <= row["t_start_s"] and e.row < i][-1:]
            pause += row["t_start_s"] - max((e.at for e in causes), default=0.0)
        after = tuple(dict.fromkeys(f"e{e.row}" for e in causes))
        if row["kind"] == "transfer":
            key = f"{row['node']}>{row['peer']}"
            return Action(f"e{i}", str(row["node"]), after, pause, key, str(row["peer"]), int(row["bytes"]))
        return Action(f"e{i}", str(row["node"]), after, pause, device=row["kind"] in WORK and self.serial)
