"""The worker process: llama.cpp, slots and the scheduler."""
