"""What a Linux control group (v1 or v2) leaves to this process.

Groups nest, and every level counts: a container's 16 GiB mean little inside a slice of 8 GiB. So
each level up to the mount is read, and the smallest room rules.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mlm.hardware.sysfs import read_text

# v1 says "no limit" with the largest page-aligned integer; nobody sets an exbibyte.
_NO_LIMIT = 1 << 60


@dataclass(frozen=True, slots=True)
class MemoryLevel:
    """One level of the tree that has a memory limit, in bytes."""

    limit: int
    current: int
    inactive_file: int  # page cache that the kernel drops before it refuses memory

    @property
    def room(self) -> int:
        """Bytes that can still be had under this limit."""
        return max(0, self.limit - max(0, self.current - self.inactive_file))


@dataclass(frozen=True, slots=True)
class CgroupLimits:
    """What the control groups around this process allow."""

    cpu_quota: float | None = None  # CPUs; the smallest up the tree
    memory: tuple[MemoryLevel, ...] = ()

    @property
    def memory_limit(self) -> int | None:
        """The smallest memory limit up the tree, in bytes."""
        return min((level.limit for level in self.memory), default=None)

    @property
    def memory_room(self) -> int | None:
        """Bytes that can still be had under every limit."""
        return min((level.room for level in self.memory), default=None)


@dataclass(frozen=True, slots=True)
class _Mount:
    """Where a hierarchy is mounted, and which of its groups the mount point shows."""

    point: str
    root: str
    version: int
    controllers: frozenset[str]


def read_cgroup(root: Path = Path("/")) -> CgroupLimits:
    """Return the limits around this process; none where there are no control groups.

    ``root`` is the top of the file system; tests pass a tree of their own.
    """
    quotas: list[float] = []
    levels: list[MemoryLevel] = []
    for folder, version in cgroup_folders(root):
        quota, level = _read_v2(folder) if version == 2 else _read_v1(folder)
        quotas += [quota] if quota is not None else []
        levels += [level] if level is not None else []
    return CgroupLimits(min(quotas, default=None), tuple(levels))


def cgroup_folders(root: Path = Path("/"), pid: int | None = None) -> Iterator[tuple[Path, int]]:
    """Yield the folders of the control groups around a process, and their version, 1 or 2.

    Innermost first within each hierarchy; this process without a ``pid``.
    """
    process = root / "proc" / (str(pid) if pid is not None else "self")
    membership, mountinfo = read_text(process / "cgroup"), read_text(process / "mountinfo")
    if membership is None or mountinfo is None:
        return
    groups = parse_membership(membership)
    for mount in _parse_mounts(mountinfo):
        for folder in _levels(root, mount, groups):
            yield folder, mount.version


def parse_membership(text: str) -> dict[str, str]:
    """Return the group of each controller from /proc/self/cgroup; "" is the unified hierarchy."""
    groups = {}
    for line in text.splitlines():
        parts = line.split(":", 2)
        if len(parts) == 3 and parts[2].startswith("/"):
            groups.update({controller: parts[2] for controller in parts[1].split(",")})
    return groups


def _parse_mounts(text: str) -> list[_Mount]:
    mounts = []
    for line in text.splitlines():
        before, separator, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if not separator or len(fields) < 5 or len(kind) < 3:
            continue
        if kind[0] == "cgroup2":
            mounts.append(_Mount(fields[4], fields[3], 2, frozenset({""})))
        elif kind[0] == "cgroup":
            wanted = {"cpu", "memory"} & set(kind[2].split(","))
            if wanted:
                mounts.append(_Mount(fields[4], fields[3], 1, frozenset(wanted)))
    return mounts


def _levels(root: Path, mount: _Mount, groups: dict[str, str]) -> list[Path]:
    """Return the folders of this process's group and of every group around it, innermost first."""
    group = next((groups[name] for name in sorted(mount.controllers) if name in groups), None)
    if group is None:
        return []
    # In a container without a cgroup namespace the mount shows only the container's own subtree.
    shown = mount.root.rstrip("/")
    inside = group.removeprefix(shown) if group == shown or group.startswith(f"{shown}/") else ""
    parts = [part for part in inside.split("/") if part not in ("", "..")]
    top = root / mount.point.lstrip("/")
    return [top.joinpath(*parts[:depth]) for depth in range(len(parts), -1, -1)]


def _read_v2(folder: Path) -> tuple[float | None, MemoryLevel | None]:
    quota = parse_cpu_max(read_text(folder / "cpu.max") or "")
    # Above memory.high (systemd's MemoryHigh) a group is slowed down until it gives memory back.
    limits = [_parse_bytes(read_text(folder / f"memory.{name}")) for name in ("max", "high")]
    limit = min((size for size in limits if size is not None), default=None)
    if limit is None:
        return quota, None
    current = _parse_bytes(read_text(folder / "memory.current")) or 0
    cache = parse_stat(read_text(folder / "memory.stat") or "").get("inactive_file", 0)
    return quota, MemoryLevel(limit, current, cache)


def _read_v1(folder: Path) -> tuple[float | None, MemoryLevel | None]:
    budget = read_text(folder / "cpu.cfs_quota_us")
    period = read_text(folder / "cpu.cfs_period_us")
    quota = parse_cpu_max(f"{budget} {period}") if budget and period else None
    stat = parse_stat(read_text(folder / "memory.stat") or "")
    # The kernel knows the tightest limit around the group, whether or not its level can be seen.
    around = stat.get("hierarchical_memory_limit", _NO_LIMIT)
    limit = min(_parse_bytes(read_text(folder / "memory.limit_in_bytes")) or _NO_LIMIT, around)
    if limit >= _NO_LIMIT:
        return quota, None
    current = _parse_bytes(read_text(folder / "memory.usage_in_bytes")) or 0
    cache = stat.get("total_inactive_file", stat.get("inactive_file", 0))
    return quota, MemoryLevel(limit, current, cache)


def parse_cpu_max(text: str) -> float | None:
    """Return CPUs from ``cpu.max`` ("150000 100000" is 1.5); None for "max", -1 and junk."""
    fields = text.split()
    if len(fields) != 2 or not all(field.isascii() and field.isdigit() for field in fields):
        return None
    budget, period = int(fields[0]), int(fields[1])
    return budget / period if budget > 0 and period > 0 else None


def parse_stat(text: str) -> dict[str, int]:
    """Return the counters of a ``memory.stat``."""
    counters = {}
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        if value.isascii() and value.isdigit():
            counters[name] = int(value)
    return counters


def _parse_bytes(text: str | None) -> int | None:
    if text is None or not (text.isascii() and text.isdigit()):
        return None  # "max", or not there
    size = int(text)
    return size if size < _NO_LIMIT else None
