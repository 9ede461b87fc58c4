"""Options that may hold distributions, brought up to date with the distributions of plugins.

Which kinds a field may hold is known when the model of its options is built; plugins come later.
Tested in tests/populations/test_plugged.py.
"""

from __future__ import annotations

from pydantic import BaseModel

from ..devices import Downtime, PowerOptions, Straggler
from ..populations import Distribution, Mixture
from ..topology import LinkOptions, TopologySource


def renew_drawables() -> None:
    """Build the models again of options that may hold distributions, if a plugin defines one."""
    if all(kind.__module__.startswith("elsa_sim.") for kind in Distribution.members.values()):
        return
    of_families = [member for family in (TopologySource, Straggler, Downtime) for member in family.members.values()]
    models: tuple[type[BaseModel], ...] = (*Mixture.__subclasses__(), PowerOptions, LinkOptions, *of_families)
    for model in models:
        model.model_rebuild(force=True)
