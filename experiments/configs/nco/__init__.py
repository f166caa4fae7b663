"""Configurations of the policy-gradient room: pointer networks on combinatorial problems."""
