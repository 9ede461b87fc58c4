"""The life of a run directory: nothing that finished, and nothing of somebody else's, is ever lost."""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from elsa_sim.base.errors import InputError, RunFailed
from elsa_sim.results.event_table import Recorder
from elsa_sim.results.manifest import finished, listed
from elsa_sim.run import folder as module
from elsa_sim.run.folder import Busy, Draft, Earlier, opened


def play(path: Path, seed: int, complete: bool = True) -> None:
    """What a run writes."""
    (path / "scenario.yaml").write_text(f"seed: {seed}")
    (path / "topology.json").write_text("{}")
    recorder = Recorder(path)
    recorder.add("idle", 0.0, 1.0, "a")
    recorder.close()
    (path / "rounds.csv").write_text(f"{seed}")
    (path / "summary.json").write_text(json.dumps({"seed": seed, "complete": complete}))
    (path / "figures").mkdir()
    (path / "figures" / "timeline.png").write_text(f"{seed}")


def run(folder: Path, seed: int, earlier: Earlier = "refuse", *, complete: bool = True, killed: bool = False) -> None:
    if killed:
        draft = Draft(folder, earlier)
        play(draft.path, seed, complete)
        draft.leave()
        return
    with opened(folder, earlier) as draft:
        play(draft.path, seed, complete)
        if not complete:
            raise RunFailed("no luck")


def seed_of(folder: Path) -> int:
    """Which run a folder holds; all of its files are of that run."""
    seed = json.loads((folder / "summary.json").read_text())["seed"]
    assert (folder / "scenario.yaml").read_text() == f"seed: {seed}"
    assert (folder / "rounds.csv").read_text() == (folder / "figures" / "timeline.png").read_text() == str(seed)
    return int(seed)


def there(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_appears_when_its_run_has_ended(tmp_path: Path) -> None:
    out = tmp_path / "a" / "b"
    with opened(out) as draft:
        assert draft.path == tmp_path / "a" / "b.partial"
        play(draft.path, 1)
        assert not out.exists()
    assert seed_of(out) == 1
    assert there(out.parent) == ["b"]
    assert listed(out) == ["events.parquet", "figures/timeline.png", "manifest.json", "rounds.csv", "scenario.yaml",
                           "summary.json", "topology.json"]  # fmt: skip
    assert set(there(out)) == {name.partition("/")[0] for name in listed(out) or ()}


@pytest.mark.parametrize("complete", [True, False])
def test_what_comes_there_meanwhile_is_not_replaced(tmp_path: Path, complete: bool) -> None:
    out = tmp_path / "out"

    def played() -> None:
        with opened(out) as draft:
            play(draft.path, 1, complete)
            out.mkdir()
            (out / "mine").write_text("mine")
            if not complete:
                raise RunFailed("no luck")

    with pytest.raises(InputError if complete else RunFailed) as told:
        played()
    said = str(told.value) if complete else told.value.__notes__[0]
    assert said == f"{out}: somebody else put something there meanwhile; the run is in {out}.partial"
    assert there(out) == ["mine"]
    assert seed_of(tmp_path / "out.partial") == 1


def test_an_empty_folder_is_fine(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    run(tmp_path / "out", 1)
    assert seed_of(tmp_path / "out") == 1
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    run(tmp_path / "link", 2)
    assert (tmp_path / "link").is_symlink()
    assert seed_of(tmp_path / "real") == 2


def test_a_run_that_is_there_stays_unless_asked(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(out, 1)
    with pytest.raises(
        InputError, match=r"out: holds a run that has ended; name another folder, or replace it .*--force"
    ):
        run(out, 2)
    assert seed_of(out) == 1
    run(out, 2, "replace")
    assert seed_of(out) == 2
    assert there(tmp_path) == ["out"]


def test_it_makes_way_when_the_new_one_has_ended_and_for_one_that_finished(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(out, 1)
    with opened(out, "replace") as draft:
        assert seed_of(out) == 1
        play(draft.path, 2)
        assert seed_of(out) == 1
    assert seed_of(out) == 2
    with pytest.raises(RunFailed) as told:
        run(out, 3, "replace", complete=False)
    assert told.value.__notes__ == [f"what was recorded is in {out}.partial: {out} keeps the run that finished there"]
    assert (seed_of(out), seed_of(tmp_path / "out.partial")) == (2, 3)
    with pytest.raises(ValueError, match="bad"), opened(out, "replace"):
        raise ValueError("bad")  # before anything was recorded
    assert (seed_of(out), seed_of(tmp_path / "out.partial")) == (2, 3)
    run(out, 4, "replace")
    assert seed_of(out) == 4
    assert there(tmp_path) == ["out"]


def test_a_run_that_failed_makes_way_for_any(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for seed in (1, 2):
        with pytest.raises(RunFailed):
            run(out, seed, "replace", complete=False)
        assert seed_of(out) == seed
    assert there(tmp_path) == ["out"]


def test_what_somebody_else_keeps_there_is_kept(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(out, 1)
    (out / "notes.txt").write_text("mine")
    (out / "data").mkdir()
    (out / "data" / "rounds.csv").write_text("mine")
    (out / "figures" / "mine.png").write_text("mine")
    (out / "figures" / "deep").mkdir()
    run(out, 2, "replace")
    assert seed_of(out) == 2
    for name in ("notes.txt", "data/rounds.csv", "figures/mine.png"):
        assert (out / name).read_text() == "mine"
    assert (out / "figures" / "deep").is_dir()
    assert there(tmp_path) == ["out"]


def test_a_file_whose_name_the_new_run_needs_gets_another(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(out, 1)
    (out / "figures" / "staleness.png").write_text("mine")
    with opened(out, "replace") as draft:
        play(draft.path, 2)
        (draft.path / "figures" / "staleness.png").write_text("2")
    assert (out / "figures" / "staleness.png").read_text() == "2"
    assert (out / "figures" / "staleness.png-2").read_text() == "mine"


@pytest.mark.parametrize("earlier", ["refuse", "replace"])
def test_a_folder_of_somebody_else_is_refused(tmp_path: Path, earlier: Earlier) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "rounds.csv").write_text("mine")
    (out / "figures").mkdir()
    (out / "figures" / "timeline.png").write_text("mine")
    with pytest.raises(InputError, match=r"out: holds figures and 1 more, which no run wrote; name another folder$"):
        run(out, 1, earlier)
    assert (out / "rounds.csv").read_text() == (out / "figures" / "timeline.png").read_text() == "mine"
    assert there(tmp_path) == ["out"]


def test_a_directory_of_an_earlier_version_has_no_manifest(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(out, 1)
    (out / "manifest.json").unlink()
    (out / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="--force"):
        run(out, 2)
    run(out, 2, "replace")
    assert seed_of(out) == 2
    assert (out / "notes.txt").read_text() == "mine"
    assert there(tmp_path) == ["out"]


def test_a_manifest_says_nothing_of_files_elsewhere(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(out, 1)
    (tmp_path / "precious").write_text("mine")
    (out / "manifest.json").write_text(json.dumps({"files": ["../precious", str(tmp_path / "precious"), "", 3]}))
    run(out, 2, "replace")
    assert (tmp_path / "precious").read_text() == "mine"


def test_two_runs_never_write_into_one_folder(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for earlier in ("refuse", "replace", "continue"):
        with opened(out, "replace") as draft:
            with pytest.raises(Busy, match=rf"out: another run \(process {os.getpid()}\) is being written there"):
                Draft(out, earlier)  # type: ignore[arg-type]
            play(draft.path, 1)
        assert seed_of(out) == 1


def test_what_a_kill_leaves_is_told_and_kept_unless_asked(tmp_path: Path) -> None:
    out, partial = tmp_path / "out", tmp_path / "out.partial"
    run(out, 1, killed=True, complete=False)
    with pytest.raises(
        InputError,
        match=r"out\.partial holds what a run that was killed recorded; 'elsa-sim resume .*'elsa-sim plot .*--force",
    ):
        run(out, 2)
    assert seed_of(partial) == 1
    run(out, 2, "replace", killed=True)  # the next one is killed, too
    assert (seed_of(partial), seed_of(tmp_path / "out.partial-2")) == (2, 1)
    with pytest.raises(InputError, match=r"out\.partial holds a run that ended, and was killed before it had its name"):
        run(out, 3)
    with pytest.raises(RunFailed):
        run(out, 3, "replace", complete=False)
    assert {seed_of(tmp_path / name) for name in there(tmp_path)} == {1, 2, 3}  # 2 finished, 3 did not
    assert seed_of(out) == 3


def test_what_a_kill_left_goes_when_another_has_ended(tmp_path: Path) -> None:
    run(tmp_path / "out", 1, killed=True, complete=False)
    (tmp_path / "out.partial" / "notes.txt").write_text("mine")
    run(tmp_path / "out", 2, "replace")
    assert there(tmp_path) == ["out"]
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"


def test_a_run_killed_before_it_recorded_anything_is_in_nobodys_way(tmp_path: Path) -> None:
    draft = Draft(tmp_path / "out")
    (draft.path / "scenario.yaml").write_text("x")
    (draft.path / "topology.json.partial").write_text("x")
    Recorder(draft.path)
    draft.leave()
    run(tmp_path / "out", 1)
    assert seed_of(tmp_path / "out") == 1
    assert there(tmp_path) == ["out"]


def test_one_can_go_on_with_what_a_kill_left(tmp_path: Path) -> None:
    run(tmp_path / "out", 1, killed=True)
    with opened(tmp_path / "out", "continue") as draft:
        assert seed_of(draft.path) == 1
    assert seed_of(tmp_path / "out") == 1


def interrupted(folder: Path, settle: bool) -> KeyboardInterrupt:
    with pytest.raises(KeyboardInterrupt) as told:
        _interrupted(folder, settle)
    return told.value


def _interrupted(folder: Path, settle: bool) -> None:
    with opened(folder, "replace", settle_failed=settle) as draft:
        play(draft.path, 1, complete=False)
        raise KeyboardInterrupt


def test_an_interrupted_run_has_its_name_or_is_left(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert interrupted(out, True).__notes__ == [f"what was recorded is in {out}"]
    assert there(tmp_path) == ["out"]
    assert not hasattr(interrupted(out, False), "__notes__")
    assert there(tmp_path) == ["out", "out.partial"]


@pytest.mark.parametrize("name", ["fsync", "rename"])
def test_what_cannot_have_its_name_stays_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    out = tmp_path / "out"
    run(out, 1)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    draft = Draft(out, "replace")
    play(draft.path, 2)
    with monkeypatch.context() as patch:
        patch.setattr(*((os, "fsync") if name == "fsync" else (Path, "rename")), full)  # type: ignore[call-overload]
        with pytest.raises(RunFailed, match=r"the run is in .*out\.partial, which cannot be renamed: No space left"):
            draft.settle()
    assert (seed_of(out), seed_of(tmp_path / "out.partial")) == (1, 2)


def test_a_rename_that_fails_takes_the_other_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    run(out, 1)
    rename: Callable[[Path, Path], Path] = Path.rename

    def second(self: Path, target: Path) -> Path:
        if self.name == "out.partial":
            raise OSError(errno.EACCES, "no")
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", second)
        with pytest.raises(InputError, match="cannot be renamed: no"):
            run(out, 2, "replace")
    assert (seed_of(out), seed_of(tmp_path / "out.partial")) == (1, 2)
    assert finished(tmp_path / "out.partial")


def test_a_kill_at_any_step_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every call that changes names or files of folders is the last one, in turn."""
    done = 0
    while True:
        done += 1
        folder = tmp_path / str(done)
        out = folder / "out"
        run(out, 1)
        (out / "notes.txt").write_text("mine")
        run(out, 2, "replace", killed=True)
        draft = Draft(out, "replace")
        play(draft.path, 3)
        left = [done]

        class Killed(BaseException):
            pass

        def counted(name: str, left: list[int] = left, killed: type[BaseException] = Killed) -> Callable[..., object]:
            inner = getattr(Path, name)

            def call(*args: object, **options: object) -> object:
                left[0] -= 1
                if left[0] < 0:
                    raise killed
                return inner(*args, **options)

            return call

        with monkeypatch.context() as patch:
            for name in ("rename", "unlink", "rmdir", "replace"):
                patch.setattr(Path, name, counted(name))
            try:
                draft.settle()
                ended = True
            except Killed:
                ended = False
        runs = {json.loads(path.read_text())["seed"] for path in folder.glob("*/summary.json")}
        assert 3 in runs
        if not (out.exists() and seed_of(out) == 3):
            assert runs == {1, 2, 3}
        assert [path.read_text() for path in folder.rglob("notes*")] == ["mine"]
        if ended:
            assert there(folder) == ["out"]
            break
    assert done > 20


@pytest.mark.parametrize(("name", "words"), [("file", "is a file; name a folder"), ("file/deep", "no run can be written there"),
                                             ("x" * 5000, "no run can be written there: File name too long"),
                                             ("/proc", "is a mount point"), ("/proc/no", "no run can be written")])  # fmt: skip
def test_a_place_that_cannot_be(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match=re.escape(words)) as told:
        run(tmp_path / name, 1)
    assert len(str(told.value)) < 400
    assert (tmp_path / "file").read_text() == "mine"


def test_the_current_folder_cannot_be_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"\.: is the current folder"):
        run(Path(), 1)


def test_a_full_disk_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(module, "Lock", full)
    with pytest.raises(RunFailed, match="no run can be written there: No space left on device"):
        run(tmp_path / "out", 1)
