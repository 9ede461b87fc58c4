"""Formats of other simulators; one file each, found by its ``name``."""

from ....base.registry import discover
from .base import Format

__all__ = ["Format"]

discover(__name__)
