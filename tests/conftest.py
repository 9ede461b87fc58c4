"""Test modules may import the helper modules that lie here. In CI, property tests draw the same examples every time."""

import os

from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("random", deadline=None)  # a machine with other work is slow at times
settings.load_profile("repeatable" if os.environ.get("CI") else "random")
