"""Tests of `enas`."""
