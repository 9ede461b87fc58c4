"""Test modules may import the helper modules that lie here. In CI, property tests draw the same examples every time."""

import os

from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None)
if os.environ.get("CI"):
    settings.load_profile("repeatable")
