"""Small files that a kernel writes. Missing or unreadable ones are None: never an error."""

import re
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")  # another one after each start
_CPU_SPAN = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?", re.ASCII)


def read_text(path: Path) -> str | None:
    """Return the content of a small file without surrounding white space."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except (OSError, ValueError):
        return None


def read_int(path: Path) -> int | None:
    """Return the integer (decimal, or hexadecimal after 0x) in a small file."""
    text = read_text(path)
    if text is None:
        return None
    try:
        return int(text, 0)
    except ValueError:
        return None


def parse_cpu_list(text: str) -> set[int]:
    """Return the CPUs that a kernel list names: ``0-3,8`` is {0, 1, 2, 3, 8}; junk is left out."""
    cpus: set[int] = set()
    for part in text.replace(",", " ").split():
        if span := _CPU_SPAN.fullmatch(part):
            cpus.update(range(int(span[1]), int(span[2] or span[1]) + 1))
    return cpus
