"""How clients move: the laws of every mobility, and those of random waypoint."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from pydantic import ValidationError

from elsa_sim.wireless import Mobility, Paths, RandomWaypoint, Static

AREA = (300.0, 100.0)
OPTIONS = {"paths": {"paths": {"c": ((0.0, 0.0, 0.0), (10.0, 100.0, 0.0), (20.0, 100.0, 50.0))}}}


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("kind", sorted(Mobility.members))
def test_every_mobility_is_seeded_and_stays_in_the_area(kind: str) -> None:
    """The law of the family: a function of time, its stream and its begin; however often it is asked."""
    mobility = Mobility.members[kind](**OPTIONS.get(kind, {}))
    assert isinstance(mobility, Mobility)
    often, seldom = (mobility.start("c", rng(), (7.0, 8.0), AREA) for _ in range(2))
    dense = [often(t / 4.0) for t in range(4000)]
    assert [seldom(float(t)) for t in range(0, 1000, 50)] == dense[::200]
    xs, ys = np.array(dense).T
    assert xs.min() >= -1e-9
    assert xs.max() <= AREA[0] + 1e-9
    assert ys.min() >= -1e-9
    assert ys.max() <= AREA[1] + 1e-9
    assert (len(set(dense)) > 1) == mobility.moves


def test_waypoint_moves_at_its_speed() -> None:
    """Between 2 and 3 m/s wherever it goes straight; across a waypoint, no faster than 3."""
    at = RandomWaypoint(speed=(2.0, 3.0)).start("c", rng(), (0.0, 0.0), AREA)
    points = [at(0.1 * i) for i in range(20_000)]
    speeds = np.array([math.dist(a, b) / 0.1 for a, b in itertools.pairwise(points)])
    assert speeds.max() <= 3.0 + 1e-6
    assert np.quantile(speeds, 0.02) >= 2.0 - 1e-6
    assert np.std(speeds) > 0.2


def test_waypoint_pauses() -> None:
    """At 10 m/s in a small area with pauses of 60 s it rests most of the time, and begins with a leg."""
    at = RandomWaypoint(speed=(10.0, 10.0), pause=60.0).start("c", rng(1), (0.0, 0.0), (100.0, 100.0))
    points = [at(0.5 * i) for i in range(20_000)]
    still = np.mean([a == b for a, b in itertools.pairwise(points)])
    assert 0.85 < still < 0.97
    assert points[1] != points[0]
    rests = np.diff(np.flatnonzero([a != b for a, b in itertools.pairwise(points)]))
    assert set(rests[rests > 5]) <= {119, 120, 121}


def test_waypoint_covers_the_area() -> None:
    """The stationary density is highest in the middle, but no quarter is left out."""
    at = RandomWaypoint(speed=(5.0, 5.0)).start("c", rng(2), (0.0, 0.0), (100.0, 100.0))
    x, y = np.array([at(float(t)) for t in range(20_000)]).T
    for quarter in (x < 50) & (y < 50), (x < 50) & (y > 50), (x > 50) & (y < 50), (x > 50) & (y > 50):
        assert 0.2 < quarter.mean() < 0.3
    assert ((abs(x - 50) < 25) & (abs(y - 50) < 25)).mean() > 0.35


def test_paths() -> None:
    paths = Paths.model_validate(OPTIONS["paths"])
    at = paths.start("c", rng(), (9.0, 9.0), AREA)
    assert [at(t) for t in (0.0, 5.0, 10.0, 16.0, 99.0)] == [
        (0.0, 0.0),
        (50.0, 0.0),
        (100.0, 0.0),
        pytest.approx((100.0, 30.0)),
        (100.0, 50.0),
    ]
    assert paths.start("other", rng(), (9.0, 9.0), AREA)(50.0) == (9.0, 9.0)
    assert [f.path for f in paths.faults(["d"])] == ["paths.c"]
    assert not Static.moves


def test_bad_options() -> None:
    with pytest.raises(ValidationError, match="lowest speed comes first"):
        RandomWaypoint(speed=(3.0, 2.0))
    with pytest.raises(ValidationError, match="greater than 0"):
        RandomWaypoint(speed=(0.0, 2.0))
    with pytest.raises(ValidationError, match="times of the path of 'c' must increase"):
        Paths(paths={"c": ((1.0, 0.0, 0.0), (1.0, 1.0, 0.0))})
    with pytest.raises(ValidationError, match="no points"):
        Paths(paths={"c": ()})
