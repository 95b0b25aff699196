"""Renderers of a saved result, and of what happened in it: text, JSON, a page, a timeline."""
