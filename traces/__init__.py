"""Traces: the columnar trace, readers of public formats, and synthetic traces."""

from flowsim.traces.catalogue import BUILT_IN, example_trace, load_trace
from flowsim.traces.formats import FORMATS, Format
from flowsim.traces.readers import detect_format, read_trace
from flowsim.traces.synthetic import synthesize
from flowsim.traces.trace import Trace

__all__ = [
    "BUILT_IN",
    "FORMATS",
    "Format",
    "Trace",
    "detect_format",
    "example_trace",
    "load_trace",
    "read_trace",
    "synthesize",
]
