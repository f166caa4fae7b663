"""Glue of architecture search with shared weights: problems, searches, retraining, tables."""
