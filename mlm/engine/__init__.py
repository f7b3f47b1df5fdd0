"""The worker process: llama.cpp, slots and the scheduler. See README.md in this folder."""

from mlm.engine.extra import EngineMissing, require_engine

__all__ = ["EngineMissing", "require_engine"]
