"""The version of the package.

Tested in tests/cli/test_commands.py.
"""

__version__ = "0.1.0"
