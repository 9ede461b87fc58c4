"""The transformer families that can be cut. One file here that defines a `Family` with a ``model_type`` is one more."""

from ....base.registry import discover
from .base import FAMILIES, Family, Linear, Role, Shape, Table

discover(__name__)

__all__ = ["FAMILIES", "Family", "Linear", "Role", "Shape", "Table"]
