"""The life of a run directory: written beside its place under another name, and given its own when the run has ended.

While a run goes on, everything is in ``NAME.partial``, with a lock that ends with the process. A run that ends, fails or is
interrupted gives the folder its name by a rename, when the disk has it all. So what has the name is whole, two runs never
write into one folder, and what a kill leaves stays ``NAME.partial``, which loads as well.

Nothing is replaced but what a run wrote, only if asked, and only when the new run has ended; a run that finished makes way
for one that finished only.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Literal

from ..base.errors import ElsaError, InputError, RunFailed
from ..base.locks import Held, Lock
from ..base.writing import is_full, refused, shown, synchronise, synchronise_names
from ..results import manifest
from ..results.manifest import partial_of

#: What becomes of what an earlier run left: told and kept, replaced once the new run has ended, or gone on with (a partial).
Earlier = Literal["refuse", "replace", "continue"]


#: Folders of a run directory that a run makes.
_OWN = (manifest.FIGURES, manifest.ADAPTERS, manifest.CHECKPOINT)


class Busy(InputError):
    """Another run is being written there."""


class Draft:
    """A run directory that is being written, in ``path``; it is to become ``final``."""

    def __init__(self, folder: Path, earlier: Earlier = "refuse") -> None:
        self.final = Path(os.path.realpath(folder))
        self.path = partial_of(self.final)
        self.shown = shown(folder)
        #: Whether it has its name.
        self.settled = False
        self._replaced: Path | None = None
        self._earlier = earlier
        _usable(self.final, self.shown, earlier)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            self.path.mkdir()
        self._lock = self._locked()
        try:
            if earlier != "continue":
                self._make_room(earlier)
        except BaseException:
            self._lock.release()
            raise

    def _locked(self) -> Lock:
        try:
            return Lock(self.path / manifest.LOCK)
        except Held as held:
            who = f" (process {held})" if str(held) else ""
            raise Busy(f"{self.shown}: another run{who} is being written there") from None

    def _make_room(self, earlier: Earlier) -> None:
        """Put what a killed run left out of the way; what recorded nothing goes at once."""
        if manifest.holds_nothing(self.path):
            self.clear()
            if len(os.listdir(self.path)) == 1:
                return
        if earlier == "refuse":
            left = shown(self.path)
            what = "a run that ended, and was killed before it had its name" if manifest.finished(self.path) else (
                "what a run that was killed recorded")  # fmt: skip
            raise InputError(
                f"{self.shown}: {left} holds {what}; 'elsa-sim resume {self.shown}' goes on with it, 'elsa-sim plot {left}' "
                "shows it; rename or delete it, name another folder, or replace it once the new run has ended (--force, "
                "earlier='replace')"
            )
        aside = _free(self.path)
        self.path.rename(aside)
        self._lock.release()
        self.path.mkdir()
        self._lock, self._replaced = self._locked(), aside

    @property
    def recorded(self) -> bool:
        """Whether anything of a run is in it that is worth keeping."""
        there = any((self.path / name).exists() for name in ("summary.json", manifest.REASON))
        return there or not manifest.holds_nothing(self.path)

    def clear(self, keep: Collection[str] = ()) -> None:
        """Remove what a run wrote into it, but for what is in the folders to ``keep``."""
        kept = {manifest.LOCK, *keep}
        _remove(self.path, [name for name in manifest.written(self.path) if PurePosixPath(name).parts[0] not in kept])

    def settle(self) -> None:
        """Give the folder its name, unless a run that finished has it, and this one did not.

        Raises:
            InputError: it cannot have the name; it stays where it is.
            RunFailed: the disk is full; likewise.
        """
        if self._earlier == "refuse" and self.final.is_dir() and os.listdir(self.final):
            self._lock.release()
            raise InputError(
                f"{self.shown}: somebody else put something there meanwhile; the run is in {shown(self.path)}"
            )
        try:
            finished = manifest.finished(self.path)
            try:
                manifest.write(self.path)
            except OSError as error:  # the names of its files tell a run directory, too
                if not is_full(error):
                    raise
            synchronise(self.path)
            if finished or not manifest.finished(self.final):
                self._rename()
                if self._replaced is not None and (finished or not manifest.finished(self._replaced)):
                    _dissolve(self._replaced, self.final)
                (self.final / manifest.LOCK).unlink(missing_ok=True)
                self.settled = True
        except OSError as error:
            raise refused(error, f"{self.shown}: the run is in {shown(self.path)}, which cannot be renamed") from None
        finally:
            self._lock.release()

    def _rename(self) -> None:
        old: Path | None = None
        with suppress(OSError):
            self.final.rmdir()  # an empty folder
        if self.final.is_dir():
            old = _free(self.final.with_name(f"{self.final.name}.replaced"))
            self.final.rename(old)
        try:
            self.path.rename(self.final)
        except OSError:
            if old is not None:
                old.rename(self.final)
            raise
        synchronise_names(self.final.parent)
        if old is not None:
            _dissolve(old, self.final)

    def leave(self) -> None:
        """Let it lie, as a kill would."""
        self._lock.release()

    def drop(self) -> None:
        """Remove it: nothing was recorded."""
        _remove(self.path, manifest.written(self.path))
        with suppress(OSError):  # somebody else's file is in it
            self.path.rmdir()
        if self._replaced is not None:
            with suppress(OSError):
                self._replaced.rename(self.path)
        self._lock.release()


@contextmanager
def opened(folder: Path, earlier: Earlier = "refuse", *, settle_failed: bool = True) -> Iterator[Draft]:
    """A run directory to write; at the end it gets its name, also if the run failed or was interrupted.

    What is raised within and ends with the run directory elsewhere than in ``folder`` has a note that says where.
    With ``settle_failed`` false, what is raised within leaves it as a kill would. Not safe from interrupts by itself: see
    :class:`..base.interrupts.Shield`.

    Raises:
        Busy: another run is being written there.
        InputError: ``folder`` holds something that may not be replaced, or cannot be written to.
        RunFailed: the disk is full.
    """
    try:
        draft = Draft(folder, earlier)
    except OSError as error:
        raise refused(error, f"{shown(folder)}: no run can be written there") from None
    try:
        yield draft
    except BaseException as error:
        if not draft.recorded:
            draft.drop()
        elif not settle_failed:
            draft.leave()
        else:
            try:
                draft.settle()
            except ElsaError as other:
                error.add_note(str(other))
            else:
                _say(draft, error)
        raise
    else:
        if draft.recorded:
            draft.settle()
        else:
            draft.drop()


def _say(draft: Draft, error: BaseException) -> None:
    if not draft.settled:
        error.add_note(f"what was recorded is in {shown(draft.path)}: {draft.shown} keeps the run that finished there")
    elif isinstance(error, KeyboardInterrupt | RunFailed):
        ended = manifest.finished(draft.final)
        error.add_note(f"{'the run had ended, and' if ended else 'what was recorded'} is in {draft.shown}")


def _usable(folder: Path, told: str, earlier: Earlier) -> None:
    """Refuse a place that is something else."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise InputError(f"{told}: is a file; name a folder")
    if os.path.ismount(folder):
        raise InputError(f"{told}: is a mount point, which a run directory cannot replace; name a folder in it")
    with suppress(FileNotFoundError):
        if folder.samefile(Path.cwd()):
            raise InputError(
                f"{told}: is the current folder, which a run directory cannot replace; name another folder"
            )
    inside = sorted(os.listdir(folder))
    if not inside:
        return
    if earlier != "continue" and not manifest.is_run_directory(folder):
        more = f" and {len(inside) - 1} more" if len(inside) > 1 else ""
        raise InputError(f"{told}: holds {shown(inside[0])}{more}, which no run wrote; name another folder")
    if earlier == "refuse":
        what = "a run that has ended" if (folder / "summary.json").exists() else "what a run that was killed recorded"
        raise InputError(
            f"{told}: holds {what}; name another folder, or replace it once the new run has ended (--force, earlier='replace')"
        )


def _free(path: Path) -> Path:
    """``path-2``, ``path-3``, ...: the first that is not taken."""
    number = 2
    while (free := path.with_name(f"{path.name}-{number}")).exists():
        number += 1
    return free


def _dissolve(old: Path, into: Path) -> None:
    """Remove what a run wrote in ``old``; what somebody else keeps there goes to the same place in ``into``."""
    _remove(old, manifest.written(old))
    _move(old, into, _OWN)


def _move(old: Path, into: Path, shared: Collection[str] | None = None) -> None:
    """Move what is in ``old`` to ``into``; folders that both have are joined (only those ``shared``, if stated)."""
    for path in sorted(old.iterdir()):
        target = into / path.name
        both = path.is_dir() and not path.is_symlink() and target.is_dir()
        if both and (shared is None or path.name in shared):
            _move(path, target)
        else:
            path.rename(_free(target) if os.path.lexists(target) else target)
    old.rmdir()


def _remove(folder: Path, names: Iterable[str]) -> None:
    """Remove files of a run, and the folders that they were in where nothing is left."""
    places: set[PurePosixPath] = set()
    for name in names:
        (folder / name).unlink(missing_ok=True)
        places |= set(PurePosixPath(name).parents[:-1])
    for place in sorted(places, key=lambda each: len(each.parts), reverse=True):
        with suppress(OSError):  # something of somebody else's is in it
            (folder / place).rmdir()
