"""Measuring operators, passes and the host."""
