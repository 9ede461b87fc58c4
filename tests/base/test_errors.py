"""Exceptions: what belongs to which exit status, and what a fault says."""

from __future__ import annotations

import pickle
import re

import pytest

from elsa_sim.base import errors
from elsa_sim.base.errors import Fault, InputError, InputFaults, RunFailed, ScenarioError, portable


def test_every_exception_is_bad_input_or_a_failed_run() -> None:
    named = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, Exception)]
    assert len(named) > 5
    for each in set(named) - {errors.ElsaError}:
        assert issubclass(each, InputError) != issubclass(each, RunFailed)
        assert each.__name__ in (errors.__doc__ or ""), "the tree in the docstring lacks it"


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (Fault("protocol.rounds", "must be at least 1", 4), "line 4: protocol.rounds: must be at least 1"),
        (Fault("protocol.rounds", "must be at least 1"), "protocol.rounds: must be at least 1"),
        (Fault("", "is no mapping", 1), "line 1: is no mapping"),
        (Fault("", "is no mapping"), "is no mapping"),
    ],
)
def test_a_fault_says_where(fault: Fault, text: str) -> None:
    assert str(fault) == text


def test_all_faults_are_listed() -> None:
    faults = [Fault("a", "wrong", 1), Fault("b", "wrong, too", 2)]
    assert str(InputFaults(faults)) == "line 1: a: wrong\nline 2: b: wrong, too"
    assert str(ScenarioError("x.yaml", faults)) == "x.yaml: 2 faults\n  line 1: a: wrong\n  line 2: b: wrong, too"
    assert str(ScenarioError("x.yaml", faults[:1])).splitlines()[0] == "x.yaml: 1 fault"
    assert InputFaults(faults).faults == ScenarioError("x.yaml", faults).faults == tuple(faults)


def test_what_nobody_raises_on_purpose_is_told_in_one_line_with_its_place() -> None:
    def slip() -> None:
        raise KeyError("no\nsuch")

    try:
        slip()
    except KeyError as error:
        kept = error
    assert re.fullmatch(r"KeyError: 'no.*such' \(test_errors\.py, line \d+\)", errors.unexpected(kept))
    copy = KeyError(*kept.args)
    copy.__cause__ = kept  # as SimPy does
    assert errors.unexpected(copy) == errors.unexpected(kept)
    assert errors.unexpected(ValueError()) == "ValueError"


class Odd(Exception):
    """One that cannot be made from its message."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} {two}")


def test_an_exception_that_cannot_be_built_again_is_told() -> None:
    same = pickle.loads(portable(ValueError("a", 3)))
    assert type(same) is ValueError
    assert same.args == ("a", 3)
    told = pickle.loads(portable(Odd("no", "luck")))
    assert type(told) is RuntimeError
    assert str(told) == "Odd: no luck"
