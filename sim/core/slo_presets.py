"""TTFT SLOs that papers give for their models."""

from __future__ import annotations

from collections.abc import Mapping

REST = "*"
"""Stands for every class, or every length, that is not named."""

CLASSES = ("text", "image", "search", "file")
BAND_TOKENS = (1024, 4096, 16384)
PRESETS: Mapping[str, tuple[float, float, float, float]] = {
    "llama3-8b": (0.25, 0.5, 4.0, 6.0),
    "qwen2.5-14b": (0.4, 0.8, 6.5, 9.0),
    "llama3-70b": (1.0, 2.0, 15.0, 18.0),
}
"""TTFT SLOs in seconds of `CLASSES`, by model. Source: FlowPrefill (arXiv 2602.16603).

It also evaluates Qwen3-30B-A3B, whose SLOs are not published: there is no preset for it, nor for other models.
"""
