"""The same cut for everyone, and which cuts are valid."""

from __future__ import annotations

import pytest

from elsa_sim.base.errors import InputFaults
from elsa_sim.learning.splits.fixed import FixedSplit
from elsa_sim.learning.splits.pattern import U_SHAPED, head_at


def test_cuts_that_are_valid_are_said() -> None:
    FixedSplit(p=2, q=1).check(4, U_SHAPED)
    with pytest.raises(InputFaults, match=r"p \+ q = 3 leaves no layer .* valid: p \+ q <= 2"):
        FixedSplit(p=2, q=1).check(3, U_SHAPED)


def test_without_a_tail_on_the_client_one_more_layer_may_be_there() -> None:
    FixedSplit(p=2).check(3, head_at("cloud"))
    with pytest.raises(InputFaults, match=r"leaves no layer"):
        FixedSplit(p=3).check(3, head_at("cloud"))
