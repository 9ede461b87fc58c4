"""Populations: options that differ from client to client by a distribution, drawn per client from named streams."""

from .column import Column
from .distribution import Distribution, Drawable, DrawnAs, is_distribution, place
from .drawing import Drawer, distributions, loaded
from .fedscale import FedScale
from .kinds import Choice, Lognormal, Mixture, Uniform

__all__ = [
    "Choice",
    "Column",
    "Distribution",
    "Drawable",
    "Drawer",
    "DrawnAs",
    "FedScale",
    "Lognormal",
    "Mixture",
    "Uniform",
    "distributions",
    "is_distribution",
    "loaded",
    "place",
]
