"""Traces: read, written, described, combined, synthesized and fetched.

Each command of `flowsim traces` is a function of the same name here.
"""

from flowsim.traces.catalogue import BUILT_IN, example_trace, load_trace
from flowsim.traces.columns import Blocks, Chats
from flowsim.traces.combine import reweighted, with_rates
from flowsim.traces.commands import convert, info, merge, pull, sample, scale, synth
from flowsim.traces.commands import list as list
from flowsim.traces.commands import slice as slice
from flowsim.traces.formats import FORMATS, Format, find_format
from flowsim.traces.prefix import new_tokens, reusable_tokens
from flowsim.traces.reading.reader import detect_format, read_trace
from flowsim.traces.synthetic import synthesize
from flowsim.traces.trace import Trace
from flowsim.traces.writers import write_trace

__all__ = [  # without `list` and `slice`: a star import would hide Python's own
    "BUILT_IN",
    "FORMATS",
    "Blocks",
    "Chats",
    "Format",
    "Trace",
    "convert",
    "detect_format",
    "example_trace",
    "find_format",
    "info",
    "load_trace",
    "merge",
    "new_tokens",
    "pull",
    "read_trace",
    "reusable_tokens",
    "reweighted",
    "sample",
    "scale",
    "synth",
    "synthesize",
    "with_rates",
    "write_trace",
]
