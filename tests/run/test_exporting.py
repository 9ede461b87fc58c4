"""Runs as scenes for other simulators."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from small_runs import played

from elsa_sim.base.errors import InputError
from elsa_sim.network.export import Scene
from elsa_sim.results.event_table import TABLE
from elsa_sim.run.exporting import scene_of
from elsa_sim.transports import Fluid, Tcp


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A timing-only run of the small scenario; its topology has a half-duplex link with jitter."""
    place = tmp_path_factory.mktemp("run") / "run"
    played(
        "execution.mode=timing",
        "topology.access={up: 10 Mbit/s, latency: 10 ms}",
        "topology.overrides={client0: {jitter: 1 ms, duplex: half, loss: 0.01}}",
        folder=place,
    )
    return place


def changed(folder: Path, into: Path, file: str, change: Any) -> Path:
    """A copy of a run directory with one file as ``change`` makes it of the old one."""
    into.mkdir()
    for path in folder.iterdir():
        if path.is_file():
            (into / path.name).write_bytes(path.read_bytes())
    reader, writer = (json.loads, json.dumps) if file.endswith(".json") else (yaml.safe_load, yaml.safe_dump)
    found = reader((into / file).read_text(encoding="utf-8"))
    change(found)
    (into / file).write_text(writer(found), encoding="utf-8")
    return into


def places(scene: Scene) -> list[str]:
    return [fault.path for fault in scene.beyond]


def test_every_transfer_is_a_message(folder: Path) -> None:
    scene, events = scene_of(folder), pd.read_parquet(folder / TABLE)
    transfers = events[events["kind"] == "transfer"]
    assert len(scene.messages) == len(transfers) > 10
    for message, (row, event) in zip(scene.messages, transfers.iterrows(), strict=True):
        assert message.id == str(row)
        assert (message.route[0], message.route[-1]) == (event["node"], event["peer"])
        assert (">".join(message.route), message.nbytes, message.start_s) == (
            event["route"],
            event["bytes"],
            event["t_start_s"],
        )
    assert (scene.transport, scene.max_min, scene.beyond) == (Tcp(), True, ())


def test_links_are_those_of_the_run(folder: Path) -> None:
    links = {(link.u, link.v): link for link in scene_of(folder).topology.links}
    one, other = links["client0", "edge0"], links["client1", "edge1"]
    assert (one.duplex, one.jitter, one.loss) == ("half", 0.001, 0.01)
    assert (other.up, other.down, other.latency) == (10e6, 10e6, 0.01)
    assert (other.duplex, other.jitter, other.loss, other.cell) == ("full", 0.0, 0.0, None)


def test_another_transport_frames_anew(folder: Path) -> None:
    own, other = scene_of(folder), scene_of(folder, {"kind": "fluid", "framing": 100.0, "segment": 500.0})
    assert other.transport == Fluid(framing=100.0, segment=500.0)
    for one, two in zip(own.messages, other.messages, strict=True):
        assert other.payload(two) == own.payload(one)
        assert two.nbytes > one.nbytes
    with pytest.raises(InputError, match="transport"):
        scene_of(folder, "pigeons")


def test_what_a_run_has_beyond_topology_and_messages(folder: Path, tmp_path: Path) -> None:
    assert places(scene_of(changed(folder, tmp_path / "air", "scenario.yaml", lambda s: s.update(wireless={})))) == [
        "wireless"
    ]
    outage = {"outages": [{"node": "client0", "start": 1.0, "duration": 2.0}], "model": "proportional"}
    scene = scene_of(changed(folder, tmp_path / "out", "scenario.yaml", lambda s: s.update(network=outage)))
    assert (places(scene), scene.max_min) == (["network.outages"], False)
    varying = changed(folder, tmp_path / "varying", "topology.json", lambda t: t["links"][1].update(varies=True))
    assert places(scene_of(varying)) == ["links[1]"]


def test_aborted_messages_are_told(folder: Path, tmp_path: Path) -> None:
    copy = changed(folder, tmp_path / "copy", "topology.json", lambda t: None)
    events = pd.read_parquet(folder / TABLE)
    row = events.index[events["kind"] == "transfer"][3]
    events.loc[row, "status"] = "aborted"
    other = events.index[events["kind"] == "transfer"][4]
    events.loc[other, ["status", "route"]] = ["in_flight", ""]
    events.to_parquet(copy / TABLE, index=False)
    scene = scene_of(copy)
    assert places(scene) == [f"events[{row}]"]
    assert {m.id: m.route for m in scene.messages}[str(other)] == {m.id: m.route for m in scene_of(folder).messages}[
        str(other)
    ]


def test_runs_that_do_not_tell_enough(folder: Path, tmp_path: Path) -> None:
    old = changed(folder, tmp_path / "old", "topology.json", lambda t: t["links"][0].pop("duplex"))
    with pytest.raises(InputError, match="duplex"):
        scene_of(old)
    bad = changed(folder, tmp_path / "bad", "scenario.yaml", lambda s: s.update(network={"transport": "pigeons"}))
    with pytest.raises(InputError, match="network"):
        scene_of(bad)
    (bad / "scenario.yaml").unlink()
    with pytest.raises(InputError, match=r"scenario\.yaml"):
        scene_of(bad)
    with pytest.raises(InputError):
        scene_of(tmp_path / "nothing")
