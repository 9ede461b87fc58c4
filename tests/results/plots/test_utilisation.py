"""The utilisation of devices and links over time adds up to the metrics, and every moment is where it belongs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import synthetic_run
from matplotlib.collections import QuadMesh

from elsa_sim.results import metrics, plots
from elsa_sim.results.event_table import Recorder
from elsa_sim.results.plots.utilisation import device_utilisation, link_utilisation, utilisation

TOPOLOGY: dict[str, Any] = {
    "nodes": [{"name": "a", "role": "client"}, {"name": "b", "role": "edge"}, {"name": "c", "role": "cloud"}],
    "links": [{"u": "a", "v": "b", "up_bps": 80.0, "down_bps": 160.0, "latency_s": 0.5},
              {"u": "b", "v": "c", "up_bps": 800.0, "down_bps": 800.0, "latency_s": 0.5}],
}  # fmt: skip


def events(*rows: tuple[str, float, float, str, dict[str, Any]]) -> pd.DataFrame:
    recorder = Recorder()
    for kind, start, end, node, more in rows:
        recorder.add(kind, start, end, node, **more)  # type: ignore[arg-type]
    return metrics.frame(recorder.close())


def test_the_means_are_those_of_the_metrics() -> None:
    run = synthetic_run.make(clients=5, rounds=2, straggler=3)
    edges = np.linspace(0.0, metrics.sim_time(run.events), 38)
    devices, links = (of(run.events, run.topology, edges) for of in (device_utilisation, link_utilisation))
    wanted = metrics.utilisation(run.events, run.topology)["utilisation"]
    np.testing.assert_allclose(devices.mean(axis=1).loc[wanted.index], wanted, atol=1e-12)
    load = metrics.link_load(run.events, run.topology).set_index(["u", "v"])["utilisation"]
    np.testing.assert_allclose(links.mean(axis=1).loc[load.index], load, rtol=1e-9, atol=1e-12)
    assert 0.9 < devices.to_numpy().max() <= 1.0 + 1e-12


def test_a_message_flows_after_its_latency_over_all_its_links() -> None:
    """100 bytes from 1 s to 6 s with 1 s of latency: 200 bit/s for 4 s."""
    table = events(("transfer", 1.0, 6.0, "a", {"peer": "c", "bytes": 100, "route": "a>b>c", "detail": "adapters"}))
    links = link_utilisation(table, TOPOLOGY, np.arange(0.0, 9.0))
    np.testing.assert_allclose(links.loc[("a", "b")], [0, 0, 2.5, 2.5, 2.5, 2.5, 0, 0])
    np.testing.assert_allclose(links.loc[("b", "c")], [0, 0, 0.25, 0.25, 0.25, 0.25, 0, 0])
    assert not links.loc[[("b", "a"), ("c", "b")]].to_numpy().any()


def test_a_message_that_takes_only_its_latency_counts_when_it_arrives() -> None:
    table = events(("transfer", 0.0, 0.5, "a", {"peer": "b", "bytes": 10, "route": "a>b"}), ("compute", 0, 4, "b", {}))
    links = link_utilisation(table, TOPOLOGY, np.arange(0.0, 5.0))
    np.testing.assert_allclose(links.loc[("a", "b")], [1.0, 0, 0, 0], atol=1e-6)


def test_work_that_overlaps_counts_once_and_work_that_did_not_end_does_not() -> None:
    table = events(("compute", 0.0, 3.0, "b", {}), ("compute", 1.0, 2.0, "b", {}), ("aggregation", 2.5, 3.5, "b", {}),
                   ("compute", 3.5, 8.0, "b", {"status": "in_flight"}))  # fmt: skip
    found = device_utilisation(table, TOPOLOGY, np.arange(0.0, 9.0))
    np.testing.assert_allclose(found.loc["b"], [1, 1, 1, 0.5, 0, 0, 0, 0])
    assert not found.loc[["a", "c"]].to_numpy().any()


def test_what_is_drawn() -> None:
    run = synthetic_run.make(clients=30, edges=3, rounds=1, steps=1)
    ax = utilisation(run, most=8)
    shown = [text.get_text() for text in ax.texts]
    assert "Devices, computing (the 8 busiest of 33)" in shown
    assert "Links towards the cloud (the 8 busiest of 33)" in shown
    assert "Links across" not in shown
    labels = [text.get_text() for text in ax.get_yticklabels()]
    assert len(labels) == 24
    assert {"edge0", "edge1", "edge2", "client5"} <= set(labels[:8])
    assert all(label.split(" → ")[1].startswith(("edge", "cloud")) for label in labels[8:16])
    devices = next(c for c in ax.collections if isinstance(c, QuadMesh))
    edges = np.linspace(0.0, metrics.sim_time(run.events), 241)
    wanted = device_utilisation(run.events, run.topology, edges).loc[labels[:8]]
    np.testing.assert_allclose(np.asarray(devices.get_array()).reshape(8, -1), 100.0 * wanted)
    means = [text for text in shown if text.endswith("%")]
    assert means[0] == f"{wanted.loc[labels[0]].mean():.0%}"


@pytest.mark.parametrize("kind", ["timing", "empty"])
def test_it_needs_something_that_was_sent(kind: str) -> None:
    run = synthetic_run.make(rounds=1)
    assert plots.figures()["utilisation"].model_validate({}).applies([run])
    table = events(("compute", 0.0, 3.0, "b", {})) if kind == "timing" else events()
    empty = metrics.Results(table, metrics.rounds_table(table, TOPOLOGY), {}, TOPOLOGY)
    assert not plots.figures()["utilisation"].model_validate({}).applies([empty])


def test_links_across_are_those_whose_ends_are_as_far_from_the_cloud() -> None:
    more = {"nodes": [*TOPOLOGY["nodes"], {"name": "d", "role": "edge"}],
            "links": [*TOPOLOGY["links"], {"u": "d", "v": "c", "up_bps": 80.0, "down_bps": 80.0},
                      {"u": "b", "v": "d", "up_bps": 80.0, "down_bps": 80.0}]}  # fmt: skip
    table = events(("transfer", 0.0, 4.0, "b", {"peer": "d", "bytes": 10, "route": "b>d"}),
                   ("transfer", 0.0, 4.0, "d", {"peer": "c", "bytes": 10, "route": "d>c"}))  # fmt: skip
    ax = utilisation(metrics.Results(table, metrics.rounds_table(table, more), {}, more))
    assert [text.get_text() for text in ax.texts if "Links" in text.get_text()] == [
        "Links towards the cloud",
        "Links across",
    ]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["d → c", "b → d"]
