"""All components there are, those of installed plugins too, and options brought up to date with them.

Which kinds of distributions a field may hold is known when the model of its options is built; plugins come later.
Tested in tests/populations/test_plugged.py and tests/scenario/test_model.py.
"""

from __future__ import annotations

from functools import cache

from pydantic import BaseModel

from ..base.registry import discover, load_entry_points
from ..devices import Downtime, PowerOptions, Straggler
from ..populations import Distribution, Mixture
from ..topology import LinkOptions, TopologySource

#: Packages whose modules define components.
PACKAGES = (
    "codecs",
    "learning.aggregation.rules",
    "learning.misbehaviour",
    "learning.splits",
    "learning.tasks",
    "links",
    "transports",
    "privacy.attacks",
    "protocols",
    "selection",
    "topology",
    "populations",
    "wireless",
)


@cache
def discovered() -> None:
    """Have every component define itself: the program's own, and those of installed plugins."""
    for package in PACKAGES:
        discover(f"elsa_sim.{package}")
    load_entry_points()


def renew_drawables() -> None:
    """Build the models again of options that may hold distributions, if a plugin defines one."""
    if all(kind.__module__.startswith("elsa_sim.") for kind in Distribution.members.values()):
        return
    of_families = [member for family in (TopologySource, Straggler, Downtime) for member in family.members.values()]
    models: tuple[type[BaseModel], ...] = (*Mixture.__subclasses__(), PowerOptions, LinkOptions, *of_families)
    for model in models:
        model.model_rebuild(force=True)
