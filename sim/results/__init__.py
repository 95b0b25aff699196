"""What came of a run, and how its metrics are defined."""
