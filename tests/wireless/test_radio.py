"""The radio in simulated time: transfers against the integral of the rate, handovers, routes, common random numbers."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import simpy

from elsa_sim.base.errors import InputError
from elsa_sim.base.streams import Streams
from elsa_sim.links import LinkModel
from elsa_sim.network import Delivery, Network, NetworkOptions
from elsa_sim.topology import Link, Node, Topology
from elsa_sim.wireless import Fading, Handover, Radio, WirelessOptions, rate

MODELS = sorted(LinkModel.members)


def tree(clients: int = 2, edges: int = 2, latency: float = 0.0) -> Topology:
    names = [f"client{i}" for i in range(clients)]
    nodes = [
        Node("cloud", "cloud"),
        *(Node(f"edge{j}", "edge") for j in range(edges)),
        *(Node(c, "client") for c in names),
    ]
    links = [Link(c, f"edge{i % edges}", 1e6, 1e6, latency) for i, c in enumerate(names)]
    return Topology(tuple(nodes), (*links, *(Link(f"edge{j}", "cloud", 1e9, 1e9, 0.005) for j in range(edges))))


class Site:
    """A radio with its network, and what became of the messages sent over it."""

    def __init__(
        self, topology: Topology, seed: int = 0, network: dict[str, Any] | None = None, **options: Any
    ) -> None:
        self.env = simpy.Environment()
        self.options, streams = WirelessOptions.model_validate(options), Streams(seed)
        self.layout = self.options.layout(topology, streams)
        self.network = Network(self.env, self.layout.extended, NetworkOptions.model_validate(network or {}), streams)
        self.radio = Radio(self.env, self.network, self.options, self.layout, streams)
        self.done: list[Delivery] = []

    def send(self, start: float, src: str, dst: str, nbytes: float) -> simpy.Process:
        def sending() -> Any:
            yield self.env.timeout(start)
            self.done.append((yield self.network.transfer(src, dst, nbytes, self.radio.route(src, dst))))

        return self.env.process(sending())

    def run(self, until: float | None = None) -> Site:
        self.env.run(until)
        assert self.network.check() == []
        assert self.radio.check() == []
        return self


def at(**where: tuple[float, float]) -> dict[str, Any]:
    return {name: {"at": place} for name, place in where.items()}


def walk(*points: tuple[float, float]) -> dict[str, Any]:
    """client0 along the x axis: (time, x)."""
    return {"kind": "paths", "paths": {"client0": tuple((t, x, 0.0) for t, x in points)}}


STREET = {"area": (1000.0, 100.0), "handover": {"margin": 3.0, "time_to_trigger": 2.0}}
ALONE = at(client0=(0.0, 0.0), edge0=(100.0, 0.0), edge1=(900.0, 0.0))
ENDS = at(client0=(0.0, 0.0), client1=(50.0, 0.0), edge0=(100.0, 0.0), edge1=(900.0, 0.0))


def bits_over(times: list[float], rates: list[float], end: float) -> float:
    """The integral of a rate that has each value from its time on."""
    spans = [min(b, end) - a for a, b in itertools.pairwise([*times, math.inf]) if a < end]
    return math.fsum(span * r for span, r in zip(spans, rates, strict=False))


def test_a_static_link_has_shannons_rate() -> None:
    """2 clients with 10 of 20 subchannels each, 100 m away; the network's own bandwidths do not count."""
    site = Site(tree(2, 1), nodes=at(client0=(0.0, 0.0), client1=(0.0, 200.0), edge0=(0.0, 100.0)))
    gain = 10.0 ** (-site.options.path_loss.decibels(100.0) / 10.0)
    up = 10.0 * float(rate(gain, 1e6, 0.2 / 10, site.options.noise_density()))
    down = 10.0 * float(rate(gain, 1e6, 1.0 / 20, site.options.noise_density()))
    assert site.radio.rate("client0", "edge0") == pytest.approx(up, rel=1e-12)
    assert site.radio.rate("edge0", "client1") == pytest.approx(down, rel=1e-12)
    site.send(0.0, "client0", "edge0", 1e6)
    site.send(0.0, "edge0", "client0", 1e6)
    site.run()  # nothing moves, nothing fades: it ends by itself
    assert [d.t_end_s for d in site.done] == pytest.approx([8e6 / down, 8e6 / up], rel=1e-9)
    assert site.env.now == pytest.approx(8e6 / up)


def test_capacity_follows_distance() -> None:
    far = [10.0, 20.0, 50.0, 100.0, 300.0, 900.0]
    sites = [Site(tree(1, 1), nodes=at(client0=(0.0, 0.0), edge0=(d, 0.0))) for d in far]
    for pair in (("client0", "edge0"), ("edge0", "client0")):
        rates = [site.radio.rate(*pair) for site in sites]
        assert rates == sorted(rates, reverse=True)
        assert len(set(rates)) == len(far)


def test_a_given_downlink() -> None:
    site = Site(tree(2, 1), downlink="7 Mbit/s")
    assert site.radio.rate("edge0", "client1") == 7e6


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("fading", ["flat", "selective"])
def test_a_transfer_over_a_fading_link_is_the_integral_of_its_rate(model: str, fading: str) -> None:
    """The time at which the bits of the blocks sum up to the message, to 1e-9; the wired rest is no limit."""
    site = Site(tree(1, 1), 5, {"model": model, "transport": "fluid"}, fading=fading, coherence=0.01, subchannels=4,
                nodes=at(client0=(0.0, 0.0), edge0=(300.0, 0.0)))  # fmt: skip
    site.send(0.1234, "client0", "edge0", 1e6)
    site.run()
    gain = 10.0 ** (-float(site.options.path_loss.decibels(300.0)) / 10.0)
    fades = Fading(fading, Streams(5))  # type: ignore[arg-type]
    blocks = range(12, 400)
    rates = [
        float(rate(gain * fades.gains(("client0", "edge0"), 4, b), 1e6, 0.05, site.options.noise_density()).sum())
        for b in blocks
    ]
    times = [0.1234, *(b * 0.01 for b in blocks[1:])]
    (delivery,) = site.done
    assert delivery.t_end_s > 0.2, "several blocks"
    assert bits_over(times, rates, delivery.t_end_s) == pytest.approx(8e6, rel=1e-9)
    assert np.std(rates) > 0.05 * np.mean(rates)


@pytest.mark.parametrize("model", MODELS)
def test_a_transfer_of_a_moving_client_is_the_integral_of_its_rate(model: str) -> None:
    """400 m at 10 m/s, positions every 0.5 s."""
    site = Site(tree(1, 1), 0, {"model": model, "transport": "fluid"}, nodes=at(client0=(0.0, 0.0), edge0=(0.0, 50.0)),
                interval=0.5, subchannels=1, mobility=walk((0.0, 0.0), (40.0, 400.0)))  # fmt: skip
    site.send(2.25, "client0", "edge0", 12e6)
    site.run(60.0)
    ticks = [0.5 * i for i in range(5, 81)]
    gains = 10.0 ** (-site.options.path_loss.decibels([math.hypot(10.0 * t, 50.0) for t in [2.0, *ticks]]) / 10.0)
    rates = rate(gains, 1e6, 0.2, site.options.noise_density()).tolist()
    (delivery,) = site.done
    assert 6.0 < delivery.t_end_s < 40.0
    assert bits_over([2.25, *ticks], rates, delivery.t_end_s) == pytest.approx(96e6, rel=1e-9)
    assert rates == sorted(rates, reverse=True)


def test_an_outage_beats_the_radio() -> None:
    """The link is down for 3 s in the middle, whatever the fading says."""
    plain, cut = (
        Site(tree(1, 1), 0, {"outages": outages}, subchannels=1, nodes=at(client0=(0.0, 0.0), edge0=(10.0, 0.0)))
        for outages in ((), ({"node": "edge0", "start": 0.1, "duration": 3.0},))
    )
    for site in (plain, cut):
        site.send(0.0, "client0", "edge0", 1e6)
        site.run()
    assert plain.done[0].t_end_s > 0.1
    assert cut.done[0].t_end_s == pytest.approx(plain.done[0].t_end_s + 3.0, rel=1e-9)


def test_a_cut_node_comes_back_to_the_rate_of_the_radio() -> None:
    site = Site(tree(1, 1), subchannels=1, nodes=at(client0=(0.0, 0.0), edge0=(10.0, 0.0)))
    full = 8e6 / site.radio.rate("client0", "edge0")

    def trouble() -> Any:
        yield site.env.timeout(0.1)
        site.network.disconnect("edge0")
        yield site.env.timeout(1.0)
        site.network.reconnect("edge0")

    site.env.process(trouble())
    site.send(0.0, "client0", "edge0", 1e6)
    assert site.run().done[0].t_end_s == pytest.approx(full + 1.0, rel=1e-9)


def test_blocks_cost_nothing_while_nothing_is_sent() -> None:
    """An hour with one short message: the blocks of 1 ms are looked at while it lasts, and then no more."""
    site = Site(tree(1, 1), fading="flat", coherence=0.001, nodes=at(client0=(0.0, 0.0), edge0=(10.0, 0.0)))
    asked, update = [], site.radio.changes
    site.network.channels._sources[:] = [site.radio]

    def changes(now: float) -> Any:
        asked.append(now)
        return update(now)

    site.radio.changes = changes  # type: ignore[method-assign]
    site.send(3000.0, "client0", "edge0", 1e6)
    site.run(3600.0)
    assert 3000.0 + 8e6 / 500e6 < site.done[0].t_end_s < 3000.5
    assert len(asked) <= (site.done[0].t_end_s - 3000.0) / 0.001 + 3
    assert min(asked) == 3000.0


def test_handover_needs_the_margin_for_its_time() -> None:
    """At 10 m/s from edge0 to edge1, 800 m apart: 3 dB at exponent 3 is a ratio of distances of 10^0.1, reached after
    445.9 m and seen by the next update, at 45 s; it changes 2 s later."""
    site = Site(tree(2, 2), nodes=ENDS, mobility=walk((0.0, 100.0), (80.0, 900.0)), interval=0.5, **STREET)
    heard: list[tuple[Handover, str]] = []
    site.radio.on_handover(lambda event: heard.append((event, site.radio.serving("client0"))))
    site.run(80.0)
    when = math.ceil(800.0 * 10.0**0.1 / (1.0 + 10.0**0.1) / 10.0 / 0.5) * 0.5 + 2.0
    assert when == 47.0
    assert heard == [(Handover("client0", "edge0", "edge1", when), "edge1")]
    assert site.radio.handovers == [heard[0][0]]
    assert site.radio.serving("client1") == "edge0"
    assert site.radio.members("edge1") == ("client0",)


def pacing(margin: float, trigger: float, amplitude: float = 40.0) -> int:
    """Handovers of a client that paces around the middle for 400 s, 10 s there and 10 s back."""
    points = [(10.0 * i, 500.0 + amplitude * (-1.0) ** i) for i in range(41)]
    site = Site(tree(2, 2), nodes=ENDS, mobility=walk(*points), interval=0.5, area=(1000.0, 100.0),
                handover={"margin": margin, "time_to_trigger": trigger})  # fmt: skip
    return len(site.run(400.0).radio.handovers)


def test_hysteresis_avoids_ping_pong() -> None:
    """Without margin and time, it changes with every crossing; either of them keeps it where it is."""
    assert pacing(0.0, 0.0) in (39, 40)
    assert pacing(3.0, 0.0) == 0
    assert pacing(0.0, 12.0) == 0
    assert pacing(3.0, 0.0, amplitude=300.0) in (39, 40)


def test_a_margin_that_breaks_off_starts_again() -> None:
    """3 s beyond the margin, back, and 3 s again are not 5 s on end."""
    points = (
        (0.0, 500.0),
        (1.0, 560.0),
        (3.9, 560.0),
        (4.0, 500.0),
        (5.0, 500.0),
        (6.0, 560.0),
        (8.9, 560.0),
        (9.0, 500.0),
    )
    for trigger, count in ((5.0, 0), (2.5, 1)):
        site = Site(tree(2, 2), nodes=ENDS, mobility=walk(*points), interval=0.5, area=(1000.0, 100.0),
                    handover={"margin": 3.0, "time_to_trigger": trigger})  # fmt: skip
        assert len(site.run(20.0).radio.handovers) == count


def test_what_is_under_way_finishes_over_the_old_link() -> None:
    """The old station serves on until the message has ended; new ones take the new route, and the old link ends."""
    site = Site(
        tree(1, 2), nodes=ALONE, mobility=walk((0.0, 400.0), (40.0, 800.0)), interval=0.5, subchannels=1, **STREET
    )
    site.send(0.0, "client0", "edge0", 50e6)
    site.send(30.0, "client0", "edge0", 1.0)
    site.run(30.5)
    (handover,) = site.radio.handovers
    assert [d.route for d in site.done] == [("client0", "edge1", "cloud", "edge0")]
    assert site.radio.rate("client0", "edge0") > 0.0
    assert site.radio.members("edge0") == site.radio.members("edge1") == ("client0",)
    site.run(600.0)
    assert site.done[1].route == ("client0", "edge0")
    assert site.done[1].t_end_s > handover.t_s + 5.0
    assert (site.done[1].status, site.done[1].attempts) == ("ok", 1)
    assert site.radio.rate("client0", "edge0") == 0.0
    assert site.radio.members("edge0") == ()


def test_what_is_under_way_can_be_aborted() -> None:
    handover = {**STREET["handover"], "under_way": "abort"}  # type: ignore[dict-item]
    site = Site(tree(1, 2), nodes=ALONE, mobility=walk((0.0, 400.0), (40.0, 800.0)), interval=0.5, subchannels=1,
                **{**STREET, "handover": handover})  # fmt: skip
    site.send(0.0, "client0", "edge0", 50e6)
    site.run(60.0)
    (event,) = site.radio.handovers
    assert (site.done[0].status, site.done[0].t_end_s) == ("aborted", event.t_s)
    assert site.done[0].reason == "handover of client0 from edge0 to edge1"
    assert site.radio.rate("client0", "edge0") == 0.0


def test_routes() -> None:
    site = Site(tree(3, 2), nodes=at(client0=(0.0, 0.0), client1=(900.0, 0.0), client2=(0.0, 50.0),
                                     edge0=(100.0, 0.0), edge1=(800.0, 0.0)))  # fmt: skip
    route = site.radio.route
    assert route("client0", "edge0") == ("client0", "edge0")
    assert route("client0", "edge1") == ("client0", "edge0", "cloud", "edge1")
    assert route("cloud", "client1") == ("cloud", "edge1", "client1")
    assert route("client0", "client1") == ("client0", "edge0", "cloud", "edge1", "client1")
    assert route("client0", "client2") == ("client0", "edge0", "client2")
    assert route("edge0", "edge1") == ("edge0", "cloud", "edge1")
    assert route("client0", "client0") == ("client0",)
    assert site.radio.rate("client0", "edge1") == 0.0


def test_links_to_all_stations() -> None:
    """As SflLLM has them: subchannels of both servers for every client, and a straight way to either."""
    site = Site(tree(2, 2), association="all", nodes=ENDS)
    assert site.radio.members("edge0") == site.radio.members("edge1") == ("client0", "client1")
    assert site.radio.route("client0", "edge1") == ("client0", "edge1")
    assert site.radio.route("client0", "cloud") == ("client0", "edge0", "cloud")
    assert site.radio.rate("client0", "edge1") > 0.0
    assert site.radio.rate("edge1", "client0") > 0.0


def test_a_silent_station() -> None:
    """Its clients change at once, and do not come back before the margin and its time say so."""
    site = Site(tree(2, 2), nodes=ENDS, **STREET)
    site.radio.silence("edge0")
    assert [e.new for e in site.radio.handovers] == ["edge1", "edge1"]
    assert site.radio.rate("client0", "edge0") == 0.0
    assert site.radio.rate("client0", "edge1") > 0.0
    site.radio.silence("edge0", False)
    assert site.radio.serving("client0") == "edge1"


def test_a_silent_station_serves_nobody() -> None:
    """The only one: what is sent waits for it; what it carried at most is remembered."""
    site = Site(tree(1, 1), subchannels=1, nodes=at(client0=(0.0, 0.0), edge0=(10.0, 0.0)))
    full = site.radio.rate("client0", "edge0")

    def silence() -> Any:
        yield site.env.timeout(0.1)
        site.radio.silence("edge0")
        assert site.radio.rate("client0", "edge0") == 0.0
        yield site.env.timeout(2.0)
        site.radio.silence("edge0", False)

    site.env.process(silence())
    site.send(0.0, "client0", "edge0", 1e6)
    assert site.run().done[0].t_end_s == pytest.approx(8e6 / full + 2.0, rel=1e-9)
    assert site.radio.handovers == []
    assert site.radio.highest["client0", "edge0"] == full


def test_assignment_by_an_optimiser_takes_effect_at_once() -> None:
    """All subchannels, then none of 20 but one: 0.5 s of the one rate, the rest of the other."""
    site = Site(tree(2, 1), nodes=at(client0=(0.0, 0.0), client1=(0.0, 200.0), edge0=(0.0, 100.0)))
    site.radio.assign("edge0", {"client0": range(20)})
    first = site.radio.rate("client0", "edge0")
    assert site.radio.rate("client1", "edge0") == 0.0

    def optimiser() -> Any:
        yield site.env.timeout(0.5)
        site.radio.assign("edge0", {"client0": [7], "client1": [3]}, powers={"client0": [0.01]})

    site.env.process(optimiser())
    site.send(0.0, "client0", "edge0", first * 0.75 / 8.0)
    site.run()
    second = site.radio.rate("client0", "edge0")
    gain = 10.0 ** (-float(site.options.path_loss.decibels(100.0)) / 10.0)
    assert second == pytest.approx(float(rate(gain, 1e6, 0.01, site.options.noise_density())), rel=1e-12)
    assert site.done[0].t_end_s == pytest.approx(0.5 + 0.25 * first / second, rel=1e-9)
    site.radio.release("edge0")
    assert site.radio.rate("client0", "edge0") == pytest.approx(site.radio.rate("client1", "edge0"))
    with pytest.raises(InputError, match="no wireless client 'x'"):
        site.radio.assign("edge0", {"x": [0]})


def test_needs_move_subchannels() -> None:
    site = Site(
        tree(2, 1), allocator="proportional", nodes=at(client0=(0.0, 0.0), client1=(0.0, 200.0), edge0=(0.0, 100.0))
    )
    even = site.radio.rate("client0", "edge0")
    site.radio.set_needs({"client0": 3.0})
    assert site.radio.rate("client0", "edge0") > 1.2 * even
    assert len(site.radio.subcarriers_of["edge0", "up"].of("client0")) == 15
    for needs in ({"x": 1.0}, {"client0": 0.0}, {"client0": math.nan}):
        with pytest.raises(InputError):
            site.radio.set_needs(needs)


def test_turns_of_a_crowded_cell() -> None:
    """5 clients on 2 subchannels: all get through, at two fifths of the rate, in the long run."""
    site = Site(tree(5, 1), subchannels=2, coherence=0.01, nodes=at(edge0=(0.0, 100.0), **{
        f"client{i}": (0.0, 0.0) for i in range(5)}))  # fmt: skip
    gain = 10.0 ** (-float(site.options.path_loss.decibels(100.0)) / 10.0)
    alone = float(rate(gain, 1e6, 0.2, site.options.noise_density()))
    for i in range(5):
        site.send(0.0, f"client{i}", "edge0", alone * 4.0 / 8.0)
    site.run()
    assert [d.t_end_s for d in site.done] == pytest.approx([10.0] * 5, rel=0.01)


def trace(clients: int, seed: int = 0, **more: Any) -> dict[str, list[float]]:
    """Positions, shadowing, and faded rates of client0 and client1 over 20 s."""
    options = {"mobility": {"kind": "random_waypoint", "speed": (5.0, 20.0)}, "shadowing": 6.0, "shadowing_distance": 50.0,
               "fading": "selective", "subchannels": 40, "allocator": "equal"}  # fmt: skip
    site = Site(tree(clients, 2), seed, **(options | more))
    found: dict[str, list[float]] = {"client0": [], "client1": []}
    for t in range(1, 21):
        site.run(t + 0.55)
        for i, name in enumerate(found):
            column = site.layout.stations.index("edge1")
            fading = site.radio.cells.fading.gains((name, "edge1"), 40, site.radio._block_of(site.env.now))
            found[name] += [*site.radio.position(name), float(site.radio.state.gains[i, column]), *fading.tolist()]
    return found


def test_common_random_numbers() -> None:
    """Another client changes nothing for those that are there; another seed changes everything."""
    assert trace(2) == trace(5)
    assert trace(2) == trace(2, allocator="random")
    assert trace(2) != trace(2, seed=1)
    standard: dict[str, Any] = {"path_loss": "uma", "shadowing": None, "shadowing_distance": None}
    assert trace(2, **standard) == trace(5, **standard) != trace(2, seed=1, **standard)


def test_same_seed_same_run() -> None:
    def play() -> list[Delivery]:
        site = Site(tree(6, 3), 3, mobility={"kind": "random_waypoint", "speed": (10.0, 30.0)}, shadowing=6.0,
                    fading="selective", subchannels=4, allocator="random", handover={"time_to_trigger": 0.0})  # fmt: skip
        for i in range(6):
            for k in range(20):
                site.send(2.0 * k, f"client{i}", "cloud", 2e6)
        site.run(300.0)
        assert site.radio.handovers
        return site.done

    one = play()
    assert len(one) == 120
    assert one == play()
