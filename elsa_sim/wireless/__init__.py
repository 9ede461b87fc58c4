"""Wireless access: radio conditions give access links their bandwidth, and clients that move change their station.

Distance and sight give path loss, place gives shadowing, time gives fading; power, bandwidth and noise make a rate of it; the
subchannels of a station are assigned to its clients, and power to subchannels; and a client changes its station by
hysteresis. What is not captured stands with each of these.
"""

from .allocation import Allocator, Best, ByNeed, Demand, Equal, Greedy, Random
from .channel_state import ChannelState
from .convex import Duals
from .layout import Layout
from .mobility import Mobility, Paths, RandomWaypoint, Static
from .options import HandoverOptions, NodeRadio, WirelessOptions
from .power import Even, MinDelay, PowerControl, Powers
from .propagation import DualSlope, Fading, LineOfSight, LogDistance, PathLoss, Shadowing, ShadowSpread, free_space
from .radio import Handover, Radio
from .rate import from_db, rate, snr, to_db
from .search import Search
from .subcarriers import Direction, Subcarriers
from .tr38901 import IndoorOffice, RuralMacro, UrbanMacro, UrbanMicro

__all__ = [
    "Allocator",
    "Best",
    "ByNeed",
    "ChannelState",
    "Demand",
    "Direction",
    "DualSlope",
    "Duals",
    "Equal",
    "Even",
    "Fading",
    "Greedy",
    "Handover",
    "HandoverOptions",
    "IndoorOffice",
    "Layout",
    "LineOfSight",
    "LogDistance",
    "MinDelay",
    "Mobility",
    "NodeRadio",
    "PathLoss",
    "Paths",
    "PowerControl",
    "Powers",
    "Radio",
    "Random",
    "RandomWaypoint",
    "RuralMacro",
    "Search",
    "ShadowSpread",
    "Shadowing",
    "Static",
    "Subcarriers",
    "UrbanMacro",
    "UrbanMicro",
    "WirelessOptions",
    "free_space",
    "from_db",
    "rate",
    "snr",
    "to_db",
]
