"""Does the engine load, and does it use the GPUs that there are?"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from mlm.cli.doctor._finding import Finding
from mlm.engine import require_engine
from mlm.errors import EngineError
from mlm.hardware.cached import cached_hardware
from mlm.hardware.types import Accelerator
from mlm.settings import Settings
from mlm.units import format_size

LOAD_TIMEOUT_S = 60
# Run in a child process: a broken build may abort instead of raising.
_ASK = """
import json
from mlm.engine.llama import C, ENGINE
print(json.dumps({"engine": ENGINE, "offloads": bool(C.llama_supports_gpu_offload())}))
"""
# How llama-cpp-python is built for a GPU: its README, "Supported Backends".
_BUILD_FLAGS = {
    "cuda": "-DGGML_CUDA=on",
    "rocm": "-DGGML_HIP=on",
    "metal": "-DGGML_METAL=on",
    "vulkan": "-DGGML_VULKAN=on",
    "sycl": "-DGGML_SYCL=on",
}


def check_engine(settings: Settings) -> Iterator[Finding]:
    """The engine is installed and loads; its build can use the GPUs of this machine."""
    require_engine()
    facts = _ask_engine()
    yield Finding("engine", "ok", facts["engine"])
    hardware = cached_hardware(settings.home.cache)
    yield judge_offload(bool(facts["offloads"]), hardware.accelerators)


def judge_offload(offloads: bool, accelerators: tuple[Accelerator, ...]) -> Finding:
    """Return whether the engine's build suits the GPUs."""
    seen = ", ".join(f"{a.name} ({format_size(a.memory_total)})" for a in accelerators)
    if not accelerators:
        return Finding("gpu", "ok", "none seen; models run on the CPU")
    if offloads:
        return Finding("gpu", "ok", f"{seen}; the engine can use it")
    flags = _BUILD_FLAGS[accelerators[0].kind]
    return Finding(
        "gpu",
        "warn",
        f"{seen}; the engine was built without GPU support, so models run on the CPU",
        fix=f"CMAKE_ARGS={flags} pip install --force-reinstall --no-cache-dir llama-cpp-python",
    )


def _ask_engine() -> dict[str, Any]:
    try:
        child = subprocess.run(
            [sys.executable, "-c", _ASK],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=LOAD_TIMEOUT_S,
            env={**os.environ, "GGML_NO_BACKTRACE": "1"},
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise _broken(f"loading it took more than {LOAD_TIMEOUT_S} s") from error
    if child.returncode < 0:
        raise _broken(f"loading it ended with {signal.Signals(-child.returncode).name}")
    if child.returncode > 0:
        last = child.stderr.strip().splitlines()
        raise _broken(last[-1] if last else f"exit code {child.returncode}")
    return dict(json.loads(child.stdout))


def _broken(why: str) -> EngineError:
    return EngineError(
        f"the engine is installed but does not load: {why}",
        remedy="pip install --force-reinstall --no-cache-dir llama-cpp-python",
    )
