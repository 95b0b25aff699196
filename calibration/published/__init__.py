"""Public measurements of other GPUs, and tables side by side."""
