"""Watching a running server from the terminal."""
