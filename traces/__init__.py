"""Traces: the columnar trace, readers of public formats, and synthetic traces."""

from flowsim.traces.catalogue import BUILT_IN, example_trace, load_trace
from flowsim.traces.combine import merge, reweighted, with_rates
from flowsim.traces.commands import convert, info, list, pull, sample, scale, slice, synth
from flowsim.traces.formats import FORMATS, Format, find_format
from flowsim.traces.prefix import Blocks, Chats, cached_tokens, new_tokens
from flowsim.traces.readers import detect_format, read_trace
from flowsim.traces.synthetic import synthesize
from flowsim.traces.trace import Trace
from flowsim.traces.writers import write_trace

__all__ = [
    "BUILT_IN",
    "FORMATS",
    "Blocks",
    "Chats",
    "Format",
    "Trace",
    "cached_tokens",
    "convert",
    "detect_format",
    "example_trace",
    "find_format",
    "info",
    "list",
    "load_trace",
    "merge",
    "new_tokens",
    "pull",
    "read_trace",
    "reweighted",
    "sample",
    "scale",
    "slice",
    "synth",
    "synthesize",
    "with_rates",
    "write_trace",
]
