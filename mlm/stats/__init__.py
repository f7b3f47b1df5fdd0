"""Remembering what happened, and summing it up."""
