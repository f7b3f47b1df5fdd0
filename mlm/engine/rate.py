"""What the engine makes of this CPU: measured once by a child process, then kept in a file."""

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mlm.engine.spawn import scrub_environment
from mlm.hardware.sysfs import BOOT_ID, read_text
from mlm.hardware.types import Arithmetic, Hardware
from mlm.paths import keep_text
from mlm.units import GIB

_CACHE_NAME = "arithmetic.json"
_LIMIT_S = 20.0  # on a machine that is busy with something else; alone it takes less than one
_LEAST_BYTES = GIB  # that are free; it uses some 300 MB
# Cores of which other programs took more than a seventh are measured again some time later, and
# until then expected to get on as well together as they usually do.
_UNDISTURBED, _USUAL_SHARE, _AGAIN_S = 0.85, 0.9, 600.0
_USUAL_STEP_S = 2e-6
_TYPICAL = "Q4_K"  # as in `mlm.engine.arithmetic`

Key = list[str | int | None]


def with_arithmetic(hardware: Hardware, cache_dir: Path) -> Hardware:
    """Return ``hardware`` with what the installed engine makes of its CPU; about a second the first
    time. Unchanged without an engine that can tell."""
    folder = find_libraries()
    if folder is None or hardware.memory.usable < _LEAST_BYTES:
        return hardware
    path, key = cache_dir / _CACHE_NAME, _key(hardware, folder)
    known, measured_at = _read_cache(path, key) or (None, 0.0)
    is_old = not 0 <= time.time() - measured_at < _AGAIN_S
    if known is None or (is_old and known != _undisturbed(known, hardware)):
        known = _better(known, _measure(folder, hardware.cpu.usable_cores))
        if known is not None:
            keep_text(path, json.dumps({"key": key, "at": time.time(), **asdict(known)}))
    return replace(hardware, arithmetic=known and _undisturbed(known, hardware))


def recall_arithmetic(hardware: Hardware, cache_dir: Path) -> Hardware:
    """Return ``hardware`` with what was measured earlier, if it was."""
    folder = find_libraries()
    if folder is None:
        return hardware
    known = _read_cache(cache_dir / _CACHE_NAME, _key(hardware, folder))
    return replace(hardware, arithmetic=_undisturbed(known[0], hardware)) if known else hardware


def _undisturbed(measured: Arithmetic, hardware: Hardware) -> Arithmetic:
    """Return what cores do together, or would do if there were not so much else to do."""
    n_threads = measured.n_threads
    if measured.n_cpus >= _UNDISTURBED * n_threads:
        return measured
    together = measured.reading[_TYPICAL]
    alone = together / (n_threads * measured.scaling)  # measured by the time that it was given
    bandwidth = max(hardware.memory_bandwidth_bytes_per_s or 0, alone)
    scaling = max(_USUAL_SHARE * min(1.0, bandwidth / (n_threads * alone)), measured.scaling)
    gain = scaling / measured.scaling
    return replace(
        measured,
        reading={name: gain * rate for name, rate in measured.reading.items()},
        starting={name: seconds / gain for name, seconds in measured.starting.items()},
        multiplying={name: gain * rate for name, rate in measured.multiplying.items()},
        attending={name: seconds / gain for name, seconds in measured.attending.items()},
        step_s=min(measured.step_s, _USUAL_STEP_S),
        scaling=scaling,
    )


def find_libraries() -> Path | None:
    """Return the folder of the installed engine's libraries."""
    engine = find_spec("llama_cpp")
    if engine is None or engine.origin is None:
        return None
    return Path(engine.origin).parent / "lib"


def _key(hardware: Hardware, folder: Path) -> Key:
    """Return what must be the same for a measurement to hold."""
    builds = sorted(folder.glob("*ggml-cpu*"))
    build = [(p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in builds if p.is_file()]
    cores = hardware.cpu.usable_cores
    return [hardware.fingerprint, cores, read_text(BOOT_ID), f"{folder} {build}"]


def _measure(folder: Path, n_threads: int) -> Arithmetic | None:
    """Let a child process measure; None when it cannot."""
    command = [sys.executable, "-m", "mlm.engine.arithmetic", str(folder), str(n_threads)]
    try:
        done = subprocess.run(
            command,
            env=scrub_environment(os.environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_LIMIT_S,
            check=True,
        )
        return _read(json.loads(done.stdout))
    except (OSError, ValueError, KeyError, TypeError, subprocess.SubprocessError):
        return None


def _read(document: Mapping[str, Any]) -> Arithmetic:
    """Return the figures in a document.

    Raises:
        ValueError, KeyError, TypeError: they are not there, or cannot be.
    """
    reading, starting, multiplying, attending = (
        {name: _figure(value) for name, value in document[field].items()}
        for field in ("reading", "starting", "multiplying", "attending")
    )
    step_s, n_threads, scaling, n_cpus = (
        _figure(document[name]) for name in ("step_s", "n_threads", "scaling", "n_cpus")
    )
    return Arithmetic(
        reading, starting, multiplying, attending, step_s, int(n_threads), scaling, n_cpus
    )


def _figure(value: object) -> float:
    if not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
        raise ValueError(f"{value!r} is no figure")
    return float(value)


def _better(known: Arithmetic | None, measured: Arithmetic | None) -> Arithmetic | None:
    """Return what is to be believed of two measurements: that of the less busy machine."""
    if known is None or measured is None:
        return known or measured
    return measured if measured.n_cpus > known.n_cpus else known


def _read_cache(path: Path, key: Key) -> tuple[Arithmetic, float] | None:
    """Return what was measured with this very engine and machine, and when (Unix time)."""
    try:
        document = json.loads(path.read_bytes())
        return (_read(document), _figure(document["at"])) if document["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
