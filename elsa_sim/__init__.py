"""elsa-sim: a discrete-event network co-simulator for split and hierarchical federated fine-tuning.

::

    import elsa_sim

    loaded = elsa_sim.load_scenario("scenarios/quickstart.yaml", ["protocol.rounds=2"])
    results = elsa_sim.run(loaded)
    results.rounds          # one row per evaluation (pandas)
    results.events          # one row per compute, transfer, aggregation, evaluation, fault

Names are imported when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .version import __version__

if TYPE_CHECKING:
    from . import plots as plots
    from .codecs.base import Codec as Codec
    from .errors import Divergence as Divergence
    from .errors import ElsaError as ElsaError
    from .errors import InputError as InputError
    from .errors import InvariantViolation as InvariantViolation
    from .errors import RunFailed as RunFailed
    from .errors import ScenarioError as ScenarioError
    from .learning.partition import Partition as Partition
    from .learning.tasks.base import Task as Task
    from .links import LinkModel as LinkModel
    from .planning import check as check
    from .protocols.base import Protocol as Protocol
    from .results import Results as Results
    from .results import load as load_results
    from .scenario import Scenario as Scenario
    from .scenario import load as load_scenario
    from .simulation import run as run
    from .topology import TopologySource as TopologySource
    from .world import Observer as Observer
    from .world import World as World

#: Public name -> (module, name there; "" for the module itself).
_PUBLIC: dict[str, tuple[str, str]] = {
    "Codec": ("codecs.base", "Codec"),
    "Divergence": ("errors", "Divergence"),
    "ElsaError": ("errors", "ElsaError"),
    "InputError": ("errors", "InputError"),
    "InvariantViolation": ("errors", "InvariantViolation"),
    "LinkModel": ("links", "LinkModel"),
    "Observer": ("world", "Observer"),
    "Partition": ("learning.partition", "Partition"),
    "Protocol": ("protocols.base", "Protocol"),
    "Results": ("results", "Results"),
    "RunFailed": ("errors", "RunFailed"),
    "Scenario": ("scenario", "Scenario"),
    "ScenarioError": ("errors", "ScenarioError"),
    "Task": ("learning.tasks.base", "Task"),
    "TopologySource": ("topology", "TopologySource"),
    "World": ("world", "World"),
    "check": ("planning", "check"),
    "load_results": ("results", "load"),
    "load_scenario": ("scenario", "load"),
    "plots": ("plots", ""),
    "run": ("simulation", "run"),
}
__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'elsa_sim' has no attribute {name!r}")
    module, attribute = _PUBLIC[name]
    loaded = importlib.import_module(f".{module}", __name__)
    return getattr(loaded, attribute) if attribute else loaded


def __dir__() -> list[str]:
    return sorted(__all__)
