"""Work on devices in simulated time, from its request to its row in the event table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import simpy

from ..base.errors import Lost
from ..devices import Device
from .event_log import EventLog
from .replica import Lineage
from .verb import Verb

if TYPE_CHECKING:
    from ..learning.execution.executor import Executor
    from ..learning.execution.work import Work


class Computing:
    """Runs work on devices: holds the device, books time and energy, and hands the arithmetic to the executor."""

    def __init__(self, event_log: EventLog, devices: Mapping[str, Device], executor: Executor) -> None:
        self.event_log, self.devices, self.executor = event_log, devices, executor
        self.lineage = Lineage()

    def compute(
        self, node: str, work: Work, *, round: int, step: int, kind: Literal["compute", "aggregation"] = "compute"
    ) -> Verb:
        """Run ``work`` on the device of ``node``; returns the handles on its outputs.

        Raises:
            Lost: the device went away, and the work with it.
        """
        log, device = self.event_log, self.devices[node]
        entry = log.begin(kind=kind, node=node, round=round, step=step, flops=work.flops, detail=work.label)
        try:
            execution = yield from device.compute(work.flops)
        except simpy.Interrupt as interrupt:
            now = float(log.env.now)  # the slot is given back, and its time booked
            start = max(0.0, now - device.booked_s)
            energy = (now - start) * device.options.power.working / device.options.slots
            lost: dict[str, Any] = {"status": "aborted", "metrics": {"reason": str(interrupt.cause)}}
            log.end(entry, t_start_s=start, energy_j=energy, **lost)
            raise
        spent = {"t_start_s": execution.t_start_s, "energy_j": execution.energy_j}
        if execution.status != "ok":
            log.end(entry, **spent, status="aborted", metrics={"reason": "the device went away"})
            raise Lost(f"{node} went away at {float(log.env.now):g} s and lost its work {work.label}")
        outputs = self.executor.finish(work)
        self.lineage.ended(node, work, float(log.env.now))
        log.end(entry, **spent)
        return outputs
