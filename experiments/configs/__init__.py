"""Configurations, grouped by room: one `get_config(arg)` a file, each stating its own command.

A config is named by its path under this package and an argument, `nco/tsp:20,cpu`. Its docstring
holds the command that runs it, the time to expect and the number to expect.
"""
