"""The first few of many, and how many more."""

from elsa_sim.base.listing import listed


def test_few_are_listed_whole() -> None:
    assert listed([]) == ""
    assert listed(["a", 2]) == "a, 2"
    assert listed("abcde") == "a, b, c, d, e"


def test_of_many_the_first_and_a_number() -> None:
    assert listed("abcdef") == "a, b, c, d, e and 1 more"
    assert listed(range(20), 3) == "0, 1, 2 and 17 more"


def test_quoted_and_shortened() -> None:
    assert listed(["a b", "c"], 1, quoted=True) == "'a b' and 1 more"
    assert listed(["x" * 61]) == "x" * 57 + "..."
    assert listed(["x" * 60], quoted=True) == repr("x" * 60)
