"""Connections that share a downlink, over real TCP with delay: all start a message at once, in turns."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from delay_lab import Net, Port, delay_lab
from plans import Action, play
from singles import echoed, undisturbed

SENDER_BPS = 100e6
TURNS = 3
#: All have arrived, and this much later (s, beyond the longest trip of the news) all start again.
GAP_S = 0.02


@dataclass(frozen=True)
class Turn:
    """Starts (of the repetition that took the median time in all) and durations (s) per connection of one turn."""

    starts_s: list[float]
    measured_s: list[float]
    repetitions_s: list[list[float]]


@dataclass(frozen=True)
class Shared:
    """Connections with the round trips ``rtts_s`` (found by echos) that shared a downlink, in turns on the same connections.

    ``typical`` is the repetition to which ``starts_s`` belong; ``disturbed`` counts those in which the emulator was late.
    """

    case: str
    rtts_ms: list[float]
    rtts_s: list[float]
    bytes: int
    rate_bps: float
    queue_bytes: float
    turns: list[Turn]
    typical: int
    retransmissions: int
    disturbed: int
    late_mean_s: float
    late_max_s: float


def downlink(rtts_s: Sequence[float], rate_bps: float, queue_bytes: float) -> Net:
    """Senders s0, s1, ... with uplinks of their own, which have their delays, and the downlink of r that they share."""
    senders = [f"s{i}" for i in range(len(rtts_s))]
    ports = {"hub>r": Port(rate_bps, queue_bytes, 0.0), "r>hub": Port(rate_bps, queue_bytes, 0.0)}
    routes = {}
    for sender, rtt in zip(senders, rtts_s, strict=True):
        own = Port(SENDER_BPS, SENDER_BPS / 8 * 0.1, rtt / 2)
        ports |= {f"{sender}>hub": own, f"hub>{sender}": own}
        routes |= {(sender, "r"): (f"{sender}>hub", "hub>r"), ("r", sender): ("r>hub", f"hub>{sender}")}
    return Net((*senders, "r"), ports, routes)


def turns(rtts_s: Sequence[float], nbytes: int, count: int = TURNS) -> list[Action]:
    """The plan: when all messages of a turn have arrived, r tells all senders, which wait for the one that hears it last."""
    actions = []
    senders = range(len(rtts_s))
    for t in range(count):
        for i in senders:
            wait = GAP_S + (max(rtts_s) - rtts_s[i]) / 2 if t else 0.0
            after = (f"go{t - 1}-{i}",) if t else ()
            actions.append(Action(f"m{t}-{i}", f"s{i}", after, wait, f"s{i}", "r", nbytes))
        if t < count - 1:
            arrived = tuple(f"m{t}-{i}" for i in senders)
            actions += [Action(f"go{t}-{i}", "r", arrived, 0.0, f"s{i}", f"s{i}", 1) for i in senders]
    return actions


def measure(
    rtts_s: Sequence[float], nbytes: int, repetitions: int = 3, rate_bps: float = 20e6, queue_bytes: float | None = None
) -> Shared:
    """All turns; the queue of the downlink holds 100 ms of its rate unless told otherwise."""
    queue = queue_bytes if queue_bytes is not None else 0.1 * rate_bps / 8
    names = [f"s{i}" for i in range(len(rtts_s))]
    plan = turns(rtts_s, nbytes)
    patience = 30.0 + TURNS * len(names) * 20 * (nbytes * 8 / rate_bps + max(rtts_s))
    with delay_lab(downlink(rtts_s, rate_bps, queue)) as lab:
        trips = [echoed(lab, name, "r") for name in names]
        played = [
            undisturbed(lambda: play(lab, plan, {name: (name, "r") for name in names}, patience))
            for _ in range(repetitions)
        ]
    totals = [max(p.ends.values()) for p in played]
    typical = totals.index(statistics.median_low(totals))
    found = []
    for t in range(TURNS):
        messages = [f"m{t}-{i}" for i in range(len(names))]
        took = [[round(p.took(m), 6) for m in messages] for p in played]
        begin = min(played[typical].starts[f"m0-{i}"] for i in range(len(names)))
        starts = [round(played[typical].starts[m] - begin, 6) for m in messages]
        found.append(Turn(starts, [statistics.median(times) for times in zip(*took, strict=True)], took))
    last = [f"m{TURNS - 1}-{i}" for i in range(len(names))]
    return Shared(
        case="equal" if len(set(rtts_s)) == 1 else "mixed", rtts_ms=[1e3 * rtt for rtt in rtts_s], rtts_s=trips, bytes=nbytes,
        rate_bps=rate_bps, queue_bytes=queue, turns=found, typical=typical,
        retransmissions=sum(played[typical].again[m] for m in last), disturbed=sum(p.lateness.busy for p in played),
        late_mean_s=max(p.lateness.late_mean_s for p in played), late_max_s=max(p.lateness.late_max_s for p in played),
    )  # fmt: skip
