"""Rows, intervals, tables and curves of what was run."""
