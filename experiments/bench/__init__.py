"""Kernels against this machine's floor, and against peers."""
