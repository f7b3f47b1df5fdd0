"""How fast main memory can be read: measured, because no table knows how it was plugged in.

Decoding reads every weight once per token, so bandwidth bounds its speed. What is measured is
what llama.cpp does: all usable cores reading at once, from more memory than the caches hold.
"""

import ctypes
import mmap
import re
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from mlm.hardware.sysfs import read_text
from mlm.units import KIB, MIB

_CPUS = Path("/sys/devices/system/cpu")
# What is read is so many times as large as the caches, for the next round not to find it there.
# No larger than needed: virtual machines take a millisecond for each new MiB.
_TIMES_CACHES = 3
_LEAST_BYTES, _USUAL_BYTES, _MOST_BYTES = 64 * MIB, 256 * MIB, 1024 * MIB
_MAX_THREADS = 16
_SIZE = re.compile(r"(\d{1,8})K", re.ASCII)
_MIN_ROUNDS, _SECONDS = 3, 0.08

Search = Callable[[int, int, int], object]


def measure_memory_bandwidth(threads: int, available: int) -> int | None:
    """Return the bytes per second that ``threads`` threads read together; 0.1 to 0.3 s.

    The best of several rounds counts: others on the machine can only slow a round down. Uses at
    most an eighth of ``available`` bytes; None when that is too little, or without a C library.
    """
    threads = max(1, min(threads, _MAX_THREADS))
    share = min(_choose_size(read_caches()), available // 8) // threads
    search = _load_search()
    if search is None or share < MIB:
        return None
    try:
        buffers = [_map(share) for _ in range(threads)]
    except (MemoryError, OSError):
        return None
    # Pages never written to all read from one cached page.
    _time_round(lambda address: ctypes.memset(address, 1, share), buffers)
    best, rounds, started = 0.0, 0, time.perf_counter()
    while rounds < _MIN_ROUNDS or time.perf_counter() - started < _SECONDS:
        seconds = _time_round(lambda address: search(address, 2, share), buffers)
        best = max(best, threads * share / seconds)
        rounds += 1
    return round(best)


def read_caches(cpus: Path = _CPUS) -> int | None:
    """Return the bytes of all last-level caches together; None where Linux does not tell."""
    for index in ("index3", "index2"):
        folders = cpus.glob(f"cpu[0-9]*/cache/{index}")
        sizes = {read_text(f / "shared_cpu_list"): read_text(f / "size") for f in folders}
        kilobytes = [int(m[1]) for s in sizes.values() if (m := _SIZE.fullmatch(s or ""))]
        if kilobytes:
            return KIB * sum(kilobytes)
    return None


def _choose_size(caches: int | None) -> int:
    if caches is None:
        return _USUAL_BYTES
    return min(max(_TIMES_CACHES * caches, _LEAST_BYTES), _MOST_BYTES)


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


def _time_round(
    go_through: Callable[[int], object], buffers: "list[ctypes.Array[ctypes.c_char]]"
) -> float:
    """Return the seconds in which a thread for each buffer went through it, given its address."""
    threads = [
        threading.Thread(target=go_through, args=(ctypes.addressof(buffer),)) for buffer in buffers
    ]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - started
