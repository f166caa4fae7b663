"""Configurations of Meta Pseudo Labels and of what it is compared with."""
