"""Aggregation rules, one to a file; those of a plugin are registered beside them."""

from ....base.registry import discover

discover(__name__)
