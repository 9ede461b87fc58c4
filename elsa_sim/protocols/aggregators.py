"""Which servers of a protocol aggregate, of how many members, and whether their rule can.

Tested in tests/protocols/test_aggregation.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..base.errors import Fault
from ..learning.aggregation.base import Aggregation


@dataclass(frozen=True)
class Aggregator:
    """A server that aggregates what at most so many ``members`` send at once, by ``rule``, the option at ``key``."""

    server: str
    members: int
    what: str
    rule: Aggregation
    key: str = "aggregation"


def faults(aggregators: Iterable[Aggregator], more: str = "") -> Iterator[Fault]:
    """The rules that have too few members somewhere, one fault for each option; ``more`` is a way out besides."""
    short = [each for each in aggregators if each.members < each.rule.least]
    for key in dict.fromkeys(each.key for each in short):
        worst = min((each for each in short if each.key == key), key=lambda each: each.members)
        what = f"{worst.server} aggregates at most {worst.members} at once ({worst.what})"
        what += f"; {worst.rule.kind} needs at least {worst.rule.least}"
        yield Fault(key, f"{what}; valid there: {', '.join(_valid(worst))}{more}")


def _valid(refused: Aggregator) -> list[str]:
    """The rules that do with the members there are, as they are without options; not the one that was refused."""
    optional = [
        kind for kind, rule in sorted(Aggregation.members.items())
        if not any(field.is_required() for field in rule.model_fields.values())
    ]  # fmt: skip
    least = {kind: Aggregation.members[kind]().least for kind in optional}  # type: ignore[attr-defined]
    return [kind for kind in optional if least[kind] <= refused.members and kind != refused.rule.kind]
