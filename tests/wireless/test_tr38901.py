"""TR 38.901: losses, sight and shadowing against Sionna's numbers, formulas by hand, and statistics of what is drawn."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from elsa_sim.base.streams import Streams
from elsa_sim.topology import Link, Node, Topology
from elsa_sim.wireless import (
    ChannelState,
    IndoorOffice,
    LineOfSight,
    PathLoss,
    RuralMacro,
    Shadowing,
    ShadowSpread,
    UrbanMacro,
    UrbanMicro,
    WirelessOptions,
    to_db,
)

ENVIRONMENTS: dict[str, type[Any]] = {"umi": UrbanMicro, "uma": UrbanMacro, "rma": RuralMacro, "inh": IndoorOffice}
#: (distance on the map in m, carrier in GHz, what differs from the defaults, loss in dB with sight, without, probability of
#: sight): basic path losses of NVIDIA's Sionna 2.2.0 (sionna-no-rt) in double precision. Its speed of light is 299,792,458 m/s,
#: the standard's 3e8: 0.006 dB beyond a breakpoint.
SIONNA: dict[str, list[tuple[float, float, dict[str, float], float, float, float]]] = {
    "umi": [
        (10, 3.5, {}, 66.761, 73.457, 1.00000),
        (35, 0.7, {}, 61.989, 74.045, 0.69800),
        (50, 28.0, {}, 97.151, 113.416, 0.51959),
        (120, 3.5, {}, 86.967, 107.422, 0.18032),
        (200, 3.5, {}, 91.611, 115.229, 0.09352),
        (210, 3.5, {}, 92.055, 115.976, 0.08839),
        (300, 0.5, {}, 97.082, 103.437, 0.06023),
        (700, 6.0, {"user_height": 10.0}, 107.710, 136.857, 0.02571),
        (1500, 73.0, {}, 136.365, 174.205, 0.01200),
        (5000, 2.0, {"user_height": 22.5}, 116.099, 153.086, 0.00360),
    ],
    "uma": [
        (10, 3.5, {}, 69.840, 79.415, 1.00000),
        (60, 0.7, {}, 64.703, 81.143, 0.57007),
        (112, 0.7, {}, 70.191, 90.891, 0.30256),
        (115, 0.7, {}, 70.626, 91.321, 0.29245),
        (250, 28.0, {}, 109.740, 136.269, 0.08955),
        (560, 3.5, {}, 99.350, 131.835, 0.03228),
        (600, 3.5, {}, 100.541, 133.005, 0.03007),
        (1000, 2.0, {"user_height": 8.0}, 100.022, 132.903, 0.01800),
        (2500, 6.0, {"user_height": 12.0}, 118.318, 155.595, 0.00720),
        (5000, 100.0, {}, 149.377, 198.096, 0.00360),
    ],
    "rma": [
        (10, 0.7, {}, 60.301, 60.301, 1.00000),
        (150, 0.7, {}, 73.636, 85.013, 0.86936),
        (700, 0.7, {}, 87.894, 110.470, 0.50158),
        (900, 0.7, {}, 91.548, 114.679, 0.41066),
        (1000, 3.5, {}, 105.460, 130.424, 0.37158),
        (2000, 3.5, {"building_height": 20.0, "street_width": 10.0}, 124.064, 150.449, 0.13670),
        (3000, 2.0, {}, 114.670, 143.988, 0.05029),
        (3000, 3.5, {"station_height": 10.0, "user_height": 1.0}, 126.793, 165.025, 0.05029),
        (4500, 3.5, {}, 124.137, 155.651, 0.01122),
        (5000, 28.0, {"station_height": 100.0, "user_height": 10.0, "building_height": 50.0, "street_width": 50.0},
         174.579, 174.579, 0.00681),
    ],
    "inh": [
        (0.5, 3.5, {}, 48.717, 48.717, 1.00000),
        (1.2, 28.0, {}, 67.706, 67.706, 1.00000),
        (4, 0.5, {}, 37.633, 37.633, 0.55115),
        (6, 3.5, {}, 57.139, 61.527, 0.36013),
        (10, 60.0, {}, 85.410, 100.202, 0.28742),
        (25, 3.5, {}, 67.490, 84.441, 0.18142),
        (49, 6.0, {}, 77.210, 101.424, 0.08689),
        (80, 28.0, {"user_height": 1.5}, 94.268, 126.226, 0.03357),
        (120, 100.0, {}, 108.371, 146.735, 0.00984),
        (149, 2.4, {"station_height": 5.0}, 77.603, 110.006, 0.00404),
    ],
}  # fmt: skip


@pytest.mark.parametrize("kind", ENVIRONMENTS)
def test_losses_and_sight_are_those_of_sionna(kind: str) -> None:
    assert len(SIONNA[kind]) == 10
    for distance, carrier, options, seen, unseen, probability in SIONNA[kind]:
        model = ENVIRONMENTS[kind](frequency=carrier * 1e9, **options)
        assert float(model.decibels(distance)) == pytest.approx(seen, abs=0.0065)
        assert float(model.decibels(distance, False)) == pytest.approx(unseen, abs=0.0006)
        assert float(model.los_probability(distance)) == pytest.approx(probability, abs=6e-6)


def test_a_street_by_hand() -> None:
    """At 2 GHz, hBS = 10 m and hUT = 1.5 m the breakpoint is 4 x 9 x 0.5 x 2e9 / 3e8 = 120 m: 21 dB per decade of d3D up to
    there, 40 dB from there on, without a step."""
    street = UrbanMicro(frequency=2e9)
    assert street.breakpoint == pytest.approx(120.0)
    near = 32.4 + 21.0 * math.log10(math.sqrt(60.0**2 + 8.5**2)) + 20.0 * math.log10(2.0)
    assert float(street.decibels(60.0)) == pytest.approx(near)
    bend = 32.4 + 21.0 * math.log10(math.sqrt(120.0**2 + 8.5**2)) + 20.0 * math.log10(2.0)
    assert street.decibels([120.0, 120.0 * (1.0 + 1e-12)]).tolist() == pytest.approx([bend, bend])
    far = bend + 40.0 * math.log10(math.sqrt(1200.0**2 + 8.5**2) / math.sqrt(120.0**2 + 8.5**2))
    assert float(street.decibels(1200.0)) == pytest.approx(far)


def test_offices_by_hand() -> None:
    """Table 7.4.2-1, whose formulas do not quite meet: at 6.5 m of a mixed office and 49 m of an open one."""
    mixed, open_ = IndoorOffice(), IndoorOffice(office="open")
    at = [0.0, 1.2, 3.55, 6.5, 39.1]
    assert mixed.los_probability(at).tolist() == pytest.approx([1.0, 1.0, math.exp(-0.5), 0.32, 0.32 * math.exp(-1.0)])
    at = [0.0, 5.0, 40.4, 49.0, 260.7]
    expected = [1.0, 1.0, math.exp(-0.5), math.exp(-44.0 / 70.8), 0.54 * math.exp(-1.0)]
    assert open_.los_probability(at).tolist() == pytest.approx(expected)
    assert open_.decibels(at).tolist() == mixed.decibels(at).tolist()


@given(st.sampled_from(sorted(ENVIRONMENTS)), st.data())
def test_losses_grow_with_distance_wherever_the_standard_holds(kind: str, data: st.DataObject) -> None:
    """But for the rural breakpoint, where the standard's own two formulas may part by a hundredth of a dB."""
    ranges = {
        "umi": {"frequency": (0.5e9, 1e11), "station_height": (2.0, 150.0), "user_height": (1.5, 22.5)},
        "uma": {"frequency": (0.5e9, 1e11), "station_height": (2.0, 150.0), "user_height": (1.5, 13.0)},
        "inh": {"frequency": (0.5e9, 1e11), "station_height": (0.5, 20.0), "user_height": (0.5, 20.0)},
        "rma": {"frequency": (0.5e9, 3e10), "station_height": (10.0, 150.0), "user_height": (1.0, 10.0),
                "building_height": (5.0, 50.0), "street_width": (5.0, 50.0)},
    }[kind]  # fmt: skip
    model = ENVIRONMENTS[kind](**{name: data.draw(st.floats(*ends)) for name, ends in ranges.items()})
    losses = model.decibels(np.geomspace(1.0, 1e4, 300))
    assert np.isfinite(losses).all()
    assert (np.diff(losses) >= (-0.01 if kind == "rma" else -1e-9)).all()
    unseen = model.decibels(np.geomspace(1.0, 1e4, 300), False)
    assert (unseen >= losses).all()
    assert (np.diff(unseen) >= (-0.01 if kind == "rma" else -1e-9)).all()


@pytest.mark.parametrize(
    ("kind", "options"),
    [("umi", {"frequency": "400 MHz"}), ("umi", {"frequency": "101 GHz"}), ("umi", {"user_height": "1 m"}),
     ("umi", {"user_height": "23 m"}), ("umi", {"station_height": "1 m"}), ("uma", {"user_height": "14 m"}),
     ("rma", {"frequency": "31 GHz"}), ("rma", {"building_height": "4 m"}), ("rma", {"street_width": "51 m"}),
     ("rma", {"station_height": "9 m"}), ("rma", {"user_height": "11 m"}), ("inh", {"office": "closed"}), ("inh", {"los": "no"})],
)  # fmt: skip
def test_what_the_standard_is_not_for(kind: str, options: dict[str, str]) -> None:
    ENVIRONMENTS[kind]()
    with pytest.raises(ValidationError) as caught:
        ENVIRONMENTS[kind].model_validate(options)
    assert [error["loc"] for error in caught.value.errors()] == [tuple(options)]


def test_notes_of_where_a_scenario_leaves_the_standard() -> None:
    assert UrbanMicro().notes(4999.0) == ()
    assert "up to 5000 m" in UrbanMicro().notes(5001.0)[0]
    assert "stations at 10 m; these are at 6 m" in UrbanMicro(station_height=6.0).notes(10.0)[0]
    assert RuralMacro(los="always").notes(9000.0) == () != RuralMacro().notes(9000.0)
    assert IndoorOffice(station_height=4.0).notes(150.0) == () != IndoorOffice().notes(151.0)


# -- what is drawn ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ENVIRONMENTS)
@pytest.mark.parametrize("distance", [5.0, 30.0, 120.0, 700.0])
def test_the_share_of_clients_with_sight_is_its_probability(kind: str, distance: float) -> None:
    """10,000 clients at one distance: within four standard errors; where it is certain, all of them."""
    model = ENVIRONMENTS[kind]()
    sight = LineOfSight(model.los_distance, [f"c{i}" for i in range(10_000)], ["s"], Streams(5))
    probability = float(model.los_probability(distance))
    share = sight.where(np.full((10_000, 1), probability)).mean()
    assert share == pytest.approx(probability, abs=4.0 * math.sqrt(probability * (1.0 - probability) / 10_000))


def test_sight_decorrelates_over_distance() -> None:
    """A share exp(-d / D) of u is the same after a way d, in one step or in ten; the others are drawn anew, uniformly."""
    clients = [f"c{i}" for i in range(4000)]
    for steps in (1, 10):
        sight = LineOfSight(50.0, clients, ["s"], Streams(5))
        before = sight._uniform.copy()
        sight.move(np.zeros(len(clients)))
        assert (sight._uniform == before).all()
        for _ in range(steps):
            sight.move(np.full(len(clients), 50.0 / steps))
        assert (sight._uniform == before).mean() == pytest.approx(math.exp(-1.0), abs=0.03)
        assert sight._uniform.mean() == pytest.approx(0.5, abs=0.02)
        assert sight._uniform.var() == pytest.approx(1.0 / 12.0, rel=0.06)
        assert np.corrcoef(before[:, 0], sight._uniform[:, 0])[0, 1] == pytest.approx(math.exp(-1.0), abs=0.05)


def test_sight_belongs_to_the_pair() -> None:
    """Another client, or another station, changes nothing for those that are there, however all of them move."""
    many, few = [f"c{i}" for i in range(40)], ["c7", "c20"]
    one, other = LineOfSight(50.0, many, ["s", "t"], Streams(5)), LineOfSight(50.0, few, ["t"], Streams(5))
    for step in (30.0, 0.0, 80.0):
        one.move(np.full(40, step))
        other.move(np.full(2, step))
        assert other._uniform[:, 0].tolist() == one._uniform[[7, 20], 1].tolist()
    assert not np.isin(one._uniform[:, 0], one._uniform[:, 1]).any()
    assert LineOfSight(50.0, few, ["t"], Streams(6))._uniform.tolist() != other._uniform.tolist()


def test_shadowing_is_another_one_once_sight_has_changed() -> None:
    """And as wide as the new state has it; one whose state holds only widens and narrows."""
    clients = [f"c{i}" for i in range(4000)]
    shadow = Shadowing(ShadowSpread(np.full((4000, 1), 4.0), 37.0), clients, ["s"], Streams(5))
    before, wide = shadow.decibels.copy(), np.where(np.arange(4000)[:, None] < 2000, 8.0, 6.0)
    shadow.move(np.full(4000, 1e-6), ShadowSpread(wide, 37.0), np.arange(4000)[:, None] < 2000)
    changed, kept = shadow.decibels[:2000, 0], shadow.decibels[2000:, 0]
    assert changed.std() == pytest.approx(8.0, rel=0.05)
    assert abs(np.corrcoef(before[:2000, 0], changed)[0, 1]) < 0.06
    assert kept.tolist() == pytest.approx((1.5 * before[2000:, 0]).tolist(), abs=0.02)
    shadow.move(np.full(4000, 1e-6), ShadowSpread(wide, 37.0))
    assert shadow.decibels[2000:, 0].tolist() == pytest.approx(kept.tolist(), abs=0.02)


def cell(count: int, distance: float, seed: int = 0, **options: Any) -> ChannelState:
    """So many clients at one distance from one station."""
    names = [f"client{i}" for i in range(count)]
    nodes = [Node("cloud", "cloud"), Node("edge0", "edge"), *(Node(name, "client") for name in names)]
    links = [Link("edge0", "cloud", 1e9, 1e9), *(Link(name, "edge0", 1e6, 1e6) for name in names)]
    places = {name: {"at": (0.0, distance)} for name in names} | {"edge0": {"at": (0.0, 0.0)}}
    given = WirelessOptions.model_validate({"nodes": places, **options})
    streams = Streams(seed)
    return ChannelState(given, given.layout(Topology(tuple(nodes), tuple(links)), streams), streams)


@pytest.mark.parametrize(
    ("kind", "distance", "sight", "sigma"),
    [("umi", 60.0, True, 4.0), ("umi", 60.0, False, 7.82), ("uma", 60.0, True, 4.0), ("uma", 60.0, False, 6.0),
     ("inh", 9.0, True, 3.0), ("inh", 9.0, False, 8.03), ("rma", 1000.0, True, 4.0), ("rma", 3900.0, True, 6.0),
     ("rma", 1000.0, False, 8.0)],
)  # fmt: skip
def test_gains_are_the_loss_of_the_state_with_the_shadowing_of_the_state(
    kind: str, distance: float, sight: bool, sigma: float
) -> None:
    """Mean and spread of 2000 clients within four standard errors (6.4 % of the spread). A scenario that says otherwise has
    its own shadowing, or none."""
    path_loss = {"kind": kind, "los": "always" if sight else "never"}
    loss = float(ENVIRONMENTS[kind]().decibels(distance, sight))
    state = cell(2000, distance, path_loss=path_loss)
    assert (state.los == sight).all()
    found = -to_db(state.gains)
    assert found.mean() == pytest.approx(loss, abs=4.0 * sigma / math.sqrt(2000))
    assert found.std() == pytest.approx(sigma, rel=0.064)
    assert (-to_db(cell(20, distance, path_loss=path_loss, shadowing=0.0).gains)).tolist() == pytest.approx(
        np.full((20, 1), loss)
    )
    assert (-to_db(cell(2000, distance, path_loss=path_loss, shadowing=10.0).gains)).std() == pytest.approx(
        10.0, rel=0.04
    )


def test_a_cell_has_pairs_of_both_states() -> None:
    state = cell(2000, 60.0, path_loss="uma", shadowing=0.0)
    losses = UrbanMacro().decibels([60.0, 60.0], [True, False])
    assert state.los.mean() == pytest.approx(float(UrbanMacro().los_probability(60.0)), abs=0.045)
    assert (-to_db(state.gains)).tolist() == pytest.approx(np.where(state.los, *losses))


def moved(**options: Any) -> tuple[ChannelState, ChannelState, np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """1500 clients that go 37 m, from 100 m to 137 m of their station: the cell before and after, and how many dB each has
    beyond the loss of its distance and state."""
    ways = {f"client{i}": ((0.0, 0.0, 100.0), (1.0, 0.0, 137.0)) for i in range(1500)}
    given = {"area": (500.0, 500.0), "mobility": {"kind": "paths", "paths": ways}} | options
    one, other = cell(1500, 100.0, **given), cell(1500, 100.0, **given)
    other.move(1.0)
    loss = one.options.path_loss.decibels
    return one, other, *(-to_db(each.gains) - loss(d, each.los) for each, d in ((one, 100.0), (other, 137.0)))


def test_shadowing_decorrelates_over_the_standards_distance_or_ones_own() -> None:
    for options, kept in (({}, math.exp(-1.0)), ({"shadowing_distance": 74.0}, math.exp(-0.5))):
        _, _, before, after = moved(path_loss={"kind": "uma", "los": "always"}, **options)
        assert np.corrcoef(before[:, 0], after[:, 0])[0, 1] == pytest.approx(kept, abs=0.07)
        assert after.std() == pytest.approx(4.0, rel=0.07)
    _, _, before, after = moved(path_loss={"kind": "uma", "los": "always"}, shadowing=0.0)
    assert np.abs([before, after]).max() < 1e-9


def test_a_client_that_loses_sight_of_its_station_meets_another_shadow() -> None:
    one, other, before, after = moved(path_loss="uma", shadowing_distance=1e9)
    same = one.los == other.los
    assert 0.1 < same.mean() < 0.95
    assert after[same].tolist() == pytest.approx(before[same].tolist(), abs=0.02)
    assert abs(np.corrcoef(before[~same], after[~same])[0, 1]) < 0.2


@pytest.mark.parametrize("kind", ENVIRONMENTS)
def test_nothing_is_drawn_where_sight_is_stated(kind: str) -> None:
    for sight in ("always", "never"):
        model = ENVIRONMENTS[kind](los=sight)
        assert model.los_distance is None
        assert set(model.los_probability([1.0, 100.0, 1e4]).tolist()) == {float(sight == "always")}


@pytest.mark.parametrize("kind", ENVIRONMENTS)
def test_states_change_as_clients_move_and_only_then(kind: str) -> None:
    """Back where it was after a long way, a client has the loss of whatever state it is in, and a shadowing of its own."""
    ways = {f"client{i}": ((0.0, 0.0, 40.0), (10.0, 900.0, 40.0), (20.0, 0.0, 40.0)) for i in range(150)}
    state = cell(200, 40.0, path_loss=kind, area=(1000.0, 1000.0), mobility={"kind": "paths", "paths": ways})
    sights, gains = [state.los], [state.gains]
    for now in range(1, 21):
        state.move(float(now))
        sights.append(state.los)
        gains.append(state.gains)
    assert (np.diff([each[150:] for each in sights], axis=0) == 0).all()
    assert all((each[150:] == gains[0][150:]).all() for each in gains)
    assert (sights[-1][:150] != sights[0][:150]).any()
    assert (gains[-1][:150] != gains[0][:150]).all()
    assert sights[-1].mean() == pytest.approx(float(ENVIRONMENTS[kind]().los_probability(40.0)), abs=0.13)


def test_every_member_that_tells_states_apart_is_held_to_the_tables() -> None:
    assert {
        kind for kind, member in PathLoss.members.items() if issubclass(member, PathLoss) and member().los_distance
    } == set(ENVIRONMENTS)
