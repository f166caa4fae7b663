"""Runs an experiment or a search, and knows no room: configs, loops, checkpoints, journals."""
