"""Every metric of a run, under one name: ``metrics.load(folder)``, ``metrics.rounds_table(events, topology)``, and so on.

The metrics are pure functions of the event table (a pandas or Arrow table with the columns of ``event_table.SCHEMA``) and,
where roles or links matter, of the topology. The summary of a run, its table of rounds and its figures all come from
here, so they cannot disagree.
"""

from .frames import Events, Topology, frame, sim_time
from .rounds import accuracy_curve, missing, rounds_table, time_to_target
from .run_directory import Results, load
from .summary import privacy_summary, summarise
from .traffic import bytes_by_direction, bytes_by_kind, bytes_by_link, bytes_lost, link_load, transfers
from .trust import trust_auc, trust_scores
from .usage import SPENT, WORK, busy_seconds_by_node, energy_by_node, energy_by_role, utilisation

__all__ = [
    "SPENT",
    "WORK",
    "Events",
    "Results",
    "Topology",
    "accuracy_curve",
    "busy_seconds_by_node",
    "bytes_by_direction",
    "bytes_by_kind",
    "bytes_by_link",
    "bytes_lost",
    "energy_by_node",
    "energy_by_role",
    "frame",
    "link_load",
    "load",
    "missing",
    "privacy_summary",
    "rounds_table",
    "sim_time",
    "summarise",
    "time_to_target",
    "transfers",
    "trust_auc",
    "trust_scores",
    "utilisation",
]
