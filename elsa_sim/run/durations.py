"""Does a local step end in the time of a run? A device or a channel too slow for its part is a fault, not an endless run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..base.errors import Fault
from ..base.listing import listed
from ..base.streams import Streams
from ..base.units import (
    MOST_TIME,
    YEARS,
    format_bandwidth,
    format_bytes,
    format_flops,
    format_seconds,
    format_speed,
)
from ..devices import DeviceOptions
from ..learning.backbone.flops import pass_flops
from ..learning.backbone.memory import Outline
from ..learning.splits.base import Cut
from ..learning.splits.pattern import Holder
from ..scenario.model import Scenario
from ..wireless import Layout
from .cost_inputs import Needs, radio_of, set_demands

#: Blocks of a channel in which one client sends what one step or round needs; each is an event, often with an optimisation.
MOST_BLOCKS = 1e5


def too_long_on_the_air(
    scenario: Scenario, layout: Layout, streams: Streams, wanted: Mapping[str | None, Needs]
) -> Iterator[Fault]:
    """Clients that would send for more than ``MOST_BLOCKS`` blocks what they need, at their rates of time 0.

    A client without a rate then is left out: it waits for its turn, or belongs to another station.
    """
    assert scenario.wireless is not None
    radio, length = radio_of(scenario, layout, streams), scenario.wireless.coherence
    set_demands(radio, wanted)
    slow: list[tuple[str, float, float]] = []
    for station, need in wanted.items():
        places = layout.stations if station is None else (station,)
        for client, bits in need.bits.items():
            rate = max((radio.rate(client, place) for place in places), default=0.0)
            if rate > 0 and bits / rate / length > MOST_BLOCKS:
                slow.append((client, bits, rate))
    if slow:
        (client, bits, rate), more = slow[0], f" (so do {len(slow) - 1} more)" if slow[1:] else ""
        yield Fault("", f"{client} would send {format_bytes(bits / 8)} at {format_bandwidth(rate)}: {bits / rate / length:.3g} "
                    f"blocks of {format_seconds(length)}{more}; at most {MOST_BLOCKS:g}; more power or bandwidth, a longer "
                    "coherence, or a smaller model")  # fmt: skip


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
            work = float(sum(pass_flops(outline, part, "learn", rows, width) for part in held))
            speed = devices[name].effective_speed / devices[name].slowdown
            if work / speed > MOST_TIME and name not in slow.get((work, speed), ()):
                slow.setdefault((work, speed), []).append(name)
    for (work, speed), names in slow.items():
        yield Fault("", f"{listed(names, quoted=True)} at {format_speed(speed)} would take {work / speed:.3g} s for the "
                    f"{format_flops(work)} of one local step; at most {MOST_TIME:g} s ({YEARS})")  # fmt: skip
