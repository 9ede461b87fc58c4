"""The network: nodes, links and routes, generated or read from a file.

Does not capture routing protocols: routes are those of lowest latency, fixed for the run, and the same both ways.
"""

from .faults import faults_of
from .files import TopologyFile
from .generators import BarabasiAlbert, FatTree, Grid, Ring, Star, Tree, Waxman
from .model import ROLES, Link, Node, Role, Topology, natural
from .options import LinkOptions
from .source import TopologySource, checked

__all__ = [
    "ROLES",
    "BarabasiAlbert",
    "FatTree",
    "Grid",
    "Link",
    "LinkOptions",
    "Node",
    "Ring",
    "Role",
    "Star",
    "Topology",
    "TopologyFile",
    "TopologySource",
    "Tree",
    "Waxman",
    "checked",
    "faults_of",
    "natural",
]
