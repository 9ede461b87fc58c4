"""Link models: one file defines one or several; each says what it does not capture."""

from .base import Flows, LinkModel, Rates
from .max_min import MaxMin
from .proportional import Proportional
from .rtt_fair import RttFair
from .simple import EqualShare, Fifo, Ideal

__all__ = ["EqualShare", "Fifo", "Flows", "Ideal", "LinkModel", "MaxMin", "Proportional", "Rates", "RttFair"]
