"""What differs between the scenarios of runs, and whether what they learned is on a common axis."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .run_directory import Results

#: What of a scenario changes no number of a run.
WITHOUT_EFFECT = ("name", "adapters", "checkpoint")
#: What of a task changes how is trained, not what is asked in a test.
OF_TRAINING = ("task.batch_size", "task.public", "task.train_size")
#: Digits of a digest that a message shows.
DIGITS = 8


def differences(runs: Sequence[Results], without: Sequence[str] = ()) -> dict[str, list[Any]]:
    """Key path -> its value in each run's scenario (``None``: it has none), for keys whose values differ.

    Keys that all of them have come first. A file counts by its contents, where the run knows them. What has no effect is left
    out, and so are the keys ``without``.
    """
    found = [_contents(run) for run in runs]
    keys = [key for key in dict.fromkeys(key for each in found for key in each)
            if key not in without and key.partition(".")[0] not in WITHOUT_EFFECT]  # fmt: skip
    differing = {key: [each.get(key) for each in found] for key in keys if not _one(each.get(key) for each in found)}
    ordered = sorted(differing, key=lambda key: any(value is None for value in differing[key]))
    return {key: _told(differing[key]) for key in ordered}


def other_task(runs: Sequence[Results]) -> str | None:
    """Why what the runs learned is on no common axis: the key that differs, with its values; ``None``: it is on one.

    It is where the same test is asked. Accuracies of other backbones are; losses and perplexities per token are not, as their
    tokens may be others. Nothing is known of a run without its scenario.
    """
    known = [run for run in runs if run.scenario]
    tested = [dict(_test(run)) for run in known]
    for key in dict.fromkeys(key for each in tested for key in each):
        values = [each.get(key) for each in tested]
        if not _one(values):
            shown = list(dict.fromkeys(map(text, _told(values))))
            return f"{key} differs ({'; '.join(shown[:4])}{'; ...' if len(shown) > 4 else ''})"
    return None


def text(value: Any) -> str:
    """A value of a scenario as a table shows it."""
    if isinstance(value, list):
        return "[" + ", ".join(map(text, value)) + "]"
    if isinstance(value, float):
        return f"{value:.15g}"
    return {None: "–", True: "true", False: "false"}[value] if value is None or isinstance(value, bool) else str(value)


def flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Key paths and values of a scenario; lists of mappings by their indices, empty ones not at all."""
    if isinstance(value, Mapping):
        items = list(value.items())
    elif isinstance(value, list) and any(isinstance(each, Mapping) for each in value):
        items = list(enumerate(value))
    else:
        if value is not None and value != []:
            yield path, value
        return
    for key, each in items:
        yield from flat(each, f"{path}.{key}" if path else str(key))


class _File(str):
    """A file's name in a scenario, which is compared by the digest of its contents."""

    digest: str

    def __new__(cls, name: str, digest: str) -> _File:
        made = super().__new__(cls, name)
        made.digest = digest
        return made

    def __eq__(self, other: object) -> bool:
        return self.digest == other.digest if isinstance(other, _File) else str.__eq__(self, other)

    __hash__ = str.__hash__


def _contents(run: Results) -> dict[str, Any]:
    digests = run.summary.get("inputs") or {}
    return {key: _File(value, digests[value]) if isinstance(value, str) and value in digests else value
            for key, value in flat(run.scenario)}  # fmt: skip


def _test(run: Results) -> Iterator[tuple[str, Any]]:
    """What of a scenario decides what is asked in its tests."""
    of_run = _contents(run)
    for key, value in of_run.items():
        if key.startswith("task.") and key not in OF_TRAINING and not (key == "task.train" and "task.test" in of_run):
            yield key, value
    if of_run.get("task.objective") == "causal_lm":
        yield "backbone.name", of_run.get("backbone.name")


def _one(values: Any) -> bool:
    """Whether all values are the same."""
    first, *others = values
    return all(each == first and isinstance(each, bool) == isinstance(first, bool) for each in others)


def _told(values: Sequence[Any]) -> list[Any]:
    """Values of a key; files of one name with the digests of their contents."""
    names = {str(each) for each in values if isinstance(each, _File)}
    if len(names) == 1 and all(isinstance(each, _File) for each in values):
        return [f"{each} (SHA-256 {each.digest[:DIGITS]}...)" for each in values]
    return [str(each) if isinstance(each, _File) else each for each in values]
