"""How much of a file is in memory: what is not comes from disk when a model reads it."""

import ctypes
import mmap
import os
import sys
from pathlib import Path
from typing import Any

_WINDOW = 1 << 30  # bytes looked at in one go: a quarter of a MiB of answers
_PROT_READ, _MAP_SHARED = 1, 1


def read_resident_share(path: Path) -> float | None:
    """Return the share of a file that is in memory, 0 to 1; None where the system does not say.

    Linux answers only about files that one may write, and says of others that all is there.
    """
    if sys.platform == "win32":
        return None
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.mmap.restype = ctypes.c_void_p
        libc.mmap.argtypes = [
            ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int,
            ctypes.c_int64,
        ]  # fmt: skip
        libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
        libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
        if not path.is_file():
            return None
        with path.open("rb") as file:
            return _count(libc, file.fileno(), os.fstat(file.fileno()).st_size)
    except (OSError, AttributeError):
        return None


def _count(libc: Any, descriptor: int, size: int) -> float | None:
    pages = resident = 0
    for start in range(0, size, _WINDOW):
        length = min(_WINDOW, size - start)
        n_pages = -(-length // mmap.PAGESIZE)
        answers = ctypes.create_string_buffer(n_pages)
        address = libc.mmap(None, length, _PROT_READ, _MAP_SHARED, descriptor, start)
        if address in (None, ctypes.c_void_p(-1).value):
            return None
        try:
            if libc.mincore(address, length, answers) != 0:
                return None
        finally:
            libc.munmap(address, length)
        pages += n_pages
        # Only the lowest bit of each answer means something.
        resident += sum(count * (byte & 1) for byte, count in _histogram(answers.raw))
    return resident / pages if pages else None


def _histogram(answers: bytes) -> list[tuple[int, int]]:
    return [(byte, answers.count(byte)) for byte in set(answers)]
