"""Attacks on every reader and writer: damaged inputs, and kills at random moments. `python -m tests.attack`."""
