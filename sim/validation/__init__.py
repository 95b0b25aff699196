"""Validation: the same requests executed on a GPU and simulated, and how far apart they are."""
