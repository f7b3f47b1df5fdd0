"""mlm looks after a local language model for its whole life."""

__version__ = "0.1.0"
