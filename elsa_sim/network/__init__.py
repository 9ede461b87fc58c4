"""The network in simulated time: transfers over a topology that share its links as a link model says."""

from .engine import Network
from .options import Failure, NetworkOptions, Outage
from .transfer import Delivery, Tally, Transfer

__all__ = ["Delivery", "Failure", "Network", "NetworkOptions", "Outage", "Tally", "Transfer"]
