"""Codecs: what makes a tensor smaller, coarser or unreadable on the wire; one file each, found by its ``kind``."""
