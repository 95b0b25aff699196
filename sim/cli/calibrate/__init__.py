"""`flowsim calibrate` and its commands."""
