"""Devices: what computing costs in time and energy, and when devices are slow or away.

A piece of work of F FLOPs holds one slot of its device for ``launch + F / speed * slowdown`` seconds; slots are taken
first come, first served. Does not capture caches, memory bandwidth, batching effects, or clocks that fall with heat
(state a straggler instead): ``speed`` is the effective speed on the work at hand, well below a data sheet's peak.
"""

from .device import Device, Execution
from .downtime import AvailabilityTrace, Crash, Downtime, OnOff
from .fedscale import FedScaleBehaviour
from .options import ClientOptions, CloudOptions, DeviceOptions, DevicesOptions, EdgeOptions, PowerOptions
from .profiles import known, profile
from .speed import NumberType, speed_in
from .stragglers import Background, LogNormal, Scripted, ShiftedExponential, Straggler, Throttling

__all__ = [
    "AvailabilityTrace",
    "Background",
    "ClientOptions",
    "CloudOptions",
    "Crash",
    "Device",
    "DeviceOptions",
    "DevicesOptions",
    "Downtime",
    "EdgeOptions",
    "Execution",
    "FedScaleBehaviour",
    "LogNormal",
    "NumberType",
    "OnOff",
    "PowerOptions",
    "Scripted",
    "ShiftedExponential",
    "Straggler",
    "Throttling",
    "known",
    "profile",
    "speed_in",
]
