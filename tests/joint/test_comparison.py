"""The table of the optimiser and its baselines over a resource."""

from __future__ import annotations

import numpy as np
import pytest
from instances import problem

from elsa_sim.base.streams import Streams
from elsa_sim.joint import BASELINES, PARTS, delay, optimise
from elsa_sim.joint.comparison import compare, mean_delays


def test_a_row_for_each_system_value_and_draw() -> None:
    problems, told = {"wide": problem(0), "narrow": problem(1)}, []
    table = compare(problems, Streams(3), draws=2, watch=told.append)
    assert told == ["wide", "narrow"]
    sizes = table.groupby(["value", "system"]).size()
    assert set(sizes.index.get_level_values("system")) == {"optimised", *BASELINES}
    assert all(count == (2 if "random" in system else 1) for (_, system), count in sizes.items())
    best = table[table["system"] == "optimised"].set_index("value")
    for value, given in problems.items():
        found = optimise(given)
        assert best.loc[value, ["cut", "rank"]].tolist() == list(found.decision.pair)
        assert best.loc[value, "total_s"] == delay(given, found.decision).total_s
    np.testing.assert_allclose(table[list(PARTS)].sum(axis=1), table["round_s"])
    np.testing.assert_allclose(table["rounds"] * table["round_s"], table["total_s"])
    again = compare(problems, Streams(3), draws=2)
    assert again.drop(columns="host_s").equals(table.drop(columns="host_s"))
    assert not compare(problems, Streams(4), draws=2)["total_s"].equals(table["total_s"])


def test_means_are_over_the_draws_in_the_order_of_the_table() -> None:
    table = compare({2.0: problem(0), 1.0: problem(1)}, Streams(3), draws=3)
    means = mean_delays(table)
    assert means.index.tolist() == [2.0, 1.0]
    assert means.columns.tolist() == ["optimised", *BASELINES]
    drawn = table[(table["value"] == 1.0) & (table["system"] == "random cut")]["total_s"]
    assert len(set(drawn)) > 1
    assert means.loc[1.0, "random cut"] == pytest.approx(drawn.mean())
