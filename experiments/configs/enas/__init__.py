"""Configs of architecture search: a search and a retraining for each space."""
