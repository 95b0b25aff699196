"""Studies: grids of runs, max goodput, intervals, and where results are kept."""
