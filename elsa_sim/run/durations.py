"""Does a local step end in the time of a run? A device that is too slow for its part is a fault, not an endless run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..base.errors import Fault
from ..base.units import MOST_TIME, YEARS, format_flops, format_speed
from ..devices import DeviceOptions
from ..learning.backbone import flops_closed_form
from ..learning.backbone.memory import Outline
from ..learning.splits.base import Cut
from ..learning.splits.pattern import Holder
from ..scenario.model import Scenario
from ..topology import listed


def too_slow(
    scenario: Scenario, outline: Outline, cuts: Mapping[str, Cut] | None, server_of: Mapping[str, str],
    devices: Mapping[str, DeviceOptions],
) -> Iterator[Fault]:  # fmt: skip
    """Devices that take longer than ``MOST_TIME`` for their part of one step; alike ones are told of together.

    Codecs, aggregation, stragglers and waiting come on top and are not counted.
    """
    pattern, layers = scenario.protocol.pattern, outline.shape.layers
    rows, width = scenario.task.batch_size, scenario.task.max_length
    slow: dict[tuple[float, float], list[str]] = {}
    for client, server in server_of.items():
        cut = None if cuts is None else cuts[client]
        parts = pattern.divide(layers, *((0, 0) if cut is None else (cut.p, cut.q)))
        places: tuple[tuple[Holder, str], ...] = (("client", client), ("server", server))
        for holder, name in places:
            held = pattern.held(parts, holder)
            work = float(sum(flops_closed_form.flops(outline, part, "both", rows, width) for part in held))
            speed = devices[name].speed / devices[name].slowdown
            if work / speed > MOST_TIME and name not in slow.get((work, speed), ()):
                slow.setdefault((work, speed), []).append(name)
    for (work, speed), names in slow.items():
        yield Fault("", f"{listed(names)} at {format_speed(speed)} would take {work / speed:.3g} s for the "
                    f"{format_flops(work)} of one local step; at most {MOST_TIME:g} s ({YEARS})")  # fmt: skip
