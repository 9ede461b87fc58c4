"""Figures show what the metrics say, stand alone (no pyplot, no display) and are readable."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import synthetic_run
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure

from elsa_sim.base.errors import InputError
from elsa_sim.results import metrics as R
from elsa_sim.results import plots
from elsa_sim.results.event_table import Recorder
from elsa_sim.results.plots.style import amount, run_labels, scaled
from elsa_sim.results.plots.timeline import colours, first_round
from elsa_sim.results.plots.topology_map import positions


@cache
def run(**options: Any) -> R.Results:
    return synthetic_run.make(rounds=3, **options)


def others() -> list[R.Results]:
    return [run(), run(protocol="splitfed_v1", scale=0.3), run(protocol="fedavg", seed=2)]


def overlaps(ax: Axes) -> list[tuple[str, str]]:
    """Pairs of texts whose boxes overlap when drawn."""
    assert isinstance(ax.figure, Figure)
    canvas = FigureCanvasAgg(ax.figure)
    canvas.draw()
    legend = ax.get_legend()
    texts = [*ax.texts, ax.title, ax._left_title, *(legend.get_texts() if legend else [])]  # type: ignore[attr-defined]
    if ax.axison:
        texts += [*ax.get_xticklabels(), *ax.get_yticklabels(), ax.xaxis.label, ax.yaxis.label]
    shown = [text for text in texts if text.get_text() and text.get_visible()]
    boxes = [(text.get_text(), text.get_window_extent(canvas.get_renderer())) for text in shown]
    pairs = itertools.combinations(boxes, 2)
    return [(a, b) for (a, p), (b, q) in pairs if p.padded(-1.0).overlaps(q.padded(-1.0))]


def test_accuracy_curves_are_the_metrics() -> None:
    runs = others()
    time_ax, bytes_ax = plots.accuracy_over_time(runs), plots.accuracy_over_bytes(runs)
    assert (time_ax.get_xlabel(), bytes_ax.get_xlabel()) == ("Simulated time (s)", "Data sent (MB)")
    assert time_ax.get_ylabel() == "Test accuracy"
    for one, line, other in zip(runs, time_ax.lines, bytes_ax.lines, strict=True):
        curve = R.accuracy_curve(one.events)
        np.testing.assert_array_equal(line.get_xdata(), one.rounds["sim_time_s"])
        np.testing.assert_array_equal(line.get_ydata(), one.rounds["accuracy"])
        np.testing.assert_allclose(np.asarray(other.get_xdata(), float) * 1e6, curve["bytes"])
        np.testing.assert_array_equal(other.get_ydata(), curve["accuracy"])
    legend = time_ax.get_legend()
    assert legend is not None
    assert [t.get_text() for t in legend.get_texts()] == ["elsa", "splitfed_v1", "fedavg"]


def test_target_is_marked_at_the_time_to_target() -> None:
    ax = plots.accuracy_over_time(run(), target=0.5)
    _, level, reached = ax.lines
    assert set(np.asarray(level.get_ydata())) == {0.5}
    assert set(np.asarray(reached.get_xdata())) == {R.time_to_target(run().events, 0.5)}
    assert len(plots.accuracy_over_time(run(), target=0.99).lines) == 2


def test_perplexity_where_there_is_no_accuracy() -> None:
    recorder = Recorder()
    for i in range(3):
        recorder.add("evaluation", i, i, "cloud", round=i, metrics={"loss": 3.0 - i, "perplexity": 20.0 - i})
    events = R.frame(recorder.close())
    topology = synthetic_run.topology(1, 1)
    ax = plots.accuracy_over_time(R.Results(events, R.rounds_table(events, topology), {}, topology))
    assert ax.get_ylabel() == "Test perplexity"
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), [20.0, 19.0, 18.0])


def test_accuracy_over_rounds_is_what_was_measured_after_each() -> None:
    runs = others()
    ax = plots.accuracy_over_rounds(runs)
    assert ax.get_xlabel() == "Rounds"
    for one, line in zip(runs, ax.lines, strict=True):
        np.testing.assert_array_equal(line.get_xdata(), one.rounds["round"])
        np.testing.assert_array_equal(line.get_ydata(), one.rounds["accuracy"])


def test_bytes_by_kind_stacks_the_directions() -> None:
    ways = R.bytes_by_direction(run().events, run().topology)
    ax = plots.bytes_by_kind(run())
    kinds = [t.get_text() for t in ax.get_yticklabels()]
    assert sorted(kinds) == sorted(ways.index)
    for container, column in zip(ax.containers, ("uplink", "downlink"), strict=True):
        np.testing.assert_allclose([bar.get_width() * 1e6 for bar in container], ways.loc[kinds, column])  # type: ignore[attr-defined]


@pytest.mark.parametrize("what", ["bytes", "energy"])
def test_bars_compared_are_the_metrics(what: str) -> None:
    runs = others()
    ax = plots.bytes_by_kind(runs) if what == "bytes" else plots.energy_by_role(runs)
    unit = ax.get_xlabel().rpartition("(")[2][:-1]
    factor = {"MB": 1e6, "J": 1.0, "kJ": 1e3}[unit]
    for one, container in zip(runs, ax.containers, strict=True):
        total = one.summary["bytes"]["total"] if what == "bytes" else one.summary["energy_j"]["marginal"]
        assert sum(bar.get_width() for bar in container) * factor == pytest.approx(total)  # type: ignore[attr-defined]


def test_bytes_by_link_is_oriented_towards_the_cloud() -> None:
    ax = plots.bytes_by_link(run())
    load = {(u, v): n for u, v, n in R.bytes_by_link(run().events).itertuples(index=False)}
    names = [t.get_text().split(" – ") for t in ax.get_yticklabels()]
    assert len(names) == 10
    up, down = ([bar.get_width() * 1e6 for bar in c] for c in ax.containers)  # type: ignore[attr-defined]
    np.testing.assert_allclose(up, [load[low, high] for low, high in names])
    np.testing.assert_allclose(down, [load[high, low] for low, high in names])
    assert ["edge0", "cloud"] in names
    few = plots.bytes_by_link(run(), most=3)
    assert len(few.get_yticklabels()) == 3
    assert few.get_title(loc="left") == "3 heaviest of 10 links"


def test_energy_by_node_adds_up() -> None:
    ax = plots.energy_by_node(run())
    energy = R.energy_by_node(run().events, run().topology)
    drawn = sum(bar.get_width() for c in ax.containers for bar in c)  # type: ignore[attr-defined]
    assert drawn == pytest.approx((energy["compute"] + energy["radio"]).sum())
    assert [t.get_text() for t in ax.get_yticklabels()][:3] == ["cloud", "edge0", "edge1"]


def area(ax: Axes, label: str) -> float:
    (bars,) = [c for c in ax.collections if isinstance(c, PolyCollection) and c.get_label() == label]
    return sum(float(np.ptp(path.vertices[:, 0])) for path in bars.get_paths())  # type: ignore[index, call-overload]


def test_timeline_draws_the_first_round() -> None:
    ax, events = plots.timeline(run()), run().events
    number, start, stop = first_round(events)
    assert number == 1
    assert ax.get_xlim() == (start, stop)
    first = events[(events["round"] == 1) & events["kind"].isin(["compute", "transfer"])]
    for label, rows in first.groupby("detail", observed=True):
        assert area(ax, str(label)) == pytest.approx(float((rows["t_end_s"] - rows["t_start_s"]).sum()))
    assert ax.get_title(loc="left").startswith("Round 1: 0 s to ")


def test_timeline_shows_codecs_by_what_they_do() -> None:
    recorder = Recorder()
    for i, label in enumerate(("activation.encode", "gradient.encode", "gradient.decode", "part1.forward")):
        recorder.add("compute", i, i + 1.0, "client0", round=1, detail=label)
    ax = plots.timeline(replace(run(), events=R.frame(recorder.close())))
    legend = ax.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()[:3]] == ["part1.forward", "decode", "encode"]
    assert (area(ax, "encode"), area(ax, "decode")) == (2.0, 1.0)


def test_timeline_clips_to_its_window() -> None:
    ax = plots.timeline(run(), window=(0.5, 1.0))
    rows = run().events[run().events["detail"] == "part1.forward"]
    inside = (rows["t_end_s"].clip(0.5, 1.0) - rows["t_start_s"].clip(0.5, 1.0)).sum()
    assert area(ax, "part1.forward") == pytest.approx(float(inside))
    assert ax.get_xlim() == (0.5, 1.0)


def bold(ax: Axes) -> list[str]:
    return [t.get_text() for t in ax.get_yticklabels() if t.get_fontweight() == "bold"]


def test_timeline_points_at_the_straggler_and_only_at_it() -> None:
    assert bold(plots.timeline(run())) == ["client5"]
    assert bold(plots.timeline(run(straggler=None))) == []


def test_timeline_of_many_nodes_keeps_servers_and_extremes() -> None:
    big = run(clients=50, edges=5, steps=1, straggler=17)
    ax = plots.timeline(big, most=20)
    names = [t.get_text() for t in ax.get_yticklabels()]
    assert names[:6] == ["cloud", "edge0", "edge1", "edge2", "edge3", "edge4"]
    assert "client17" in names
    assert len(names) == 20
    assert "20 of 56 nodes" in ax.get_title(loc="left")
    assert len(plots.timeline(big).get_yticklabels()) == 56


def test_colours_do_not_depend_on_what_else_is_drawn() -> None:
    few, many = colours(["part1.forward"], "compute"), colours(["part1.forward", "part2.backward"], "compute")
    assert few["part1.forward"] == many["part1.forward"] != many["part2.backward"]
    assert len(set(colours(["activation", "gradient", "adapters", "labels"], "transfer").values())) == 4
    many = colours([f"work{i}" for i in range(30)], "compute")
    assert all(f"work{i}" in many for i in range(30))


def test_topology_map_widths_and_colours_follow_the_load() -> None:
    ax = plots.topology_map(run())
    (lines,) = [c for c in ax.collections if isinstance(c, LineCollection)]
    load = R.link_load(run().events, run().topology)
    use = [max(load["utilisation"][2 * i : 2 * i + 2]) * 100 for i in range(10)]
    np.testing.assert_allclose(np.asarray(lines.get_array()), use)
    both = [sum(load["bytes"][2 * i : 2 * i + 2]) for i in range(10)]
    widths = np.asarray(lines.get_linewidths())
    assert np.argsort(widths, kind="stable").tolist() == np.argsort(both, kind="stable").tolist()


def test_layout() -> None:
    place, unit = positions(synthetic_run.topology(50, 5))
    assert unit is None
    assert len(set(place.values())) == 56
    assert {y for name, (_, y) in place.items() if name.startswith("client")} == {0.0}
    assert place["cloud"][1] > place["edge0"][1] > 0.0
    mine = [place[f"client{i}"][0] for i in range(0, 50, 5)]
    assert place["edge0"][0] == pytest.approx(np.mean(mine))
    known = synthetic_run.topology(2, 1)
    for i, node in enumerate(known["nodes"]):
        node.update(x=float(i), y=2.0)
    assert positions(known) == ({n["name"]: (float(i), 2.0) for i, n in enumerate(known["nodes"])}, ("m", "m"))
    for node in known["nodes"]:
        del node["x"]
        node.update(lat=1.0, lon=2.0)
    assert positions(known)[0]["cloud"] == (2.0, 1.0)
    known["nodes"].append({"name": "alone", "role": "router"})
    known["links"].append({"u": "alone", "v": "cloud", "up_bps": 1.0, "down_bps": 1.0})
    place, unit = positions(known)
    assert unit == ("", "")
    assert len(set(place.values())) == 5
    x, y = zip(*place.values(), strict=True)
    assert np.ptp(x) >= np.ptp(y)


@pytest.mark.parametrize("name", ["accuracy_over_time", "bytes_by_kind", "bytes_by_link", "energy_by_node", "timeline",
                                  "topology_map", "utilisation"])  # fmt: skip
@pytest.mark.parametrize("clients", [8, 50])
def test_no_text_covers_another(name: str, clients: int) -> None:
    one = run(clients=clients, edges=2 if clients == 8 else 5, steps=1)
    assert overlaps(plots.draw(name, one)) == []


def test_the_check_for_overlaps_finds_them() -> None:
    ax = plots.bytes_by_kind(run())
    ax.text(0.5, 0.5, "one text", transform=ax.transAxes)
    ax.text(0.5, 0.5, "another", transform=ax.transAxes)
    assert ("one text", "another") in overlaps(ax)


def test_given_axes_are_used_and_settings_left_alone() -> None:
    before = dict(mpl.rcParams)
    ax = Figure().add_subplot()
    for draw in (plots.accuracy_over_time, plots.bytes_by_kind, plots.timeline, plots.energy_by_role):
        assert draw(run(), ax=ax) is ax
    assert dict(mpl.rcParams) == before


def attacked(name: str, accuracy: float, of_clean: float, scale: float) -> R.Results:
    """A run with a privacy table of its own chain and of none."""
    attacks = {"nearest_mean": [0.9, 0.2], "complement": [0.8, 0.3], "discriminant": [0.95, 0.4],
               "procrustes": [0.95, 0.9 * of_clean], "inversion": [0.5, 0.1]}  # fmt: skip
    table = pd.DataFrame({"chain": ["none", "own"], "attacker": ["edge", "edge"], "codecs": ["none", f"ssop + {name}"], **attacks,
                          "bytes_per_token": [1536.0, 98.0], "recovered": [0.95, 0.95 * of_clean],
                          "of_clean": [1.0, of_clean]})  # fmt: skip
    one = run(scale=scale)
    return replace(one, name=name, summary={**one.summary, "accuracy": accuracy}, privacy=table)


def test_the_privacy_trade_off_is_the_metrics() -> None:
    runs = [attacked("a", 0.9, 1.0, 1.0), attacked("b", 0.8, 0.4, 0.1), run()]
    ax = plots.privacy_trade_off(runs)
    points = [
        (float(np.asarray(c.get_offsets())[0, 0]), float(np.asarray(c.get_offsets())[0, 1])) for c in ax.collections
    ]
    sent = [sum(R.bytes_by_kind(one.events).get(kind, 0) for kind in ("activation", "gradient")) for one in runs[:2]]
    assert [x / points[0][0] for x, _ in points] == pytest.approx([size / sent[0] for size in sent])
    assert [y for _, y in points] == [0.9, 0.8]
    assert [text.get_text() for text in ax.texts] == ["100 %", "40 %"]
    assert overlaps(ax) == []
    with pytest.raises(InputError, match="nothing to draw"):
        plots.privacy_trade_off([run()])


def test_every_attack_on_every_chain_is_drawn() -> None:
    ax = plots.tokens_recovered(attacked("a", 0.9, 0.5, 1.0))
    legend = ax.get_legend()
    assert legend is not None
    assert len(legend.get_texts()) == 5
    first = np.asarray(ax.collections[1].get_offsets())
    np.testing.assert_allclose(first[:, 0], [90.0, 20.0])
    assert overlaps(ax) == []
    with pytest.raises(InputError, match="no privacy section"):
        plots.tokens_recovered(run())


def test_attacks_of_plugins_are_drawn_and_those_that_were_not_made_are_not() -> None:
    one = attacked("a", 0.9, 0.5, 1.0)
    assert one.privacy is not None
    more = one.privacy.drop(columns=["inversion", "complement"]).assign(most_frequent=[0.1, 0.1], rouge_l=[0.5, 0.5])
    legend = plots.tokens_recovered(replace(one, privacy=more)).get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["nearest class mean", "linear discriminant",
        "Procrustes, then discriminant", "most frequent"]  # fmt: skip


@pytest.mark.parametrize("draw", [plots.privacy_trade_off, lambda runs: plots.tokens_recovered(runs[1])])
def test_long_chains_leave_the_axes_their_place(draw: Callable[[list[R.Results]], Axes]) -> None:
    long = attacked(
        "subspace(rank=32, basis=semantic, cut=first, gain=True) + subspace(cut=second) + int8", 0.8, 0.4, 0.1
    )
    ax = draw([attacked("a", 0.9, 1.0, 1.0), long])
    assert overlaps(ax) == []
    assert ax.get_position().width > 0.5
    assert ax.get_position().height > 0.5


def test_figures_of_privacy_are_saved_where_there_is_one(tmp_path: Path) -> None:
    one, two = attacked("a", 0.9, 1.0, 1.0), attacked("b", 0.8, 0.4, 0.1)
    assert "tokens_recovered" in {p.stem for p in plots.save_figures([one], tmp_path, formats=["png"])}
    assert "privacy_trade_off" in {p.stem for p in plots.save_figures([one, two], tmp_path, formats=["png"])}


def test_save_figures(tmp_path: Path) -> None:
    one = plots.save_figures([run()], tmp_path / "one")
    assert {p.stem for p in one} == {"accuracy_over_time", "accuracy_over_bytes", "timeline", "bytes_by_kind",
                                     "bytes_by_link", "topology_map", "energy_by_node", "utilisation"}  # fmt: skip
    assert {p.suffix for p in one} == {".png", ".pdf"}
    assert all(p.read_bytes()[:4] == (b"%PDF" if p.suffix == ".pdf" else b"\x89PNG") for p in one)
    again = plots.save_figures([run()], tmp_path / "again")
    assert [p.read_bytes() for p in one] == [p.read_bytes() for p in again]
    several = plots.save_figures(others(), tmp_path / "several", formats=["png"])
    assert [p.name for p in several] == ["accuracy_over_bytes.png", "accuracy_over_rounds.png",
                                         "accuracy_over_time.png", "bytes_by_kind.png", "energy_by_role.png"]  # fmt: skip


def test_what_there_is_no_data_for_is_left_out(tmp_path: Path) -> None:
    topology = synthetic_run.topology(2, 1)
    events = R.frame(Recorder().close())
    empty = R.Results(events, R.rounds_table(events, topology), {}, topology)
    assert [p.name for p in plots.save_figures([empty], tmp_path, formats=["png"])] == ["topology_map.png"]
    for draw in (plots.accuracy_over_time, plots.timeline):
        with pytest.raises(InputError, match="nothing to draw"):
            draw(empty)


def test_labels_tell_runs_apart() -> None:
    a = replace(run(), name="a")
    assert run_labels([a, replace(a, name="b", summary={"protocol": "fedavg"})]) == ["elsa", "fedavg"]
    assert run_labels([a, replace(a, name="b")]) == ["a", "b"]
    reseeded = replace(a, summary={"protocol": "elsa", "seed": 1})
    assert run_labels([a, reseeded]) == ["a, elsa, seed 0", "a, elsa, seed 1"]
    assert run_labels([a, a]) == ["a (1)", "a (2)"]


def test_units() -> None:
    assert scaled(2_500_000, "B") == (1e6, "MB")
    assert scaled(999, "J") == (1.0, "J")
    assert [amount(v) for v in (0, 0.5, 2.4, 26, 1234.5)] == ["0", "0.5", "2.40", "26.0", "1,234"]


def test_no_pyplot_and_no_tensor_library() -> None:
    code = "import sys, elsa_sim.results.plots, elsa_sim.results.perfetto; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = set(found.stdout.split())
    assert "matplotlib.figure" in modules
    assert not modules & {"matplotlib.pyplot", "torch", "simpy"}
