"""Costs: operators measured on a GPU, the table that holds them, and the cost model fitted to it."""
