"""What drives `mpl`: its experiments, tables and pictures."""
