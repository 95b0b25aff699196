"""How fast flowsim is: `python -m benchmarks`. Ratios measured in one run; no test depends on them."""
