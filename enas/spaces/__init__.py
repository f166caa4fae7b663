"""The search spaces of the thesis: recurrent cells, whole convolutional networks, and cells."""
