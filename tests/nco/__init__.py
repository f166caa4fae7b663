"""Tests of `nco`."""
