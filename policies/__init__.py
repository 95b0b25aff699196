"""Prefill-scheduling policies, one policy or one family per file, and the registry that knows them by name."""

from flowsim.policies.catalogue import TABLE
from flowsim.policies.registry import PolicySpec, describe_policies, load_policy, policy_spec

__all__ = ["TABLE", "PolicySpec", "describe_policies", "load_policy", "policy_spec"]
