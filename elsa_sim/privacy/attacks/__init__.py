"""Attacks on privacy, one to a file; those of a plugin are registered beside them."""
