"""The command line: exit statuses, run directories, and what is said about bad input."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from small_runs import TEXT

from elsa_sim.base.errors import InputError
from elsa_sim.cli import commands
from elsa_sim.results import event_table, metrics
from elsa_sim.version import __version__

SCENARIOS = Path(__file__).parents[2] / "scenarios"
ORACLE = Path(__file__).parents[3] / "shared" / "oracle" / "network"
TIMING = ("--set", "execution.mode=timing")


class Said(NamedTuple):
    """How a command ended."""

    status: int
    out: str
    err: str


Command = Callable[..., Said]


@pytest.fixture
def elsa(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    """Runs ``elsa-sim`` in this process, in a folder of its own with ``small.yaml`` in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(TEXT, encoding="utf-8")
    monkeypatch.setattr(sys, "path", [*sys.path])

    def call(*args: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["elsa-sim", *map(str, args)])
        capsys.readouterr()
        try:
            commands.main()
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return Said(status, out, err)

    return call


@pytest.fixture
def plain(elsa: Command, monkeypatch: pytest.MonkeyPatch) -> Command:
    """The same, without figures."""
    monkeypatch.setattr("elsa_sim.cli.run.write_figures", lambda results, folder: [])
    return elsa


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory with everything in it."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "small.yaml").write_text(TEXT, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["elsa-sim", "run", str(folder / "small.yaml"), "--out", str(folder / "run"),
                                    "--quiet", "--set", "stop.target_accuracy=0.99"])  # fmt: skip
        with pytest.raises(SystemExit) as end:
            commands.main()
    assert end.value.code in (0, None)
    return folder / "run"


def test_help_and_version(elsa: Command) -> None:
    for args in ((), ("--help",), ("run", "--help")):
        said = elsa(*args)
        assert said.status == (0 if args else 2)
        assert "Usage" in said.out + said.err
    assert elsa("--version") == (0, f"elsa-sim {__version__}\n", "")


def test_it_is_a_module_that_python_runs(elsa: Command) -> None:
    for args in (("--version",), ("check", "small.yaml"), ("check", "small.yaml", "--set", "seed=x")):
        done = subprocess.run([sys.executable, "-m", "elsa_sim", *args], capture_output=True, text=True, timeout=100)
        assert (done.returncode, done.stdout, done.stderr) == elsa(*args)


@pytest.mark.parametrize("args", [("fly",), ("run",), ("run", "a.yaml", "--colour"), ("run", "a.yaml", "--seed", "x"),
                                  ("network",), ("plot",), ("check", "a", "b")])  # fmt: skip
def test_wrong_usage(elsa: Command, args: tuple[str, ...]) -> None:
    said = elsa(*args)
    assert said.status == 2
    assert said.err
    assert not said.out


# -- a run directory ---------------------------------------------------------------------------------------------------


def test_a_run_directory_has_every_file(run_dir: Path) -> None:
    assert {path.name for path in run_dir.iterdir()} == {
        "scenario.yaml", "topology.json", "events.parquet", "rounds.csv", "summary.json", "trace.json", "figures",
        "manifest.json", "adapters",
    }  # fmt: skip
    figures = {path.stem for path in (run_dir / "figures").iterdir() if path.stat().st_size > 1000}
    assert figures >= {"accuracy_over_time", "accuracy_over_bytes", "timeline", "bytes_by_kind", "bytes_by_link",
                       "topology_map"}  # fmt: skip


def test_the_event_table(run_dir: Path) -> None:
    table = pq.read_table(run_dir / "events.parquet")
    wanted = ["t_start_s", "t_end_s", "kind", "node", "peer", "round", "step", "bytes", "flops", "energy_j", "detail"]
    assert set(wanted) <= set(table.schema.names)
    assert table.schema.names == event_table.SCHEMA.names
    assert set(table["kind"].to_pylist()) == {"compute", "transfer", "aggregation", "evaluation", "idle"}
    assert event_table.digest(table) == json.loads((run_dir / "summary.json").read_text())["trace_sha256"]


def test_the_table_of_rounds(run_dir: Path) -> None:
    rounds = pd.read_csv(run_dir / "rounds.csv")
    assert rounds.columns[:8].tolist() == [
        "round", "sim_time_s", "accuracy", "loss", "uplink_bytes", "downlink_bytes", "energy_j", "host_time_s",
    ]  # fmt: skip
    assert rounds["round"].tolist() == [0, 1, 2]
    for column in ("sim_time_s", "uplink_bytes", "downlink_bytes", "energy_j", "host_time_s"):
        assert rounds[column].is_monotonic_increasing
    assert rounds.notna().drop(columns="train_loss").all().all()  # before the first round nothing was trained


def test_the_summary(run_dir: Path) -> None:
    summary = json.loads((run_dir / "summary.json").read_text())
    wanted = {
        "protocol", "seed", "sim_time_s", "rounds", "accuracy", "best_accuracy", "loss", "time_to_target_s", "bytes",
        "energy_j", "host", "trace_sha256", "invariants", "versions",
    }  # fmt: skip
    assert wanted <= summary.keys()
    assert {"total", "uplink", "downlink", "by_kind"} <= summary["bytes"].keys()
    assert {"wall_s", "math_s", "peak_rss_bytes"} <= summary["host"].keys()
    assert (summary["protocol"], summary["seed"], summary["rounds"]) == ("elsa", 0, 2)
    assert (summary["outcome"], summary["invariants"], summary["complete"]) == ("done", "hold", True)
    assert summary["versions"].keys() >= {"elsa-sim", "python", "torch", "transformers"}
    assert 0 < summary["host"]["math_s"] < summary["host"]["wall_s"]
    rounds = pd.read_csv(run_dir / "rounds.csv")
    last = rounds.iloc[-1]
    assert summary["accuracy"] == last["accuracy"]
    assert summary["best_accuracy"] == rounds["accuracy"].max()
    assert (summary["bytes"]["uplink"], summary["bytes"]["downlink"]) == (last["uplink_bytes"], last["downlink_bytes"])
    assert summary["bytes"]["total"] == sum(summary["bytes"]["by_kind"].values())


def test_the_trace_is_json(run_dir: Path) -> None:
    assert json.loads((run_dir / "trace.json").read_text())["traceEvents"]


def test_the_scenario_is_resolved(run_dir: Path) -> None:
    made = yaml.safe_load((run_dir / "scenario.yaml").read_text())
    assert made["protocol"]["lr"] == 5e-3
    assert made["topology"]["access"]["up"] == 10e6
    assert made["stop"] == {"target_accuracy": 0.99}


def test_a_run_directory_repeats_itself(plain: Command, run_dir: Path, tmp_path: Path) -> None:
    """Also from another folder, and in its own."""
    assert plain("run", run_dir / "scenario.yaml", "--out", tmp_path / "again", "--quiet").status == 0
    first, again = (metrics.load(folder).summary["trace_sha256"] for folder in (run_dir, tmp_path / "again"))
    assert first == again
    again = tmp_path / "again"
    assert plain("run", again / "scenario.yaml", "--out", again, "--quiet").status == 2
    assert plain("run", again / "scenario.yaml", "--out", again, "--force", "--quiet").status == 0
    assert metrics.load(tmp_path / "again").summary["trace_sha256"] == first


def test_run_says_what_it_did(plain: Command, tmp_path: Path) -> None:
    said = plain("run", "small.yaml")
    assert said.status == 0
    assert "round   2" in said.err
    for words in ("small: elsa, seed 0, 2 rounds", "simulated time", "bytes on the wire", "activation", "energy",
                  "test accuracy", "host time", "hold"):  # fmt: skip
        assert words in said.out
    assert "Run directory: runs/small" in said.out


def test_run_says_what_became_of_updates(plain: Command) -> None:
    said = plain(
        "run", "small.yaml", "--set", "protocol={kind: fedbuff, rounds: 2, buffer: 2}", "--set", "codec={}", *TIMING
    )
    assert said.status == 0
    for words in (
        "updates merged / rejected  4 / 0",
        "versions on average",
        "Jain's index over clients",
        "% of the time",
    ):
        assert words in said.out


def test_run_directories_are_numbered(plain: Command, tmp_path: Path) -> None:
    for _ in range(3):
        assert plain("run", "small.yaml", "--quiet", *TIMING) == (0, "", "")  # quiet: prints nothing
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["small", "small-2", "small-3"]


def test_changes_and_seed(plain: Command, tmp_path: Path) -> None:
    said = plain("run", "small.yaml", "--out", "out", "--seed", 11, "--set", "protocol={kind: fedavg, rounds: 1}",
                 "--set", "task.batch_size=2", "--set", "codec={adapters: [float16]}", *TIMING)  # fmt: skip
    assert said.status == 0
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (summary["seed"], summary["protocol"], summary["rounds"]) == (11, "fedavg", 1)
    made = yaml.safe_load((tmp_path / "out" / "scenario.yaml").read_text())
    assert "edge_rounds" not in made["protocol"]
    assert (made["task"]["batch_size"], made["codec"]["adapters"][0]["kind"]) == (2, "float16")


def test_a_later_run_replaces_an_earlier_one(plain: Command, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert plain("run", "small.yaml", "--out", out, *TIMING).status == 0
    first = metrics.load(out).summary
    said = plain("run", "small.yaml", "--out", out, "--seed", 3, *TIMING)
    assert (said.status, said.err) == (
        2, f"elsa-sim: {out}: holds a run that has ended; name another folder, or replace it once the new run has ended "
           "(--force, earlier='replace')\n")  # fmt: skip
    said = plain("run", "small.yaml", "--out", out, "--force", "--set", "protocol.lr=1e30")
    assert said.status == 3
    assert said.err.endswith(f"; what was recorded is in {out}.partial: {out} keeps the run that finished there\n")
    assert metrics.load(out).summary == first
    assert metrics.load(tmp_path / "out.partial").summary["complete"] is False
    assert plain("run", "small.yaml", "--out", out, "--force", "--seed", 3, *TIMING).status == 0
    assert metrics.load(out).summary["seed"] == 3
    assert not (tmp_path / "out.partial").exists()


@pytest.mark.parametrize("out", ["small.yaml", "small.yaml/deeper", "/proc/nothing"])
def test_a_run_directory_that_cannot_be(plain: Command, out: str, tmp_path: Path) -> None:
    said = plain("run", "small.yaml", "--out", out, *TIMING)
    assert said.status == 2
    assert said.err.startswith("elsa-sim: ")
    assert out in said.err
    assert (tmp_path / "small.yaml").read_text() == TEXT


def test_a_run_never_overwrites_its_scenario(plain: Command, tmp_path: Path) -> None:
    (tmp_path / "scenario.yaml").write_text(TEXT)
    said = plain("run", "scenario.yaml", "--out", ".", *TIMING)
    assert said.status == 2
    assert "is the current folder" in said.err
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "scenario.yaml").write_text(TEXT)
    said = plain("run", "mine/scenario.yaml", "--out", "mine", "--force", *TIMING)
    assert (said.status, said.out) == (2, "")
    assert "mine: holds scenario.yaml, which no run wrote" in said.err
    assert (tmp_path / "mine" / "scenario.yaml").read_text() == TEXT
    assert (tmp_path / "scenario.yaml").read_text() == TEXT


# -- a run that fails --------------------------------------------------------------------------------------------------


def test_divergence_is_status_3(plain: Command, tmp_path: Path) -> None:
    said = plain("run", "small.yaml", "--out", "out", "--set", "protocol.lr=1e30")
    assert said.status == 3
    assert said.err.splitlines()[-1] == (
        "elsa-sim: loss is nan after round 1: training diverged; lower protocol.lr; what was recorded is in out"
    )  # fmt: skip
    loaded = metrics.load(tmp_path / "out")
    assert loaded.summary["outcome"].startswith("failed: loss is nan")
    assert loaded.summary["invariants"] == "not checked"
    assert len(loaded.events)


def test_a_violated_invariant_is_status_3(plain: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("elsa_sim.run.simulation.invariants", lambda world: ["water flows uphill"])
    said = plain("run", "small.yaml", "--out", "out", "--quiet", *TIMING)
    assert said == (3, "", "elsa-sim: invariants violated: water flows uphill; what was recorded is in out\n")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["invariants"] == ["water flows uphill"]
    assert summary["complete"] is False


def test_a_dead_network_is_status_3(plain: Command) -> None:
    change = "topology.access={up: 1 Mbit/s, profile: [[0, 1 Mbit/s], [0.05 s, 0]]}"
    said = plain("run", "small.yaml", "--set", change, *TIMING)
    assert said.status == 3
    assert "nothing happens any more" in said.err


# -- interrupted -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_run_is_readable(how: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(TEXT.replace("rounds: 2", "rounds: 100000"), encoding="utf-8")
    program = str(Path(sys.executable).with_name("elsa-sim"))
    with subprocess.Popen([program, "run", "small.yaml", "--out", "out"], cwd=tmp_path, stderr=subprocess.PIPE,
                          stdout=subprocess.DEVNULL, text=True, env=_environment()) as process:  # fmt: skip
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if line.startswith("round   3"):
                process.send_signal(how)
                break
        said += process.stderr.readlines()
        status = process.wait(60)
    assert "Traceback" not in "".join(said)
    out = tmp_path / ("out.partial" if how == signal.SIGKILL else "out")
    loaded = metrics.load(out)
    assert loaded.summary["complete"] is False
    assert loaded.rounds["round"].tolist()[:4] == [0, 1, 2, 3]
    assert loaded.summary["protocol"] == "elsa"
    assert yaml.safe_load((out / "scenario.yaml").read_text())["protocol"]["rounds"] == 100000
    if how == signal.SIGKILL:
        assert status == -signal.SIGKILL
        assert not (out / "summary.json").exists()
        with pytest.raises(
            InputError, match=r"there is no run directory .*out; .*out\.partial holds what was recorded"
        ):
            metrics.load(tmp_path / "out")
        return
    assert status == 130
    assert said[-1] == "elsa-sim: interrupted; what was recorded is in out\n"
    assert loaded.summary["outcome"] == "interrupted"
    assert (tmp_path / "out" / "events.parquet").exists()
    assert len(loaded.rounds) == len(pd.read_csv(tmp_path / "out" / "rounds.csv"))
    assert set(loaded.events["status"]) <= {"ok", "in_flight"}


def _environment(**more: str) -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **more}


def test_an_interrupt_in_this_process(plain: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Also before anything is recorded."""

    def interrupted(*_: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("elsa_sim.run.simulation.run", interrupted)
    before = signal.getsignal(signal.SIGTERM)
    said = plain("run", "small.yaml", "--quiet")
    assert said.status == 130
    assert said.err == "elsa-sim: interrupted\n"
    assert not (tmp_path / "runs").exists()
    assert signal.getsignal(signal.SIGTERM) == before


# -- check, and bad scenarios ------------------------------------------------------------------------------------------


def test_check_says_what_would_run(elsa: Command, tmp_path: Path) -> None:
    said = elsa("check", "small.yaml")
    assert said.status == 0
    assert not said.err
    for words in ("small.yaml: fine", "elsa", "tiny-bert: 3 layers", "client 1 + 1 layers, server 1",
                  "3 client, 2 edge, 1 cloud", "90, per client 30 to 30", "30"):  # fmt: skip
        assert words in said.out
    assert [path.name for path in tmp_path.iterdir()] == ["small.yaml"]


@pytest.mark.parametrize("path", sorted(SCENARIOS.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_scenarios_are_fine(elsa: Command, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = Path(__file__).parents[3] / "shared" / "data"
    if not data.is_dir() and not os.environ.get("CI") and "ELSA_SIM_DATA" in path.read_text():
        pytest.skip("its data are not there")
    monkeypatch.setenv("ELSA_SIM_DATA", str(data))
    assert elsa("check", path).status == 0


def files(folder: Path) -> None:
    """Topologies and data with something wrong."""
    nodes: list[dict[str, Any]] = [{"name": "cloud", "role": "cloud"}, {"name": "edge0", "role": "edge"},
                                   {"name": "client0", "role": "client"}, {"name": "client1", "role": "client"}]  # fmt: skip
    links = [{"u": "edge0", "v": "cloud", "up": "1 Gbit/s"}, {"u": "client0", "v": "edge0", "up": "5 Mbit/s"}]
    (folder / "island.json").write_text(json.dumps({"nodes": nodes, "links": links}))
    links.append({"u": "client1", "v": "edge0", "up": "5 Mbit/s"})
    (folder / "twins.json").write_text(json.dumps({"nodes": [*nodes, nodes[-1]], "links": links}))
    links[-1] = {"u": "client1", "v": "edge0", "up": "-5 Mbit/s"}
    (folder / "negative.json").write_text(json.dumps({"nodes": nodes, "links": links}))
    (folder / "latin.csv").write_bytes("text,label\ncaf\u00e9 au lait,a\nthe,b\n".encode("latin-1"))
    (folder / "nan.csv").write_text("text,label\nsome words,a\nmore words,nan\nother words,\nlast words,b\n")
    (folder / "good.csv").write_text("text,label\nsome words,a\nmore words,b\nother words,a\nlast words,b\n")


DATA = "task={{kind: text_file, train: {0}, test: good.csv, format: csv, text_column: text, label_column: label}}"
BAD = [
    ("protocol.epochs=3", ["protocol.epochs", "unknown key 'epochs'", "valid: ", "local_steps"]),
    ("protocol.ronds=3", ["protocol.ronds", "did you mean 'rounds'?"]),
    ("protocool=elsa", ["protocool", "did you mean 'protocol'?"]),
    ("protocol.kind=elza", ["unknown kind 'elza'", "did you mean 'elsa'?", "centralized, elsa, "]),
    ("protocol.rounds=many", ["protocol.rounds", "expected an integer", "'many'"]),
    ("protocol.rounds=0", ["protocol.rounds", "must be >= 1, got 0"]),
    ("protocol.lr=-1", ["protocol.lr", "must be > 0"]),
    ("protocol=[1, 2]", ["protocol", "expected a mapping"]),
    ("seed=1.5", ["seed", "expected an integer"]),
    ("topology.access.up=10 apples", ["topology.access.up", "10 apples", "Mbit/s"]),
    ("topology.access.up=10 ms", ["topology.access.up", "10 ms"]),
    ("topology.access.up=-5 Mbit/s", ["topology.access.up", "-5"]),
    ("topology.access.up=0", ["topology.access.up", "0"]),
    ("topology.access.latency=-1 ms", ["topology.access.latency"]),
    ("topology.overrides={client9: {up: 1 Mbit/s}}", ["topology.overrides.client9", "client2"]),
    ("topology={file: island.json}", ["topology.file", "no route to the cloud 'cloud' from 'client1'"]),
    ("topology={file: twins.json}", ["topology.file", "two nodes are named 'client1'"]),
    ("topology={file: negative.json}", ["topology.file", "client1", "-5"]),
    ("topology={file: none.json}", ["topology.file", "no such file 'none.json'"]),
    ("topology={kind: tree, clients: 3, edges: 0}", ["topology.edges"]),
    ("split={policy: fixed, p: 2, q: 1}", ["split.p", "p + q = 3 leaves no layer to the server", "p + q <= 2"]),
    (
        "partition={kind: quantity, alpha: 0.01, min_samples: 25}",
        ["partition: ", "clients hold fewer than 25 samples", "raise alpha"],
    ),
    ("topology.clients=91", ["partition: ", "90 training samples cannot give 91 clients 1"]),
    (DATA.format("none.csv"), ["task.train", "no such file 'none.csv'"]),
    (DATA.format("latin.csv"), ["task", "latin.csv", "0xe9"]),
    (DATA.format("nan.csv"), ["task", "nan.csv", "label"]),
    ("devices.overrides={client7: {slowdown: 2}}", ["devices.overrides.client7", "there is no node 'client7'"]),
    ("devices.client.stragglers=[log_normal]", ["devices.client.stragglers.0", "did you mean 'lognormal'?"]),
    ("devices.edge.downtimes=[{kind: crash, from: 3}]", ["devices.edge.downtimes.0", "unknown key 'from'", "duration"]),
    ("devices.client.speed=5 GiB", ["devices.client.speed", "5 GiB"]),
    ("network.outages=[{node: edge7, start: 0, duration: 1}]", ["network.outages.0", "did you mean 'edge"]),
    ("codec.activation=[int8, ssop]", ["codec.activation.1"]),
    ("codec.activation=[{kind: scetch}]", ["codec.activation.0.kind", "did you mean 'sketch'?"]),
    ("backbone.name=no-such-thing", ["backbone.name", "no-such-thing"]),
    ("backbone.config={num_hiden_layers: 3}", ["backbone.config", "num_hiden_layers", "num_hidden_layers"]),
    ("task={kind: synthetic, objective: causal_lm}", ["backbone.name", "encoder", "gpt2"]),
    ("stop.target_accuracy=90", ["stop.target_accuracy", "<= 1"]),
    ("nothing", ["--set 'nothing'", "key.path=value"]),
    ("a.b.c=1", ["a", "unknown key 'a'"]),
]  # fmt: skip


@pytest.mark.parametrize(("change", "words"), BAD, ids=lambda value: value[:40] if isinstance(value, str) else "")
def test_bad_scenarios(elsa: Command, tmp_path: Path, change: str, words: list[str]) -> None:
    files(tmp_path)
    said = elsa("check", "small.yaml", "--set", change)
    assert said.status == 2
    assert said.out == ""
    assert said.err.startswith("elsa-sim: small.yaml: ")
    for word in words:
        assert word in said.err
    run = elsa("run", "small.yaml", "--set", change)
    assert (run.status, run.err) == (2, said.err)
    assert not (tmp_path / "runs").exists()


def test_several_faults_of_the_file_at_once(elsa: Command, tmp_path: Path) -> None:
    """Each with its key path and its line, in the order of lines."""
    (tmp_path / "bad.yaml").write_text(
        "protocol:\n"
        "  kind: elsa\n"
        "  ronds: 3\n"
        "  lr: fast\n"
        "task: {kind: synthetic,\n"
        "       topics: 1.5}\n"
        "topology:\n"
        "  kind: tree\n"
        "  clients: 3\n"
        "  access: {up: 10 apples}\n"
        "  backhaul:\n"
        "    up: -3 Mbit/s\n"
        "partition: {kind: dirichlit}\n"
    )
    said = elsa("check", "bad.yaml")
    assert said.status == 2
    lines = said.err.splitlines()
    assert lines[0].startswith("elsa-sim: bad.yaml: ")
    found = [line.strip().split(": ")[:2] for line in lines[1:]]
    for line, key in ((3, "protocol.ronds"), (4, "protocol.lr"), (6, "task.topics"), (10, "topology.access.up"),
                      (12, "topology.backhaul.up"), (13, "partition.kind")):  # fmt: skip
        assert [f"line {line}", key] in found
    assert found == sorted(found, key=lambda each: int(each[0].split()[1]) if each[0].startswith("line ") else 99)
    assert f"{len(lines) - 1} faults" in lines[0]


def test_several_faults_of_the_world_at_once(elsa: Command, tmp_path: Path) -> None:
    """What only building the sections shows: of all sections, with lines."""
    files(tmp_path)
    (tmp_path / "bad.yaml").write_text(
        "protocol: elsa\n"
        "backbone: {name: tiny-bert}\n"
        "split: {policy: fixed, p: 2, q: 2}\n"
        "topology: {file: island.json}\n"
        "task: {kind: text_file, format: csv, text_column: text, label_column: label,\n"
        "  train: latin.csv,\n"
        "  test: none.csv}\n"
        "codec: {activation: [int8, ssop]}\n"
    )
    said = elsa("check", "bad.yaml")
    assert said.status == 2
    for words in ("line 3: split.p: ", "line 4: topology.file: ", "line 6: task.train: ", "line 7: task.test: ",
                  "line 8: codec.activation.1: "):  # fmt: skip
        assert words in said.err
    assert "5 faults" in said.err.splitlines()[0]


def test_faults_of_the_file_hide_no_faults_of_the_world(elsa: Command, tmp_path: Path) -> None:
    """Sections that the file already shows to be wrong are left out, and so is what depends on them."""
    (tmp_path / "bad.yaml").write_text(
        "protocol: {kind: elsa, rounds: many}\n"
        "backbone: {name: tiny-bert, lora: {targets: [qery]}}\n"
        "split: {policy: fixed, p: 9, q: 9}\n"
        "topology: {kind: tree, clients: 3, edges: 1, access: {up: fast}, backhaul: {up: 1 Mbit/s}}\n"
        "task: {kind: text_file, format: csv, train: none.csv, test: none.csv}\n"
        "codec: {activation: [int8, ssop]}\n"
        "devices: {overrides: {nobody: {slots: 2}}}\n"
        "colour: red\n"
    )
    for command in ("check", "run"):
        said = elsa(command, "bad.yaml")
        assert said.status == 2
        found = [line.strip().split(": ")[:2] for line in said.err.splitlines()[1:]]
        assert found == [["line 1", "protocol.rounds"], ["line 2", "backbone.lora.targets"],
                         ["line 4", "topology.access.up"], ["line 5", "task.train"], ["line 5", "task.test"],
                         ["line 6", "codec.activation.1"], ["line 8", "colour"]]  # fmt: skip
        assert "7 faults" in said.err.splitlines()[0]
    (tmp_path / "bad.yaml").write_text("protocol: elsa\nsplit: {policy: fixed, p: 9, q: 9}\nseed: x\n")
    assert "line 2: split.p: " in elsa("check", "bad.yaml").err
    assert "line 3: seed: " in elsa("check", "bad.yaml").err


@pytest.mark.parametrize("command", ["check", "run", "network", "plot"])
@pytest.mark.parametrize("what", ["missing", "folder", "binary", "empty", "zip"])
def test_bad_files(elsa: Command, tmp_path: Path, command: str, what: str) -> None:
    path = tmp_path / what
    if what == "folder":
        path.mkdir()
    elif what != "missing":
        path.write_bytes({"binary": bytes(range(256)), "empty": b"", "zip": b"PK\x03\x04"}[what])
    said = elsa(command, path)
    assert said.status == 2
    assert said.out == ""
    assert said.err.startswith("elsa-sim: ")
    assert what in said.err


def test_a_scenario_cannot_run_code(elsa: Command, tmp_path: Path) -> None:
    (tmp_path / "evil.yaml").write_text("protocol: !!python/object/apply:os.system ['touch owned']\n")
    assert elsa("check", "evil.yaml").status == 2
    assert elsa("check", "small.yaml", "--set", "name=!!python/object/apply:os.system ['touch owned']").status == 2
    assert not (tmp_path / "owned").exists()


# -- the other commands ------------------------------------------------------------------------------------------------


def test_list(elsa: Command) -> None:
    everything = elsa("list")
    assert everything.status == 0
    for name in ("elsa", "splitfed_v1", "fedavg", "centralized", "sketch", "ssop", "float16", "int8", "max-min",
                 "text_file", "synthetic", "hub", "dirichlet", "tree", "minilm", "tiny-bert", "fixed", "timeline"):  # fmt: skip
        assert f" {name} " in everything.out
    one = elsa("list", "protocol")
    assert one == elsa("list", "protocols")
    rows = [line.split() for line in one.out.splitlines()[1:]]
    assert {row[0] for row in rows} == {"protocol"}
    assert all(len(row) > 3 for row in rows)  # each says what it is
    profiles = elsa("list", "profiles")
    assert "jetson-orin-nx-16gb     564 GFLOP/s float32, 4.5 TFLOP/s float16 / bfloat16, " in profiles.out
    assert "; 16 GiB; 5 W idle, 25 W busy; unverified: speeds, idle power, busy power" in profiles.out
    said = elsa("list", "protcol")
    assert said.status == 2
    assert "did you mean 'protocol'?" in said.err


def test_schema(elsa: Command) -> None:
    said = elsa("schema")
    assert said.status == 0
    schema = json.loads(said.out)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for path in (*SCENARIOS.glob("*.yaml"),):
        validator.validate(yaml.safe_load(path.read_text()))
    validator.validate(yaml.safe_load(TEXT))
    several = {"protocol": "elsa", "devices": {"client": {"speed": {"float32": "1 TFLOP/s", "bfloat16": 4e12}}}}
    validator.validate(several)
    several["devices"]["client"]["speed"]["flaot32"] = 1  # type: ignore[index]
    assert not validator.is_valid(several)
    assert not validator.is_valid({"protocol": {"kind": "elsa", "ronds": 3}})


def test_network(elsa: Command, tmp_path: Path) -> None:
    case = {"nodes": ["a", "b"], "links": [{"u": "a", "v": "b", "bandwidth_bps": 8e6, "latency_s": 0.5}],
            "flows": [{"id": "f", "src": "a", "dst": "b", "bytes": 1e6, "start_s": 1.0, "route": ["a", "b"]}]}  # fmt: skip
    (tmp_path / "case.json").write_text(json.dumps(case))
    said = elsa("network", "case.json")
    assert (said.status, json.loads(said.out)) == (0, {"finish_s": {"f": pytest.approx(2.5)}})
    case["flows"][0]["route"] = ["a", "c"]  # type: ignore[index]
    (tmp_path / "case.json").write_text(json.dumps(case))
    assert elsa("network", "case.json").status == 2


def test_network_says_which_flows_never_end(elsa: Command, tmp_path: Path) -> None:
    links = [{"u": "a", "v": "b", "bandwidth_bps": 8e6, "bandwidth_profile": [[1.0, 0.0]]}]
    flows = [{"id": name, "src": "a", "dst": "b", "bytes": size} for name, size in (("small", 1e5), ("large", 1e7))]
    (tmp_path / "case.json").write_text(json.dumps({"nodes": ["a", "b"], "links": links, "flows": flows}))
    said = elsa("network", "case.json")
    assert (said.status, json.loads(said.out)) == (0, {"finish_s": {"small": pytest.approx(0.2), "large": None}})
    assert "never ends" in said.err
    assert "large" in said.err
    assert "small" not in said.err


def test_network_on_an_oracle_case(elsa: Command) -> None:
    path = ORACLE / "tree_upload_20_4_1.json"
    if not path.exists() and not os.environ.get("CI"):
        pytest.skip("the oracle is not there")
    case, said = json.loads(path.read_text()), elsa("network", path)
    assert said.status == 0
    assert json.loads(said.out)["finish_s"] == pytest.approx(case["finish_s"], rel=case["tolerance"])


def test_export_of_a_case_and_of_a_run(elsa: Command, run_dir: Path, tmp_path: Path) -> None:
    links = [{"u": "a", "v": "b", "bandwidth_bps": 8e6, "latency_s": 0.01}]
    flows = [{"id": "f", "src": "a", "dst": "b", "bytes": 1448}]
    (tmp_path / "case.json").write_text(json.dumps({"nodes": ["a", "b"], "links": links, "flows": flows}))
    said = elsa("export", "case.json", "--to", "simgrid", "--out", "files")
    assert (said.status, set(said.out.split())) == (
        0,
        {f"files/{name}" for name in ("platform.xml", "flows.csv", "play.py")},
    )
    assert ",1448," in (tmp_path / "files" / "flows.csv").read_text()
    again = elsa("export", "case.json", "--to", "simgrid", "--out", "files", "--transport", "fluid")
    assert (again.status, "--force" in again.err) == (2, True)
    assert (
        elsa("export", "case.json", "--to", "simgrid", "--out", "files", "--transport", "fluid", "--force").status == 0
    )
    assert ",1514," in (tmp_path / "files" / "flows.csv").read_text()
    for options, word in ((("ns3",), "--transport tcp"), (("ns4",), "ns3, simgrid"), (("ns3", "--transport", "{"), "no YAML"),
                          (("ns3", "--transport", "pigeons"), "transport")):  # fmt: skip
        said = elsa("export", "case.json", "--to", *options, "--out", "none")
        assert (said.status, word in said.err) == (2, True)
    assert not (tmp_path / "none").exists()
    said = elsa("export", run_dir, "--to", "ns3", "--out", "run")
    assert (said.status, said.out.split()) == (0, ["run/network.py"])
    assert elsa("export", tmp_path, "--to", "ns3", "--out", "run").status == 2


def test_plot(elsa: Command, run_dir: Path, tmp_path: Path) -> None:
    one = elsa("plot", run_dir, "--out", "one")
    assert one.status == 0
    assert {Path(line).stem for line in one.out.split()} == {path.stem for path in (run_dir / "figures").iterdir()}
    two = elsa("plot", run_dir, run_dir)
    assert two.status == 0
    assert (tmp_path / "figures" / "accuracy_over_time.png").stat().st_size > 1000
    said = elsa("plot", run_dir, "--out", "small.yaml")
    assert said.status == 2
    assert "small.yaml" in said.err


def test_what_may_surprise_is_noted_by_check_and_by_run(plain: Command, tmp_path: Path) -> None:
    rows = "".join(f"w{i} w{i % 4},{i % 3}{'.0' * (i % 2)}\n" for i in range(30))
    (tmp_path / "labels.csv").write_text(f"text,label\n{rows}", encoding="utf-8")
    task = "task={kind: text_file, train: labels.csv, test_fraction: 0.2, format: csv, public: 3}"
    said = plain("check", "small.yaml", "--set", task)
    note = "all labels are numbers, and compared as numbers: '0', '0.0' are one class; '1', '1.0' are one class"
    assert said.status == 0
    assert note in " ".join(said.out.split())
    assert note in " ".join(plain("run", "small.yaml", "--set", task, "--out", tmp_path / "noted").out.split())
    summary = json.loads((tmp_path / "noted" / "summary.json").read_text())
    assert [each.startswith(note) for each in summary["notes"]] == [True]


def test_plugins_that_cannot_be_imported(elsa: Command, tmp_path: Path) -> None:
    (tmp_path / "broken_plugin.py").write_text("1 / 0\n")
    for module, words in (("nowhere_at_all", "nowhere_at_all"), ("broken_plugin", "ZeroDivisionError"), ("", "")):
        said = elsa("check", "small.yaml", "--plugin", module)
        assert said.status == 2
        assert f"plugin {module!r} cannot be imported" in said.err or f"there is no plugin {module!r}" in said.err
        assert words in said.err


# -- what is not imported ----------------------------------------------------------------------------------------------


CHECK = (
    "import sys, elsa_sim.cli; sys.argv = ['elsa-sim', 'check', {}]\n"
    "try: elsa_sim.cli.main()\nexcept SystemExit as end: assert end.code in (0, 2, None), end.code"
)


@pytest.mark.parametrize("program", [
    "import elsa_sim.cli.commands",
    "import elsa_sim.scenario.model as s; s.load('small.yaml')",
    "import elsa_sim.scenario.schema as s; s.schema()",
    "import elsa_sim.network.case, elsa_sim.results.metrics, elsa_sim.results.plots",
    "import sys, elsa_sim.cli; sys.argv = ['elsa-sim', '--help']\ntry: elsa_sim.cli.main()\nexcept SystemExit: pass",
    "import sys, elsa_sim.cli; sys.argv = ['elsa-sim', 'list']\ntry: elsa_sim.cli.main()\nexcept SystemExit: pass",
    CHECK.format("'small.yaml'"),
    CHECK.format("'small.yaml', '--set', 'backbone={name: minilm}'"),
    CHECK.format("'small.yaml', '--set', 'backbone={name: tiny-gpt2, config: {n_layer: 5}}', "
                 "'--set', 'task={kind: synthetic, objective: causal_lm}'"),
    CHECK.format("'small.yaml', '--set', 'split.p=9', '--set', 'backbone.lora.targets=[qery]'"),
    CHECK.format("'small.yaml', '--set', 'task={kind: text_file, train: a.txt, test: a.txt, format: labelled_lines}'"),
])  # fmt: skip
def test_light_commands_stay_light(program: str, tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(TEXT, encoding="utf-8")
    (tmp_path / "a.txt").write_text("X:some words\nY:other words\n" * 20, encoding="utf-8")
    tell = "\nimport sys; print('|', *sorted({'torch', 'transformers', 'peft'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program + tell], cwd=tmp_path, env=_environment(COLUMNS="200"),
                          capture_output=True, text=True, timeout=100, check=True)  # fmt: skip
    assert done.stdout.rpartition("|")[2].strip() == ""


def test_help_is_quick() -> None:
    """Under half a second; of CPU time, since tests run on machines that have other work to do."""
    program = "import sys; sys.argv = ['elsa-sim', '--help']; from elsa_sim.cli import main; main()"
    took = []
    for _ in range(3):
        before = os.times()
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=100)
        after = os.times()
        assert "Usage: elsa-sim" in done.stdout
        took.append(after.children_user + after.children_system - before.children_user - before.children_system)
    assert min(took) < 0.5
