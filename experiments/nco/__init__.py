"""What drives `nco`: its experiments, tables and pictures."""
