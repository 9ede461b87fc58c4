"""Figures of runs: each function takes one run or several, and axes to draw into (new ones without), and returns axes.

Every number drawn of a run is a metric of :mod:`elsa_sim.results`, hence of the event table. ``ax.figure`` is the figure.
`save_figures` draws all that there are data for; `draw` draws any figure by its name, `figures` names them.
"""

from .bars import bytes_by_kind, bytes_by_link, energy_by_node, energy_by_role
from .curves import accuracy_over_bytes, accuracy_over_rounds, accuracy_over_time
from .joint import convergence, delay_over, delay_parts, rounds_over_rank
from .privacy import privacy_trade_off, tokens_recovered
from .save import draw, figures, save_figures
from .staleness import influence_by_client, participation_by_client, staleness
from .timeline import timeline
from .topology_map import topology_map

__all__ = [
    "accuracy_over_bytes",
    "accuracy_over_rounds",
    "accuracy_over_time",
    "bytes_by_kind",
    "bytes_by_link",
    "convergence",
    "delay_over",
    "delay_parts",
    "draw",
    "energy_by_node",
    "energy_by_role",
    "figures",
    "influence_by_client",
    "participation_by_client",
    "privacy_trade_off",
    "rounds_over_rank",
    "save_figures",
    "staleness",
    "timeline",
    "tokens_recovered",
    "topology_map",
]
