"""Work on devices in simulated time, from its request to its row in the event table."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

import simpy

from ..base.errors import Lost
from ..devices import Device, Execution
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
        log = self.event_log
        entry = log.begin(kind=kind, node=node, round=round, step=step, flops=work.flops, detail=work.label)
        execution, interrupt = yield from self._hold(self.devices[node], work.flops)
        spent: dict[str, Any] = {"t_start_s": execution.t_start_s, "energy_j": execution.energy_j}
        if interrupt is not None:
            log.end(entry, **spent, status="aborted", metrics={"reason": str(interrupt.cause)})
            raise interrupt
        if execution.status != "ok":
            log.end(entry, **spent, status="aborted", metrics={"reason": "the device went away"})
            raise Lost(f"{node} went away at {float(log.env.now):g} s and lost its work {work.label}")
        outputs = self.executor.finish(work)
        self.lineage.ended(node, work, float(log.env.now))
        log.end(entry, **spent)
        return outputs

    def _hold(self, device: Device, flops: float) -> Verb:
        """Hold the device for some work; returns the :class:`Execution`, and the interruption that ended it early."""
        env = self.event_log.env
        held = device.compute(flops)
        event = next(held)
        while True:
            try:
                value = yield event
            except simpy.Interrupt as interrupt:
                queued, before = float(env.now), device.busy_s
                with suppress(simpy.Interrupt):
                    held.throw(interrupt)
                start = max(0.0, env.now - (device.busy_s - before))  # the slot is given back, and its time booked
                energy = (env.now - start) * device.options.power.working / device.options.slots
                return Execution(queued, start, float(env.now), energy, "lost"), interrupt
            try:
                event = held.send(value)
            except StopIteration as end:
                return end.value, None
