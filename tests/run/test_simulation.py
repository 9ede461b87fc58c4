"""Runs: what they leave behind when they end, fail, or are interrupted, and what they put back."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from small_runs import Interrupting, known, loaded, played, quick, same_rows, transfers, work

from elsa_sim.base.errors import Divergence, InputError, RunFailed, ScenarioError
from elsa_sim.results import event_table, metrics
from elsa_sim.results.manifest import listed
from elsa_sim.run import simulation
from elsa_sim.world.world import World

TIMING = "execution.mode=timing"


def test_a_run_in_memory_is_that_on_disk(tmp_path: Path) -> None:
    written = played(folder=tmp_path / "a" / "b")
    assert same_rows(written.events, known().events)
    assert written.folder == tmp_path / "a" / "b"
    columns = ["round", "sim_time_s", "accuracy", "loss", "uplink_bytes", "downlink_bytes", "energy_j"]
    pd.testing.assert_frame_equal(written.rounds[columns], known().rounds[columns])
    skip = {"host"}
    assert {k: v for k, v in written.summary.items() if k not in skip} == {
        k: v for k, v in known().summary.items() if k not in skip
    }


def test_it_learns() -> None:
    """A few more rounds than elsewhere: from chance to nearly all right."""
    learnt = played("protocol={kind: elsa, rounds: 6, edge_rounds: 2, local_steps: 5, lr: 1.0e-2}", "task.train_size=300",
                    "task.purity=0.9", "stop.target_accuracy=0.9")  # fmt: skip
    assert learnt.summary["accuracy"] >= 0.9
    assert learnt.rounds["accuracy"].iloc[0] < 0.6
    assert learnt.summary["time_to_target_s"] == learnt.summary["sim_time_s"]


def test_the_thread_count_is_put_back() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        played(TIMING)
        assert torch.get_num_threads() == 2
        for change, problem in (("protocol.lr=1e30", Divergence), ("task.max_length=2", ScenarioError)):
            with pytest.raises(problem):
                played(change)
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("steps", [1, 13])
def test_an_interrupted_run_is_whole(tmp_path: Path, steps: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        simulation.run(loaded(), tmp_path, Interrupting(steps))
    made = metrics.load(tmp_path)
    assert (made.summary["outcome"], made.summary["complete"]) == ("interrupted", False)
    assert made.summary["invariants"] == "not checked"
    assert made.summary["trace_sha256"] == event_table.digest(event_table.read_events(tmp_path))
    assert len(made.rounds) == (1 if steps == 1 else 2)
    rows = work(made.events)
    done = rows[rows["status"] == "ok"].reset_index(drop=True)
    assert same_rows(done, work(known().events).iloc[: len(done)])
    assert set(rows["status"]) == {"ok", "in_flight"}
    assert {path.name for path in tmp_path.iterdir()} == {"scenario.yaml", "topology.json", "events.parquet", "rounds.csv",
                                                          "summary.json", "manifest.json", "adapters"}  # fmt: skip


def test_a_failed_run_is_readable(tmp_path: Path) -> None:
    with pytest.raises(Divergence):
        simulation.run(loaded("protocol.lr=1e30"), tmp_path)
    made = metrics.load(tmp_path)
    assert made.summary["outcome"].startswith("failed: ")
    assert len(transfers(made.events))
    assert json.loads((tmp_path / "summary.json").read_text())["loss"] is None  # JSON knows no NaN


def test_faults_leave_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError):
        simulation.run(loaded("split={policy: fixed, p: 2, q: 2}"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="no run can be written there"):
        simulation.run(loaded(TIMING), tmp_path / "file" / "run")


def test_an_earlier_run_stays_or_leaves_no_trace(tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = played(TIMING, folder=out)
    (out / "mine.txt").write_text("kept")
    with pytest.raises(InputError, match="holds a run that has ended"):
        played(TIMING, folder=out)
    with pytest.raises(Divergence):
        simulation.run(loaded("protocol.lr=1e30"), out, earlier="replace")
    assert metrics.load(out).summary == first.summary
    assert metrics.load(tmp_path / "out.partial").summary["outcome"].startswith("failed")
    again = simulation.run(loaded(TIMING, "seed=5"), out, earlier="replace")
    assert (again.summary["seed"], metrics.load(out).summary) == (5, again.summary)
    assert again.folder == out
    assert (out / "mine.txt").read_text() == "kept"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_belongs_to_a_run_is_added_before_it_has_its_name(tmp_path: Path) -> None:
    def then(results: metrics.Results, folder: Path) -> None:
        assert (folder, results.folder) == (tmp_path / "out.partial", folder)
        (folder / "figures").mkdir()
        (folder / "figures" / "mine.pdf").write_text("drawn")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as told:
        simulation.run(loaded(TIMING), tmp_path / "out", then=then)
    assert told.value.__notes__ == [f"the run had ended, and is in {tmp_path / 'out'}"]
    assert metrics.load(tmp_path / "out").summary["complete"] is True
    assert "figures/mine.pdf" in (listed(tmp_path / "out") or ())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("where", ["world.end", "summarise", "to_csv", "rename"])
def test_an_interrupt_while_a_run_is_closed_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, where: str
) -> None:
    """Two, even."""
    kept = signal.signal(number, signal.default_int_handler)
    owner, name = {"world.end": (World, "end"), "summarise": (metrics, "summarise"), "to_csv": (pd.DataFrame, "to_csv"),
                   "rename": (Path, "rename")}[where]  # fmt: skip
    inner = getattr(owner, name)

    def interrupted(*args: Any, **options: Any) -> Any:
        for _ in range(2):
            os.kill(os.getpid(), number)
        return inner(*args, **options)

    monkeypatch.setattr(owner, name, interrupted)
    try:
        with pytest.raises(KeyboardInterrupt):
            simulation.run(loaded(TIMING), tmp_path / "out")
    finally:
        signal.signal(number, kept)
    monkeypatch.undo()
    made = metrics.load(tmp_path / "out")
    assert (made.summary["outcome"], made.summary["invariants"]) == ("done", "hold")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """Has the disk take files of so many bytes only; what is written beyond is refused with an error, not a signal."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    kept = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, kept)


@pytest.mark.parametrize("size", [100, 1_000, 2_000, 6_000, 12_000, 20_000, 30_000])
def test_a_disk_that_is_full_ends_in_one_line_and_a_directory_that_loads(
    tmp_path: Path, full: Callable[[int], None], size: int
) -> None:
    known(TIMING)  # nothing that is cached on the disk is written in what follows
    full(size)
    with quick(), pytest.raises(RunFailed, match=r"File too large|written in part") as told:
        simulation.run(loaded(TIMING), tmp_path / "out")
    full(-1)
    assert "\n" not in str(told.value)
    assert told.value.__cause__ is None
    left = [path.name for path in tmp_path.iterdir()]
    assert left in ([], ["out"])
    if left:
        made = metrics.load(tmp_path / "out")
        assert made.summary["complete"] is False
        assert len(made.events)
        whole = event_table.digest(event_table.read_events(tmp_path / "out"))
        assert made.summary.get("trace_sha256", whole) == whole
    assert left or size < 20_000
    assert not left or size > 1_000


def test_an_outcome_may_have_room_where_a_table_has_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "rounds.csv.partial")

    monkeypatch.setattr(pd.DataFrame, "to_csv", full)
    with pytest.raises(
        RunFailed,
        match=r"^the run broke off at .* s: rounds\.csv\.partial: No space left on device\nwhat was recorded is in .*out$",
    ):
        simulation.run(loaded(TIMING), tmp_path / "out")
    made = metrics.load(tmp_path / "out")
    assert made.summary["complete"] is False
    assert made.summary["outcome"].endswith("No space left on device")
    assert len(made.rounds) == 3


def test_what_fails_while_a_run_is_closed_fails_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(metrics, "summarise", wrong)
        with pytest.raises(RunFailed, match=r"^the run broke off at .* s: ZeroDivisionError") as told:
            simulation.run(loaded(TIMING), tmp_path / "out")
    assert isinstance(told.value.__cause__, ZeroDivisionError)
    assert metrics.load(tmp_path / "out").summary["complete"] is False
    with monkeypatch.context() as patch:
        patch.setattr(World, "end", wrong)
        with pytest.raises(RunFailed, match="ZeroDivisionError"):
            simulation.run(loaded(TIMING), tmp_path / "other")
    made = metrics.load(tmp_path / "other")
    assert made.summary["outcome"].startswith("failed: the run broke off")
    assert made.summary["trace_sha256"] == event_table.digest(event_table.read_events(tmp_path / "other"))


def test_a_programs_mistake_is_not_hidden(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It fails the run, as its cause, with its place; and what was recorded can be read."""

    def wrong(self: World, *args: object, **more: object) -> bool:
        raise ZeroDivisionError

    monkeypatch.setattr(World, "stepped", wrong)
    with pytest.raises(
        RunFailed, match=r"the run broke off at 0\.\d+ s: ZeroDivisionError \(test_simulation\.py, line \d+\)"
    ) as told:
        played(TIMING, folder=tmp_path)
    assert isinstance(told.value.__cause__, ZeroDivisionError)
    assert metrics.load(tmp_path).summary["complete"] is False


def test_a_lost_message_is_never_taken_for_a_delivered_one() -> None:
    """Every client loses its edge server for good: rounds go on without them, and no byte is unaccounted for."""
    outage = ("network={outages: [{node: edge0, start: 0.02, duration: 1 h}, {node: edge1, start: 0.02, duration: 1 h}], "
              "stall_timeout: 1 s, retries: 0}")  # fmt: skip
    made = played(outage, TIMING, "stop.sim_time=100 s")
    rows = transfers(made.events)
    given_up = rows[rows["status"] == "aborted"]
    assert len(given_up)
    assert {json.loads(text)["reason"] for text in given_up["metrics"]} <= {
        "stalled for 1 s, attempt 1", "the round is over", "the server went away"}  # fmt: skip
    later = rows[(rows["t_start_s"] > 0.02) & (rows["status"] == "ok")]
    assert later.empty
    assert made.summary["invariants"] == "hold"
    assert "fault" in set(made.events["kind"])


def test_lost_work_is_never_taken_for_done() -> None:
    made = played("devices.overrides={client1: {downtimes: [{kind: crash, at: 0.04 s}]}}", TIMING)
    assert made.summary["invariants"] == "hold"
    rows = work(made.events)
    own = rows[(rows["node"] == "client1") & (rows["kind"] == "compute") & (rows["status"] == "ok")]
    assert (own["t_end_s"] <= 0.04).all()
    assert "client1" in set(made.events.loc[made.events["kind"] == "fault", "node"])


def test_versions_and_memory() -> None:
    summary = known().summary
    assert summary["versions"]["torch"] == torch.__version__
    assert 50e6 < summary["host"]["peak_rss_bytes"] < 20e9


@pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere a process begins with the peak of the one that started it"
)
def test_peak_memory_is_that_of_the_run_alone() -> None:
    """A program that holds much and starts a run must not be found in the run's peak."""
    held = b"x" * (500 << 20)
    told = "from elsa_sim.run.closing import peak_rss_bytes; print(peak_rss_bytes())"
    done = subprocess.run(
        [sys.executable, "-c", told], capture_output=True, text=True, check=True, preexec_fn=lambda: None
    )
    assert int(done.stdout) < len(held)


def test_a_run_ends_where_times_lose_their_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what was under way, instead of playing on with bytes that do not add up."""
    monkeypatch.setattr(simulation, "LATEST", 1e-3)
    with pytest.raises(RunFailed, match=r"passed 0.001 s, some thirty years of simulated time; under way: .* on cloud"):
        simulation.run(loaded("execution.mode=timing"))
