"""The decoder that is measured and executed, on torch."""
