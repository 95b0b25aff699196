"""Traces: the columnar trace, readers of public formats, and synthetic traces."""

from flowsim.traces.trace import Trace

__all__ = ["Trace"]
