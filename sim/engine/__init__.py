"""The engine: prefill instances on simulated devices, driven by a trace."""
