"""Where things are in the checkout."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data"
SHARED_TRACES = ROOT.parent / "shared" / "traces"
"""Production traces, which are not part of the project; tests that replay them are skipped without."""
