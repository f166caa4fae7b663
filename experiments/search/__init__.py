"""What drives `search`: its experiments, tables and pictures."""
