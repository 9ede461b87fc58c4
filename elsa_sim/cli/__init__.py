"""The command line: commands, console tables, progress."""

from .commands import app, main

__all__ = ["app", "main"]
