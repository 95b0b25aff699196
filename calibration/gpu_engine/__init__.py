"""Serving for real: the runner of a GPU, and replays on it."""
