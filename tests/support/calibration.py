"""A tiny model, and the sizes of it that are measured in a moment."""

from flowsim.calibration.costs.models import ModelSpec

SPEC = ModelSpec("tiny", 2, 64, 4, 2, 16, 128, 97, 512, 10000.0, 1e-5)
"""Two layers, which a CPU runs in well under a millisecond."""
