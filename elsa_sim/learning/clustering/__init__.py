"""Behaviour-aware clustering of clients (ELSA, arXiv:2601.13824): fingerprints, divergences, trust, groups, assignment.

Plain arithmetic on arrays, in float64; :mod:`probing` makes work of it that a protocol can ask a device to do.
"""
