"""Scripts that run in a peer's own environment, beside this project: they import nothing of it."""
