"""The parts that policies are composed of: orders, batchings and admissions by name, and the policy made of them."""
