"""What every metric means, by file: the one declaration behind `flowsim metrics`, docs/metrics.md and the columns."""
