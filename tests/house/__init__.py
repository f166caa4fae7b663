"""Tests of the house: the two rules of the architecture, the packaging, the environment."""
