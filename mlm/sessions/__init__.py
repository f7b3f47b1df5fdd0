"""Conversations that were had, kept on this machine to go on with, to read and to search."""
