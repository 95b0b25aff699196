"""Prefill-scheduling policies, one policy or one family a file."""
