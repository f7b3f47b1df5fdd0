"""Main memory: all of it, what is free now, and what a control group leaves of that."""

import os
import re
from dataclasses import replace
from pathlib import Path

from mlm.hardware.cgroup import CgroupLimits, read_cgroup
from mlm.hardware.sysfs import read_text
from mlm.hardware.types import Hardware, Memory

_LINE = re.compile(r"^(\w+):\s+(\d+) kB$", re.MULTILINE | re.ASCII)


def read_memory(cgroup: CgroupLimits, root: Path = Path("/")) -> Memory:
    """Return the memory of this machine as a new process would find it."""
    figures = parse_meminfo(read_text(root / "proc/meminfo") or "")
    total, available = figures or _ask_system()
    return limit_memory(total, available, cgroup)


def read_lock_limit(total: int) -> int | None:
    """Return how many bytes of ``total`` this process and its children may keep from swapping."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    return total if limit == resource.RLIM_INFINITY else min(limit, total)


def memory_limit(root: Path = Path("/")) -> int | None:
    """Return what a control group allows now: the limit of a running process may be changed."""
    return read_memory(read_cgroup(root), root).limit


def follow_limit(hardware: Hardware, limit: int | None) -> Hardware:
    """Return ``hardware``, looked at earlier, as it is with a limit that has changed since."""
    memory = hardware.memory
    if limit == memory.limit:
        return hardware
    usable = memory.available
    if limit is not None:
        grown = memory.usable + limit - memory.limit if memory.limit is not None else limit
        usable = max(0, min(usable, grown))
    return replace(hardware, memory=replace(memory, limit=limit, usable=usable))


def parse_meminfo(text: str) -> tuple[int, int] | None:
    """Return total and available bytes from /proc/meminfo, None when they are not there."""
    kib = {name: int(value) for name, value in _LINE.findall(text)}
    if not kib.get("MemTotal"):
        return None
    free = sum(kib.get(name, 0) for name in ("MemFree", "Buffers", "Cached"))
    available = min(kib.get("MemAvailable", free), kib["MemTotal"])  # kernels before 3.14 lack it
    return kib["MemTotal"] * 1024, available * 1024


def limit_memory(total: int, available: int, cgroup: CgroupLimits) -> Memory:
    """Return the memory that ``cgroup`` leaves of ``total`` and ``available``."""
    limit = cgroup.memory_limit
    room = cgroup.memory_room
    return Memory(
        total=total,
        available=available,
        limit=limit if limit is not None and limit < total else None,
        usable=available if room is None else min(available, room),
    )


def _ask_system() -> tuple[int, int]:
    """Return total and available bytes where there is no /proc: macOS, Windows, odd sandboxes."""
    try:
        import psutil  # 51 ms that Linux need not pay

        memory = psutil.virtual_memory()
        return int(memory.total), int(memory.available)
    except (OSError, RuntimeError, ValueError, KeyError, ImportError):
        return _ask_libc()


def _ask_libc() -> tuple[int, int]:
    """Return what the C library knows; nothing is to be had where it knows nothing either."""
    try:
        page = os.sysconf("SC_PAGE_SIZE")
        total, free = (os.sysconf(name) * page for name in ("SC_PHYS_PAGES", "SC_AVPHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return 0, 0
    return max(total, 0), max(min(free, total), 0)
