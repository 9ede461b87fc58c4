"""Bandwidth traces: files of a time and a bandwidth per line, one for both directions of a link or one for each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..base.context import Context
from ..base.errors import Fault, InputFaults
from ..populations import is_distribution
from .bandwidth_logs import read_bandwidth_log
from .limits import profile_fault
from .options import LinkOptions, Profile, Trace, TraceFile
from .trace_files import read_columns, read_mahimahi

_PENSIEVE: dict[str, str | None] = {"time": "s", "bandwidth": "Mbit/s"}


def traced(options: LinkOptions, context: Context, key: str, faults: list[Fault]) -> LinkOptions:
    """``options`` with the profiles of their trace files, if they name some; what is wrong is added to ``faults``.

    A choice of traces stays as it is until one is drawn.
    """
    if options.trace is None or is_distribution(options.trace):
        return options
    trace = Trace(file=options.trace) if isinstance(options.trace, str) else options.trace
    read = _Read(context, bool(options.repeat))
    where = f"{key}.trace"
    above, below = trace.files()
    up, period = read.profile(above, where if trace.file is not None else f"{where}.up")
    changes: dict[str, Any] = {"profile": up, "period": period}
    if trace.file is None:
        down, period_down = read.profile(below, f"{where}.down")
        changes |= {"profile_down": down, "period_down": period_down}
    faults += read.faults
    if read.faults:
        return options
    return options.model_copy(update=changes | {"trace": None, "repeat": None})


@dataclass
class _Read:
    context: Context
    repeat: bool
    faults: list[Fault] = field(default_factory=list)

    def profile(self, trace: TraceFile | None, where: str) -> tuple[Profile, float | None]:
        """The profile of a trace and its period (s); none where there is no trace, or it has faults."""
        if trace is None:
            return (), None
        period: float | None = None
        try:
            if trace.format == "mahimahi":
                profile, period = read_mahimahi(self.context, trace.file, where, trace.interval)
            elif trace.format == "bandwidth_log":
                profile, end = read_bandwidth_log(self.context, trace.file, where)
                period = end if self.repeat else None
            else:
                units = _PENSIEVE if trace.format == "pensieve" else {"time": trace.time, "bandwidth": trace.bandwidth}
                profile = read_columns(self.context, trace.file, where, units)
        except InputFaults as error:
            self.faults += error.faults
            return (), None
        if self.repeat and period is None:
            if len(profile) < 2:
                self.faults.append(
                    Fault(where, f"{trace.file} has {len(profile)} row; one that repeats needs 2 or more")
                )
                return (), None
            period, profile = profile[-1][0], profile[:-1]
        fault = profile_fault(profile, period)
        if fault:
            self.faults.append(Fault(where, f"{trace.file}: {fault}"))
        return profile, period
