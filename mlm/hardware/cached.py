"""This machine in milliseconds: live figures, and the one measurement from a small file."""

import json
import time
from collections.abc import Iterable
from pathlib import Path

from mlm.hardware.detect import BANDWIDTH, measure_bandwidth, survey_hardware, with_bandwidth
from mlm.hardware.strain import read_cpu_pressure
from mlm.hardware.sysfs import BOOT_ID, read_text
from mlm.hardware.types import Hardware
from mlm.paths import keep_text

Key = list[str | float | None]

_CACHE_NAME = "hardware.json"
_EARLIER = "measured earlier"
_FRESH_S = 3600.0
# A figure taken while somebody waited for a CPU for this share of the time is soon taken again.
_BUSY, _BUSY_FRESH_S = 0.1, 60.0


def cached_hardware(cache_dir: Path, disk_paths: Iterable[Path] = ()) -> Hardware:
    """Return this machine as `mlm.hardware.detect.detect_hardware` does, but cheaply.

    All that can be told in milliseconds is asked anew, free memory above all. The measured memory
    bandwidth is kept in ``cache_dir`` until the machine, its usable cores or its boot change. Once
    an hour, or a minute after it was measured beside other work, it is measured again, and the
    greater figure stays: a busy machine only looks slower.
    """
    found = survey_hardware(disk_paths)
    if found.memory_bandwidth_bytes_per_s is not None:
        return found
    path = cache_dir / _CACHE_NAME
    key = _key(found)
    known, fresh_until = _read_cache(path, key) or (0, 0.0)
    if 0 <= fresh_until - time.time() <= _FRESH_S:
        return with_bandwidth(found, known, _EARLIER)
    is_busy = (read_cpu_pressure() or 0.0) > _BUSY
    measured = measure_bandwidth(found)
    fastest = max(measured.memory_bandwidth_bytes_per_s or 0, known)
    if not fastest:
        return measured
    fresh_until = time.time() + (_BUSY_FRESH_S if is_busy else _FRESH_S)
    keep_text(path, json.dumps({"key": key, BANDWIDTH: fastest, "fresh_until": fresh_until}))
    return measured if fastest > known else with_bandwidth(found, known, _EARLIER)


def recall_hardware(cache_dir: Path, disk_paths: Iterable[Path] = ()) -> Hardware:
    """Return this machine without measuring anything: what was not measured yet is None."""
    found = survey_hardware(disk_paths)
    if found.memory_bandwidth_bytes_per_s is not None:
        return found
    known = _read_cache(cache_dir / _CACHE_NAME, _key(found))
    return with_bandwidth(found, known[0], _EARLIER) if known else found


def _key(found: Hardware) -> Key:
    return [found.fingerprint, found.cpu.usable_cores, found.cpu.quota, read_text(BOOT_ID)]


def _read_cache(path: Path, key: Key) -> tuple[int, float] | None:
    """Return the bandwidth of this very machine, and until when it will do (Unix time)."""
    try:
        cached = json.loads(path.read_bytes())
        known, fresh_until = cached[BANDWIDTH], float(cached["fresh_until"])
        usable = cached["key"] == key and isinstance(known, int) and known > 0
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return (known, fresh_until) if usable else None
