"""Tests, one folder for every room and one for the house that they share."""
