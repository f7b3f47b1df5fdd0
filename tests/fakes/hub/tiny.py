"""A small repository that many tests download."""

import random

REPO = "org/tiny-GGUF"
NAME = "tiny.Q4_K_M.gguf"


def model_bytes(size: int, seed: int = 1) -> bytes:
    """Return something that begins like a model; downloads look no further."""
    return b"GGUF" + random.Random(seed).randbytes(size - 4)


TINY = model_bytes(300_000)
