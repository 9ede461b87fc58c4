"""Step patterns: the parts that they make of a model, who holds them, and what they refuse."""

from __future__ import annotations

import pytest

from elsa_sim.learning.backbone.options import Part, three_parts, two_parts, whole
from elsa_sim.learning.splits.pattern import (
    AT_CLOUD,
    WHOLE,
    Crossing,
    PartRole,
    StepPattern,
    head_at,
    local_loss,
    spoken,
    u_shaped,
)

UP = Crossing("activation", up=True)


def test_the_parts_of_each_pattern() -> None:
    assert WHOLE.divide(6, 0, 0) == AT_CLOUD.divide(6, 0, 0) == (whole(6),)
    assert u_shaped("edge").divide(6, 2, 1) == three_parts(6, 2, 1)
    assert head_at("cloud").divide(6, 2, 0) == two_parts(6, 2)
    auxiliary = Part("auxiliary", 2, 2, last=True)
    first, rest = two_parts(6, 2)
    assert local_loss("edge").divide(6, 2, 0) == (first, auxiliary, rest)


def test_who_holds_what() -> None:
    pattern = local_loss("edge")
    first, auxiliary, rest = parts = pattern.divide(6, 2, 0)
    assert pattern.held(parts, "client") == (first, auxiliary)
    assert pattern.held(parts, "server") == (rest,)
    assert pattern.path(parts) == (first, rest)
    assert spoken((first, auxiliary)) == "Part 1 and an auxiliary head"
    assert (AT_CLOUD.trained_at("client"), WHOLE.trained_at("client")) == (False, True)


@pytest.mark.parametrize(
    ("pattern", "client", "server", "ups", "downs"),
    [
        (u_shaped("edge"), 3, 2, 2, 2),  # forward, learn, backward; forward, backward
        (head_at("cloud"), 2, 1, 1, 1),
        (local_loss("cloud"), 3, 1, 1, 0),  # forward, the auxiliary head, backward
        (WHOLE, 1, 0, 0, 0),
        (AT_CLOUD, 0, 1, 0, 0),
    ],
)
def test_pieces_and_crossings(pattern: StepPattern, client: int, server: int, ups: int, downs: int) -> None:
    assert (pattern.pieces("client"), pattern.pieces("server")) == (client, server)
    assert (len(pattern.crossed(up=True)), len(pattern.crossed(up=False))) == (ups, downs)
    assert len(pattern.crossings) == ups + downs


def test_states_cross_on_their_way_to_the_head() -> None:
    assert [(c.kind, c.up) for c in u_shaped("edge").forward] == [("activation", True), ("activation", False)]
    assert [(c.kind, c.up) for c in local_loss("edge").forward] == [("activation", True)]
    assert WHOLE.forward == ()


def test_what_a_pattern_is() -> None:
    u, served = u_shaped("edge"), head_at("cloud", shared=True, joint=True)
    assert (u.tail, u.head, u.shared, u.joint, u.exact) == (True, "client", False, False, True)
    assert (served.tail, served.head, served.shared, served.joint) == (False, "server", True, True)
    assert not local_loss("edge").exact
    assert (WHOLE.split, WHOLE.tail, AT_CLOUD.split) == (False, False, False)


@pytest.mark.parametrize(
    ("parts", "crossings", "server"),
    [
        ((PartRole("server"), PartRole("client")), (UP,), "edge"),  # raw text would go up
        ((PartRole("client", auxiliary=True), PartRole("server")), (UP,), "edge"),
        ((PartRole("client"), PartRole("server")), (UP,), None),
        ((PartRole("client"),), (), "cloud"),
        ((PartRole("client"),), (UP,), None),
    ],
)
def test_what_is_no_pattern(parts: tuple[PartRole, ...], crossings: tuple[Crossing, ...], server: str | None) -> None:
    with pytest.raises(ValueError, match="a step has"):
        StepPattern(parts, crossings, server)  # type: ignore[arg-type]


@pytest.mark.parametrize(("p", "q"), [(6, 0), (5, 1), (-1, 1), (3, 3)])
def test_a_layer_is_left_for_the_server(p: int, q: int) -> None:
    with pytest.raises(ValueError, match=r"cannot cut|no Part 3"):
        u_shaped("edge").divide(6, p, q)
    with pytest.raises(ValueError, match=r"cannot cut|no Part 3"):
        head_at("edge").divide(6, 6 if q == 0 else p, q)
