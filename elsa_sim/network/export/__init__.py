"""Networks and their messages as the files of other simulators, which referee this one."""

from .formats import Format
from .scene import Message, Scene, of_case
from .write import write

__all__ = ["Format", "Message", "Scene", "of_case", "write"]
