"""How fast main memory can be read: measured, because no table knows how it was plugged in.

Decoding reads every weight once per token, so bandwidth bounds its speed. What is measured is
what llama.cpp does: all usable cores reading at once, from more memory than the caches hold.
"""

import ctypes
import mmap
import sys
import threading
import time
from collections.abc import Callable

from mlm.units import MIB

_BUFFER_BYTES = 256 * MIB  # beyond any cache share of one virtual machine or desktop
_MAX_THREADS = 16
_MIN_ROUNDS, _SECONDS = 3, 0.08

Search = Callable[[int, int, int], object]


def measure_memory_bandwidth(threads: int, available: int) -> int | None:
    """Return the bytes per second that ``threads`` threads read together; about 0.2 s.

    The best of several rounds counts: others on the machine can only slow a round down. Uses at
    most an eighth of ``available`` bytes; None when that is too little, or without a C library.
    """
    threads = max(1, min(threads, _MAX_THREADS))
    share = min(_BUFFER_BYTES, available // 8) // threads
    search = _load_search()
    if search is None or share < MIB:
        return None
    try:
        buffers = [_map(share) for _ in range(threads)]
    except (MemoryError, OSError):
        return None
    for buffer in buffers:
        ctypes.memset(buffer, 1, share)  # pages never written to all read from one cached page
    best, rounds, started = 0.0, 0, time.perf_counter()
    while rounds < _MIN_ROUNDS or time.perf_counter() - started < _SECONDS:
        best = max(best, threads * share / _time_round(search, buffers, share))
        rounds += 1
    return round(best)


def _map(n_bytes: int) -> "ctypes.Array[ctypes.c_char]":
    """Return memory that nobody has written to yet; ctypes' own would be written to twice."""
    return (ctypes.c_char * n_bytes).from_buffer(mmap.mmap(-1, n_bytes))


def _load_search() -> Search | None:
    """Return C's memchr: it reads at full speed and lets other threads run meanwhile."""
    try:
        library = ctypes.CDLL("msvcrt" if sys.platform == "win32" else None)
        search = library.memchr
    except (OSError, AttributeError, TypeError):
        return None
    search.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t)
    search.restype = ctypes.c_void_p
    return search


def _time_round(search: Search, buffers: "list[ctypes.Array[ctypes.c_char]]", share: int) -> float:
    """Return the seconds in which every buffer was read once, each by a thread of its own."""
    readers = [
        threading.Thread(target=search, args=(ctypes.addressof(buffer), 2, share))
        for buffer in buffers
    ]
    started = time.perf_counter()
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    return time.perf_counter() - started
