"""Test modules may import the helper modules that lie here."""
