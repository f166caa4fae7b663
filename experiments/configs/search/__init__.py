"""Configs of the room `search`."""
