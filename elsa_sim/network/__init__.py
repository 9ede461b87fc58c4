"""The network in simulated time: transfers over a topology that share its links as a link model says."""

from .engine import Delivery, Network, Transfer
from .options import NetworkOptions

__all__ = ["Delivery", "Network", "NetworkOptions", "Transfer"]
