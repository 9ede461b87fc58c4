"""elsa-sim: a discrete-event network co-simulator for split and hierarchical federated fine-tuning.

::

    import elsa_sim

    loaded = elsa_sim.load_scenario("scenarios/quickstart.yaml", ["protocol.rounds=2"])
    results = elsa_sim.run(loaded)
    results.rounds          # one row per evaluation (pandas)
    results.events          # one row per compute, transfer, aggregation, evaluation, fault

Names are imported when they are first used. What a plugin may import is in `elsa_sim.plugins`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .base.lazy import lazy_names
from .version import __version__

if TYPE_CHECKING:
    from .base.errors import Divergence as Divergence
    from .base.errors import ElsaError as ElsaError
    from .base.errors import InputError as InputError
    from .base.errors import InvariantViolation as InvariantViolation
    from .base.errors import RunFailed as RunFailed
    from .base.errors import ScenarioError as ScenarioError
    from .codecs.base import Codec as Codec
    from .learning.tasks.base import Task as Task
    from .learning.tasks.partition import Partition as Partition
    from .links import LinkModel as LinkModel
    from .protocols.base import Protocol as Protocol
    from .results import plots
    from .results.metrics import Results as Results
    from .results.metrics import load as load_results
    from .results.table import Comparison as Comparison
    from .results.table import compare as compare
    from .run.checks import check as check
    from .run.resuming import resume as resume
    from .run.simulation import run as run
    from .scenario.model import Scenario as Scenario
    from .scenario.model import load as load_scenario
    from .topology import TopologySource as TopologySource
    from .world.progress import Observer as Observer
    from .world.world import World as World

#: Public name -> (module, name there; "" for the module itself).
_PUBLIC: dict[str, tuple[str, str]] = {
    "Codec": ("codecs.base", "Codec"),
    "Comparison": ("results.table", "Comparison"),
    "Divergence": ("base.errors", "Divergence"),
    "ElsaError": ("base.errors", "ElsaError"),
    "InputError": ("base.errors", "InputError"),
    "InvariantViolation": ("base.errors", "InvariantViolation"),
    "LinkModel": ("links", "LinkModel"),
    "Observer": ("world.progress", "Observer"),
    "Partition": ("learning.tasks.partition", "Partition"),
    "Protocol": ("protocols.base", "Protocol"),
    "Results": ("results.metrics", "Results"),
    "RunFailed": ("base.errors", "RunFailed"),
    "Scenario": ("scenario.model", "Scenario"),
    "ScenarioError": ("base.errors", "ScenarioError"),
    "Task": ("learning.tasks.base", "Task"),
    "TopologySource": ("topology", "TopologySource"),
    "World": ("world.world", "World"),
    "check": ("run.checks", "check"),
    "compare": ("results.table", "compare"),
    "load_results": ("results.metrics", "load"),
    "load_scenario": ("scenario.model", "load"),
    "plots": ("results.plots", ""),
    "resume": ("run.resuming", "resume"),
    "run": ("run.simulation", "run"),
}
__all__ = ["__version__", *_PUBLIC]

if not TYPE_CHECKING:  # else a misspelt name would be one of unknown type
    __getattr__ = lazy_names(__name__, __name__, _PUBLIC)


def __dir__() -> list[str]:
    return sorted(__all__)
