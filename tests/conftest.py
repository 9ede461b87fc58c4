"""Test modules may import the helper modules that lie here. In CI, property tests draw the same examples every time."""

import os
from collections.abc import Iterator
from unittest.mock import patch

import pytest
from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("random", deadline=None)  # a machine with other work is slow at times
settings.load_profile("repeatable" if os.environ.get("CI") else "random")


@pytest.fixture(autouse=True, scope="session")
def _nothing_waits_for_the_disk() -> Iterator[None]:
    """Thousands of small runs need not survive a power cut; that files are synchronised is tested in tests/base/test_writing.py."""
    with patch.object(os, "fsync", lambda number: None):
        yield
