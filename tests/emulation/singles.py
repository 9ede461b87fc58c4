"""Single messages over real TCP with delay: on a new connection, first on one that was made before, and after others."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from delay_lab import DelayLab, Net, Port, delay_lab
from plans import Action, Played, play

TRIES = 4
#: Echos of 64 bytes on a link: ICMP's and IP's headers, Ethernet's.
ECHO_BYTES = 64 + 20 + 14
#: What is idled before each message of a connection (s), by size: after the first one, some at once, then the gaps.
GAPS = (None, 0.0, 0.0, 0.0, 0.0, 0.15, 1.0)
GAPS_LARGE = (None, 0.0, 1.0)
LARGE = 2_000_000


@dataclass(frozen=True)
class Cell:
    """A message that was measured; times in s, from the call that sends (or connects) to the last byte's arrival.

    ``starts_s`` are those of all messages on the connection up to it, of the repetition with the median; ``rtt_s`` is the
    round trip found by echos, without what they take to be sent. ``retransmissions`` are the connection's up to its end.
    """

    mode: str
    rtt_s: float
    nominal_rtt_s: float
    rate_bps: float
    queue_bytes: float
    bytes: int
    connections: str
    starts_s: list[float]
    measured_s: float
    repetitions_s: list[float]
    retransmissions: int
    disturbed: int
    late_mean_s: float
    late_max_s: float


def link(rate_bps: float, rtt_s: float, queue_bytes: float) -> Net:
    """Hosts a and b with one link between them."""
    port = Port(rate_bps, queue_bytes, rtt_s / 2)
    return Net(("a", "b"), {"a>b": port, "b>a": port}, {("a", "b"): ("a>b",), ("b", "a"): ("b>a",)})


def echoed(lab: DelayLab, a: str, b: str) -> float:
    """The round trip (s) of nothing: echos, without what they take to be sent."""
    sending = lab.net.round_trip(a, b, ECHO_BYTES, ECHO_BYTES) - lab.net.round_trip(a, b)
    return lab.ping(a, b) - sending


def undisturbed(measure: Callable[[], Played], tries: int = TRIES) -> Played:
    """Measure until the emulator was on time; after some tries the one with the least lateness counts, and tells it."""
    found: list[Played] = []
    while len(found) < tries and not (found and not found[-1].lateness.busy):
        found.append(measure())
    return found[-1] if not found[-1].lateness.busy else min(found, key=lambda p: p.lateness.late_mean_s)


def chain(nbytes: int) -> tuple[Sequence[float | None], list[Action]]:
    """Messages one after another on one connection: each after the reply (1 byte) to the last, and after its gap."""
    gaps = GAPS_LARGE if nbytes >= LARGE else GAPS
    actions = []
    for k, gap in enumerate(gaps):
        actions.append(Action(f"m{k}", "a", (f"r{k - 1}",) if k else (), gap or 0.0, "warm", "b", nbytes))
        actions.append(Action(f"r{k}", "b", (f"m{k}",), 0.0, "warm", "a", 1))
    return gaps, actions


def measure(
    rate_bps: float, rtt_s: float, nbytes: int, repetitions: int = 3, queue_bytes: float | None = None
) -> list[Cell]:
    """All modes of one size, rate and nominal round trip; the queue holds 100 ms of the rate unless told otherwise."""
    queue = queue_bytes if queue_bytes is not None else 0.1 * rate_bps / 8
    gaps, actions = chain(nbytes)
    fresh = [Action("m0", "a", (), 0.0, "new", "b", nbytes, fresh=True)]
    patience = 30.0 + 20 * len(gaps) * (nbytes * 8 / rate_bps + 2 * rtt_s)
    with delay_lab(link(rate_bps, rtt_s, queue)) as lab:
        rtt = echoed(lab, "a", "b")
        chains = [undisturbed(lambda: play(lab, actions, {"warm": ("a", "b")}, patience)) for _ in range(repetitions)]
        news = [undisturbed(lambda: play(lab, fresh, {"new": ("a", "b")}, patience)) for _ in range(repetitions)]
    shared: Mapping[str, Any] = {
        "rtt_s": rtt, "nominal_rtt_s": rtt_s, "rate_bps": rate_bps, "queue_bytes": queue, "bytes": nbytes,
    }  # fmt: skip
    cells = [_cell("fresh", "per_message", 0, news, shared)]
    last = {f"warm gap {gap}" if gap is not None else "first": k for k, gap in enumerate(gaps)}
    return cells + [_cell(mode, "persistent", k, chains, shared) for mode, k in last.items()]


def _cell(mode: str, connections: str, k: int, played: Sequence[Played], shared: Mapping[str, Any]) -> Cell:
    took = [p.took(f"m{k}") for p in played]
    typical = played[took.index(statistics.median_low(took))]
    begin = typical.starts["m0"]
    return Cell(
        mode=mode, connections=connections, starts_s=[round(typical.starts[f"m{i}"] - begin, 6) for i in range(k + 1)],
        measured_s=round(statistics.median(took), 6), repetitions_s=[round(t, 6) for t in took],
        retransmissions=typical.again[f"m{k}"], disturbed=sum(p.lateness.busy for p in played),
        late_mean_s=max(p.lateness.late_mean_s for p in played), late_max_s=max(p.lateness.late_max_s for p in played),
        **shared,
    )  # fmt: skip
