"""Checkpoints on the disk: when they are taken, what stays, what is whole, and that nothing is pickled."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from resumed import EVERY, adapters, assert_same, killed_after
from safetensors import safe_open
from small_runs import loaded, played, quick

from elsa_sim.base.errors import InputError, RunFailed, ScenarioError
from elsa_sim.codecs.base import MessageContext
from elsa_sim.codecs.int8 import Int8
from elsa_sim.learning.execution.executor import Executor
from elsa_sim.learning.execution.journal import Snapshot
from elsa_sim.learning.execution.work import Ref
from elsa_sim.results import manifest
from elsa_sim.run import checkpoint_files, checkpoints, checks, closing, resuming, simulation, understood
from elsa_sim.run.checkpoint_files import found
from elsa_sim.run.checkpoint_state import Events, Host, Run
from elsa_sim.scenario.checkpoint_options import CheckpointOptions
from elsa_sim.world.round_end import RoundEnd

FEDAVG = "protocol={kind: fedavg, rounds: 5, local_steps: 1}"


def rounds(folder: Path) -> list[int]:
    return [each.round for each in found(folder)]


@pytest.mark.parametrize(
    ("options", "left"),
    [("{every: 1, keep: 2}", [5, 4]), ("{every: 2}", [4]), ("{every: 2, keep: 9}", [4, 2]), ("{every: 9}", []),
     ("{every: null}", []), ("{every: 1 h}", []), ("{}", [])],
)  # fmt: skip
def test_how_often_and_how_many(options: str, left: list[int], tmp_path: Path) -> None:
    played(FEDAVG, f"checkpoint={options}", folder=tmp_path / "run")
    assert rounds(tmp_path / "run") == left
    assert (tmp_path / "run" / "checkpoint").exists() == bool(left)


def test_by_host_time_they_go_when_the_run_has_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, now = [], [0.0]
    monkeypatch.setattr(checkpoints.time, "perf_counter", lambda: now[0])
    write = checkpoint_files.Folder.write

    def kept(self: Any, *args: Any) -> int:
        seen.append((args[2].round, now[0]))
        return write(self, *args)

    def later(self: Executor, what: str, function: Any) -> Any:
        now[0] += 25.0 if what == "evaluation" else 0.0
        return read(self, what, function)

    read = Executor.read
    monkeypatch.setattr(checkpoint_files.Folder, "write", kept)
    monkeypatch.setattr(Executor, "read", later)
    played(FEDAVG, "checkpoint={every: 1 min}", folder=tmp_path / "run")
    assert seen == [(2, 75.0), (5, 150.0)]
    assert rounds(tmp_path / "run") == []


def test_host_times_of_what_is_played_again_are_those_of_the_first_time() -> None:
    times = checkpoints.HostTimes(Host(wall_s=5.0, evaluations_s=[1.0, 4.0]))
    for live in (False, False, True):
        times.ended(RoundEnd(1, 0.0, Ref(None), {}, live=live))
    assert times.seconds[:2] == [1.0, 4.0]
    assert len(times.seconds) == 3
    assert times.seconds[2] >= 5.0


def test_timing_mode_and_a_run_without_a_folder_have_none(tmp_path: Path) -> None:
    played(FEDAVG, EVERY, "execution.mode=timing", folder=tmp_path / "run")
    assert rounds(tmp_path / "run") == []
    assert played(FEDAVG, EVERY).summary["complete"]


def test_they_change_nothing(tmp_path: Path) -> None:
    one = played(FEDAVG, "checkpoint={every: null}", folder=tmp_path / "one")
    two = played(FEDAVG, EVERY, folder=tmp_path / "two")
    assert one.summary["trace_sha256"] == two.summary["trace_sha256"]
    assert adapters(tmp_path / "one") == adapters(tmp_path / "two")


def test_files_are_json_and_safetensors_and_belong_to_the_run(tmp_path: Path) -> None:
    played(FEDAVG, EVERY, folder=tmp_path / "run")
    files = sorted(path for path in (tmp_path / "run" / "checkpoint").rglob("*") if path.is_file())
    assert {path.suffix for path in files} == {".json", ".jsonl", ".safetensors"}
    for path in files:
        if path.suffix == ".safetensors":
            assert safe_open(path, "pt").keys() == ["bytes"]
        else:
            assert all(json.loads(line) for line in path.read_text().splitlines())
    listed = manifest.listed(tmp_path / "run") or []
    names = {path.relative_to(tmp_path / "run").as_posix() for path in files}
    assert names <= set(listed)
    (tmp_path / "run" / "manifest.json").unlink()
    assert names <= set(manifest.written(tmp_path / "run"))


def test_what_several_values_share_is_stored_once(tmp_path: Path) -> None:
    """Clients hold the aggregate from which their training began."""
    shared = {"a": torch.arange(1000.0)}
    for count, run in ((1, tmp_path / "one"), (9, tmp_path / "nine")):
        values = {number: partial(dict, shared) for number in range(count)}
        checkpoint_files.Folder(run).write(Snapshot(count, 0, values, [], []), [], STATE)
    sizes = [sum(path.stat().st_size for path in (tmp_path / run).rglob("values-*")) for run in ("one", "nine")]
    assert sizes[0] == sizes[1]
    found_again = found(tmp_path / "nine")[0].snapshot().values
    assert all(torch.equal(value()["a"], shared["a"]) for value in found_again.values())


STATE = Run(
    round=1, now_s=0.0, scenario="", inputs={}, versions={}, events=Events(rows=0, trace_sha256=""), host=Host()
)


def test_shards_are_of_limited_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint_files, "SHARD", 4096)
    whole = played(FEDAVG, EVERY, folder=tmp_path / "whole")
    assert len(list((tmp_path / "whole" / "checkpoint" / "round-5").glob("values-*"))) > 3
    killed_after(tmp_path / "whole", tmp_path / "again", 3)
    with quick():
        assert_same(resuming.resume(tmp_path / "again"), whole)


def spoilt(run: Path, what: str) -> None:
    """Damage the latest checkpoint."""
    latest = found(run)[0].folder
    values, state, readings = next(latest.glob("values-*")), latest / "state.json", latest.parent / "readings.jsonl"
    if what == "values are missing":
        values.unlink()
    elif what == "a bit of a value is another":
        data = bytearray(values.read_bytes())
        data[-100] ^= 1
        values.write_bytes(data)
    elif what == "values are cut":
        values.write_bytes(values.read_bytes()[:-1])
    elif what == "the state is cut":
        state.write_text(state.read_text()[:-9])
    elif what == "it has another name":
        latest.rename(latest.with_name("round-77"))
    elif what == "readings were cut":
        readings.write_bytes(readings.read_bytes()[:-1])
    else:
        told = json.loads(state.read_text())
        told[what] = {
            "forms": None,
            "arithmetic": {},
            "format": 2,
            "round": "5",
            "scenario": 3,
            "host": {"wall_s": "1"},
        }[what]
        state.write_text(json.dumps(told))


@pytest.mark.parametrize(
    "what",
    ["values are missing", "a bit of a value is another", "values are cut", "the state is cut", "it has another name",
     "readings were cut", "forms", "arithmetic", "format", "round", "scenario", "host"],
)  # fmt: skip
def test_of_a_damaged_one_the_one_before_is_taken(what: str, tmp_path: Path) -> None:
    whole = played(FEDAVG, EVERY, folder=tmp_path / "whole")
    killed_after(tmp_path / "whole", tmp_path / "again", 5)
    spoilt(tmp_path / "again.partial", what)
    with quick():
        assert_same(resuming.resume(tmp_path / "again"), whole)
    assert rounds(tmp_path / "again") == [5, 4, 3, 2, 1]


def test_forms_that_name_something_else_are_refused_and_nothing_is_called(tmp_path: Path) -> None:
    played(FEDAVG, EVERY, folder=tmp_path / "run")
    state = found(tmp_path / "run")[0].folder / "state.json"
    told = json.loads(state.read_text())
    told["forms"] = [["object", "os", "system", {"command": f"touch {tmp_path / 'called'}"}] for _ in told["forms"]]
    state.write_text(json.dumps(told))
    with quick(), pytest.raises(RunFailed, match=r"a value cannot be read: os\.system is no dataclass"):
        resuming.resume(tmp_path / "run", ["protocol.rounds=7"])
    assert not (tmp_path / "called").exists()
    assert manifest.finished(tmp_path / "run")


def test_readings_leave_no_file_open(tmp_path: Path) -> None:
    """Who reads them counts them, and asks for none after the last."""
    played(FEDAVG, EVERY, folder=tmp_path / "run")
    readings = tmp_path / "run" / "checkpoint" / "readings.jsonl"
    told = found(tmp_path / "run")[0].readings()
    for _ in range(readings.read_bytes().count(b"\n")):
        next(told)
    assert readings not in {link.resolve() for link in Path("/proc/self/fd").iterdir()}


def test_what_others_keep_there_stays(tmp_path: Path) -> None:
    whole = played(FEDAVG, EVERY, folder=tmp_path / "whole")
    killed_after(tmp_path / "whole", tmp_path / "again", 2)
    for name in ("round-3.bak", "my-round-9", "round-note"):
        (tmp_path / "again.partial" / "checkpoint" / name).mkdir()
    with quick():
        assert_same(resuming.resume(tmp_path / "again"), whole)
    assert {"round-3.bak", "my-round-9", "round-note"} <= {
        path.name for path in (tmp_path / "again" / "checkpoint").iterdir()
    }


def test_what_a_kill_left_of_one_is_swept_away(tmp_path: Path) -> None:
    whole = played(FEDAVG, EVERY, folder=tmp_path / "whole")
    killed_after(tmp_path / "whole", tmp_path / "again", 2)
    place = tmp_path / "again.partial" / "checkpoint"
    shutil.copytree(place / "round-2", place / "round-3.partial")
    with (place / "readings.jsonl").open("a") as file:
        file.write('["evaluation", {"accuracy"')
    with quick():
        assert_same(resuming.resume(tmp_path / "again"), whole)
        assert all(each.whole for each in found(tmp_path / "again"))
        whole = played(FEDAVG, EVERY, "protocol.rounds=7", folder=tmp_path / "longer")
        assert_same(resuming.resume(tmp_path / "again", ["protocol.rounds=7"]), whole)
    assert not list(tmp_path.rglob("*.partial"))


@pytest.mark.parametrize("first", [1, 3])
def test_a_value_that_cannot_be_stored_is_a_note_and_earlier_ones_stay(
    first: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = Int8.decode

    def odd(self: Int8, data: Any, spec: Any, state: Any, context: MessageContext) -> Any:
        return decode(self, data, spec, state, context)[0], {1, 2} if context.round >= first else None

    monkeypatch.setattr(Int8, "decode", odd)
    results = played(FEDAVG, EVERY, "codec.adapters=[int8]", folder=tmp_path / "run")
    assert results.summary["complete"]
    assert [note for note in results.summary["notes"] if "checkpoint" in note] == [
        f"no checkpoint was taken from round {first} on: a value of type builtins.set cannot be stored"
    ]
    assert rounds(tmp_path / "run") == list(range(first - 1, 0, -1))
    assert (tmp_path / "run" / "checkpoint").exists() == (first > 1)


def test_they_stay_until_all_else_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(CheckpointOptions, "lasting", False)
    monkeypatch.setattr(closing, "_write_summary", full)
    with pytest.raises(RunFailed, match="No space left"):
        played(FEDAVG, EVERY, folder=tmp_path / "run")
    assert rounds(tmp_path / "run") == [5, 4, 3, 2, 1]


def test_a_disk_that_is_full_fails_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Any, *args: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint_files.Folder, "write", full)
    with pytest.raises(RunFailed, match="No space left"):
        played(FEDAVG, EVERY, folder=tmp_path / "run")


@pytest.mark.parametrize(
    "value",
    [
        "{every: 0}",
        "{every: -1}",
        "{every: true}",
        "{every: 0.5}",
        "{every: 1 ms}",
        "{every: 10 MB}",
        "{every: 5 rounds}",
        "{every: 1, keep: 0}",
        "{each: 1}",
    ],
)
def test_options_that_cannot_be(value: str) -> None:
    with pytest.raises(ScenarioError, match=r"checkpoint") as error:
        loaded(f"checkpoint={value}")
    assert len(error.value.faults) == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [("{}", "every 10 min on this machine, the last one; removed when the run has ended"),
     ("{every: 1}", "every round; the last one stays when the run has ended"),
     ("{every: 5, keep: 2}", "every 5 rounds; the last 2 stay when the run has ended"), ("{every: null}", "none")],
)  # fmt: skip
def test_check_says_when(options: str, said: str) -> None:
    made = loaded(f"checkpoint={options}")
    assert dict(understood.rows(checks.check(made)))["checkpoints"] == said
    timing = loaded(f"checkpoint={options}", "execution.mode=timing")
    assert "checkpoints" not in dict(understood.rows(checks.check(timing)))


# Which checkpoint belongs to which run ------------------------------------------------------------------------------


def test_another_version_of_what_numbers_depend_on_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    played(FEDAVG, EVERY, folder=tmp_path / "run")
    monkeypatch.setattr(closing, "versions", lambda: {**VERSIONS, "torch": "1.0"})
    with pytest.raises(InputError, match=rf"torch was {VERSIONS['torch'].split('+')[0]}\S*, is 1\.0"):
        resuming.resume(tmp_path / "run", ["protocol.rounds=7"])


VERSIONS = closing.versions()


def test_files_of_one_name_that_are_exchanged_are_noticed(tmp_path: Path) -> None:
    for name, words in (("a", 3), ("b", 5)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.txt").write_text("\n".join(f"{'ab'[n % 2]} word{n % words}" for n in range(40)))
    task = "task={kind: text_file, train: a/x.txt, test: b/x.txt, format: labelled_lines, batch_size: 4}"
    with quick():
        simulation.run(loaded(FEDAVG, EVERY, task, folder=tmp_path), tmp_path / "run")
    (tmp_path / "a").rename(tmp_path / "c")
    (tmp_path / "b").rename(tmp_path / "a")
    (tmp_path / "c").rename(tmp_path / "b")
    with pytest.raises(InputError, match=r"a/x\.txt has other contents.*b/x\.txt has other contents"):
        resuming.resume(tmp_path / "run", ["protocol.rounds=7"])


@pytest.mark.parametrize("which", ["test", "train"])
def test_other_inputs_are_refused(which: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Named by relative paths, as they usually are."""
    for name in ("train", "test"):
        (tmp_path / f"{name}.txt").write_text("\n".join(f"{'ab'[n % 2]} word{n % 7} word{n % 5}" for n in range(40)))
    task = "task={kind: text_file, train: train.txt, test: test.txt, format: labelled_lines, batch_size: 4}"
    with quick():
        whole = simulation.run(loaded(FEDAVG, EVERY, task, folder=tmp_path), tmp_path / "run")
        killed_after(tmp_path / "run", tmp_path / "again", 3)
        assert_same(resuming.resume(tmp_path / "again"), whole)
        (tmp_path / f"{which}.txt").write_text("\n".join(f"{'ab'[n % 2]} word{n % 3}" for n in range(40)))
        with pytest.raises(InputError, match=rf"{which}\.txt has other contents"):
            resuming.resume(tmp_path / "run", ["protocol.rounds=7"])


def test_a_scenario_that_was_edited_is_refused(tmp_path: Path) -> None:
    played(FEDAVG, EVERY, folder=tmp_path / "run")
    path = tmp_path / "run" / "scenario.yaml"
    path.write_text(path.read_text().replace("local_steps: 1", "local_steps: 2"))
    with pytest.raises(InputError, match=r"protocol\.local_steps was 1, is 2"):
        resuming.resume(tmp_path / "run", ["protocol.rounds=7"])


def test_a_run_that_was_played_otherwise_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As by a program that changed and kept its version."""
    played(FEDAVG, EVERY, folder=tmp_path / "run")
    state = tmp_path / "run" / "checkpoint" / "round-5" / "state.json"
    told = json.loads(state.read_text())
    told["events"]["rows"] += 1
    state.write_text(json.dumps(told))
    with quick(), pytest.raises(RunFailed, match="the event tables differ"):
        resuming.resume(tmp_path / "run", ["protocol.rounds=7"])
    assert manifest.finished(tmp_path / "run"), "the run that had ended is there"
