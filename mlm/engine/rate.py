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
from typing import Any, cast

from mlm.engine.spawn import scrub_environment
from mlm.hardware.sysfs import BOOT_ID, read_text
from mlm.hardware.types import Arithmetic, Hardware
from mlm.paths import keep_text
from mlm.units import GIB

_CACHE_NAME = "arithmetic.json"
_LIMIT_S = 20.0  # on a machine that is busy with something else; alone it takes less than one
_LEAST_BYTES = GIB  # that are free; it uses some 300 MB
# Cores that get a smaller share done together than their memory allows were kept from it by other
# work. Then they are measured again some time later, and until then expected to get on well.
_SOUND_SHARE, _USUAL_SHARE, _AGAIN_S = 0.7, 0.9, 600.0
_USUAL_STEP_S = 2e-6
_TYPICAL, _LIGHT = "Q4_K", "F16"  # as in `mlm.engine.arithmetic`

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
    light, typical = (n_threads * measured.reading[name] for name in (_LIGHT, _TYPICAL))
    # What one core reads, memory can bring, even if it was too busy when it was measured itself.
    bandwidth = max(hardware.memory_bandwidth_bytes_per_s or 0, *measured.reading.values())
    possible = min(1.0, bandwidth / typical)
    if measured.scaling >= _SOUND_SHARE * possible:
        return measured
    return replace(
        measured,
        scaling=_USUAL_SHARE * possible,
        peak_bytes_per_s=_USUAL_SHARE * min(bandwidth, light),
        step_s=min(measured.step_s, _USUAL_STEP_S),
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
    pairs = {name: tuple(map(_figure, pair)) for name, pair in document["attending"].items()}
    if not all(len(pair) == 2 for pair in pairs.values()):
        raise ValueError("not pairs")
    return Arithmetic(
        reading={name: _figure(value) for name, value in document["reading"].items()},
        multiplying={name: _figure(value) for name, value in document["multiplying"].items()},
        attending=cast(dict[str, tuple[float, float]], pairs),
        n_threads=int(_figure(document["n_threads"])),
        **{name: _figure(document[name]) for name in ("scaling", "peak_bytes_per_s", "step_s")},
    )


def _figure(value: object) -> float:
    if not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
        raise ValueError(f"{value!r} is no figure")
    return float(value)


def _better(known: Arithmetic | None, measured: Arithmetic | None) -> Arithmetic | None:
    """Return what is to be believed of two measurements: a busy machine only looks slower."""
    if known is None or measured is None:
        return known or measured
    return measured if measured.scaling > known.scaling else known


def _read_cache(path: Path, key: Key) -> tuple[Arithmetic, float] | None:
    """Return what was measured with this very engine and machine, and when (Unix time)."""
    try:
        document = json.loads(path.read_bytes())
        return (_read(document), _figure(document["at"])) if document["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
