"""Runs: from options to a result, alone or side by side."""
