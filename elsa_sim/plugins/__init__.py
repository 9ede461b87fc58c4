"""The public interface for plugins: what a module of components may import, and nothing else of the package.

A plugin is a Python module that defines components: one class each, found when the module is imported, named by ``--plugin``
or by the entry point group ``elsa_sim.plugins`` of an installed distribution::

    from typing import Literal
    from elsa_sim.plugins import Codec, Encoded, EncodedSpec, TensorSpec

    class Halve(Codec):
        \"\"\"Keep every other coordinate.\"\"\"
        kind: Literal["halve"] = "halve"
        ...

docs/extending.md has an example of each family. Names are imported when they are first used.
Tested in tests/test_public_names.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..base.lazy import lazy_names

if TYPE_CHECKING:
    from ..base.errors import Fault as Fault
    from ..base.errors import InputFaults as InputFaults
    from ..base.errors import Lost as Lost
    from ..base.registry import Component as Component
    from ..base.registry import Items as Items
    from ..base.registry import Options as Options
    from ..base.streams import Streams as Streams
    from ..base.units import Bandwidth as Bandwidth
    from ..base.units import Distance as Distance
    from ..base.units import Power as Power
    from ..base.units import Seconds as Seconds
    from ..base.units import Size as Size
    from ..base.units import Speed as Speed
    from ..codecs.base import Codec as Codec
    from ..codecs.base import Encoded as Encoded
    from ..codecs.base import EncodedSpec as EncodedSpec
    from ..codecs.base import Keys as Keys
    from ..codecs.base import MessageContext as MessageContext
    from ..devices import Downtime as Downtime
    from ..devices import Straggler as Straggler
    from ..learning.aggregation.base import Adapters as Adapters
    from ..learning.aggregation.base import Aggregation as Aggregation
    from ..learning.aggregation.base import Coordinatewise as Coordinatewise
    from ..learning.aggregation.mean import distance as distance
    from ..learning.aggregation.mean import weighted_mean as weighted_mean
    from ..learning.aggregation.rules.median import weighted_median as weighted_median
    from ..learning.backbone.options import Part as Part
    from ..learning.clustering.assign import Assigner as Assigner
    from ..learning.execution.work import Ref as Ref
    from ..learning.execution.work import TensorSpec as TensorSpec
    from ..learning.execution.work import Work as Work
    from ..learning.misbehaviour.base import Attack as Attack
    from ..learning.misbehaviour.base import Misbehaviour as Misbehaviour
    from ..learning.splits.base import Cut as Cut
    from ..learning.splits.base import Resources as Resources
    from ..learning.splits.base import SplitPolicy as SplitPolicy
    from ..learning.splits.pattern import Crossing as Crossing
    from ..learning.splits.pattern import PartRole as PartRole
    from ..learning.splits.pattern import StepPattern as StepPattern
    from ..learning.splits.pattern import head_at as head_at
    from ..learning.splits.pattern import local_loss as local_loss
    from ..learning.splits.pattern import u_shaped as u_shaped
    from ..learning.tasks.base import Split as Split
    from ..learning.tasks.base import Task as Task
    from ..learning.tasks.base import Texts as Texts
    from ..learning.tasks.base import TextSplit as TextSplit
    from ..learning.tasks.partition import Partition as Partition
    from ..learning.training.model import Trained as Trained
    from ..links import Flows as Flows
    from ..links import LinkModel as LinkModel
    from ..links import Rates as Rates
    from ..populations import Distribution as Distribution
    from ..populations import Drawable as Drawable
    from ..privacy.base import Intercepted as Intercepted
    from ..privacy.base import Knowledge as Knowledge
    from ..privacy.base import PrivacyAttack as PrivacyAttack
    from ..privacy.base import View as View
    from ..protocols.base import Protocol as Protocol
    from ..protocols.base import TieredProtocol as TieredProtocol
    from ..protocols.local import SplitTrainer as SplitTrainer
    from ..protocols.local import WholeTrainer as WholeTrainer
    from ..protocols.local import average as average
    from ..protocols.local import outgoing as outgoing
    from ..protocols.local import trains as trains
    from ..protocols.selecting import Selecting as Selecting
    from ..protocols.selecting import Turnout as Turnout
    from ..results.columns import scaled as scaled
    from ..results.labels import run_labels as run_labels
    from ..results.plots.base import Figure as Figure
    from ..results.plots.style import axes as axes
    from ..results.plots.style import finish as finish
    from ..results.run_directory import Results as Results
    from ..selection.base import Candidates as Candidates
    from ..selection.base import CohortSelection as CohortSelection
    from ..selection.base import Report as Report
    from ..selection.base import Roster as Roster
    from ..selection.base import Selection as Selection
    from ..selection.base import Selector as Selector
    from ..topology import Link as Link
    from ..topology import Node as Node
    from ..topology import Topology as Topology
    from ..topology import TopologySource as TopologySource
    from ..transports import Connection as Connection
    from ..transports import Transport as Transport
    from ..transports import Way as Way
    from ..wireless import Allocator as Allocator
    from ..wireless import Demand as Demand
    from ..wireless import Mobility as Mobility
    from ..wireless import PathLoss as PathLoss
    from ..wireless import PowerControl as PowerControl
    from ..wireless import ShadowSpread as ShadowSpread
    from ..world.client import Client as Client
    from ..world.client import SplitClient as SplitClient
    from ..world.progress import Observer as Observer
    from ..world.replica import Replica as Replica
    from ..world.round_end import RoundEnd as RoundEnd
    from ..world.round_end import RoundObserver as RoundObserver
    from ..world.rounds import WaitOptions as WaitOptions
    from ..world.rounds import present as present
    from ..world.rounds import retry as retry
    from ..world.rounds import run_round as run_round
    from ..world.rounds import run_while_online as run_while_online
    from ..world.rounds import wait_until_online as wait_until_online
    from ..world.world import Verb as Verb
    from ..world.world import World as World

#: Public name -> module. A new name goes here and above, in one line each.
_PUBLIC: dict[str, str] = {
    # What every component is made of
    "Component": "base.registry",
    "Options": "base.registry",
    "Items": "base.registry",
    "Fault": "base.errors",
    "InputFaults": "base.errors",
    "Lost": "base.errors",
    "Streams": "base.streams",
    "Bandwidth": "base.units",
    "Distance": "base.units",
    "Power": "base.units",
    "Seconds": "base.units",
    "Size": "base.units",
    "Speed": "base.units",
    # Families
    "Aggregation": "learning.aggregation.base",
    "Allocator": "wireless",
    "Assigner": "learning.clustering.assign",
    "Codec": "codecs.base",
    "Distribution": "populations",
    "Downtime": "devices",
    "Drawable": "populations",
    "Figure": "results.plots.base",
    "Flows": "links",
    "LinkModel": "links",
    "Misbehaviour": "learning.misbehaviour.base",
    "Mobility": "wireless",
    "Partition": "learning.tasks.partition",
    "PathLoss": "wireless",
    "PowerControl": "wireless",
    "PrivacyAttack": "privacy.base",
    "Protocol": "protocols.base",
    "Selection": "selection.base",
    "ShadowSpread": "wireless",
    "SplitPolicy": "learning.splits.base",
    "Straggler": "devices",
    "Task": "learning.tasks.base",
    "TopologySource": "topology",
    "Transport": "transports",
    # Protocols: who trains what, rounds, and the verbs of the world
    "Client": "world.client",
    "SplitClient": "world.client",
    "World": "world.world",
    "Verb": "world.world",
    "Observer": "world.progress",
    "RoundObserver": "world.round_end",
    "RoundEnd": "world.round_end",
    "Ref": "learning.execution.work",
    "Work": "learning.execution.work",
    "TensorSpec": "learning.execution.work",
    "Part": "learning.backbone.options",
    "Trained": "learning.training.model",
    "WholeTrainer": "protocols.local",
    "SplitTrainer": "protocols.local",
    "average": "protocols.local",
    "outgoing": "protocols.local",
    "trains": "protocols.local",
    "WaitOptions": "world.rounds",
    "present": "world.rounds",
    "retry": "world.rounds",
    "run_round": "world.rounds",
    "run_while_online": "world.rounds",
    "wait_until_online": "world.rounds",
    "Replica": "world.replica",
    "StepPattern": "learning.splits.pattern",
    "PartRole": "learning.splits.pattern",
    "Crossing": "learning.splits.pattern",
    "head_at": "learning.splits.pattern",
    "local_loss": "learning.splits.pattern",
    "u_shaped": "learning.splits.pattern",
    "TieredProtocol": "protocols.base",
    "weighted_median": "learning.aggregation.rules.median",
    "Selecting": "protocols.selecting",
    "Turnout": "protocols.selecting",
    # Client selection
    "Candidates": "selection.base",
    "CohortSelection": "selection.base",
    "Report": "selection.base",
    "Roster": "selection.base",
    "Selector": "selection.base",
    # Aggregation rules and misbehaving clients
    "Adapters": "learning.aggregation.base",
    "Coordinatewise": "learning.aggregation.base",
    "Attack": "learning.misbehaviour.base",
    "distance": "learning.aggregation.mean",
    "weighted_mean": "learning.aggregation.mean",
    # Attacks on privacy
    "Intercepted": "privacy.base",
    "Knowledge": "privacy.base",
    "View": "privacy.base",
    # Link models
    "Rates": "links",
    "Connection": "transports",
    "Way": "transports",
    # Codecs
    "Encoded": "codecs.base",
    "EncodedSpec": "codecs.base",
    "Keys": "codecs.base",
    "MessageContext": "codecs.base",
    # Tasks, partitions, splits, topologies, allocators
    "Texts": "learning.tasks.base",
    "TextSplit": "learning.tasks.base",
    "Split": "learning.tasks.base",
    "Cut": "learning.splits.base",
    "Resources": "learning.splits.base",
    "Topology": "topology",
    "Node": "topology",
    "Link": "topology",
    "Demand": "wireless",
    # Figures
    "Results": "results.run_directory",
    "axes": "results.plots.style",
    "finish": "results.plots.style",
    "run_labels": "results.labels",
    "scaled": "results.columns",
}
__all__ = list(_PUBLIC)

if not TYPE_CHECKING:  # else a misspelt name would be one of unknown type
    __getattr__ = lazy_names("elsa_sim", __name__, {name: (module, name) for name, module in _PUBLIC.items()})


def __dir__() -> list[str]:
    return sorted(__all__)
