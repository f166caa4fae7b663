"""Tests of `mpl`."""
