"""Transports: what is added to a payload on the wire, and how much of it a connection may have in flight."""

from .base import Connection, Fluid, Transport, Way
from .tcp import Tcp

__all__ = ["Connection", "Fluid", "Tcp", "Transport", "Way"]
