"""Asks the real llama.cpp what it would allocate; run as a program: llama.cpp aborts when unhappy.

    python dry_run.py '[["FILE", {"n_ctx": 4096, "n_seq_max": 1, …}], …]'

prints a list of MiB by kind, from llama.cpp's own log. A file may be a header and a hole: without
"real" nothing is read but the header. "real" loads it, mapped, so that weights are counted too.
"""

import ctypes
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

_TYPES = {"f16": 1, "q8_0": 8, "q4_0": 2}
_FLASH = {"auto": -1, "off": 0, "on": 1}
_LINE = re.compile(r"(\S+)\s+(model|compute|output) buffer size = +([\d.]+) MiB")
_MEMORY = re.compile(r"(?:llama_kv_cache|llama_memory_recurrent): size = +([\d.]+) MiB")


def measure(runs: list[tuple[str, dict[str, Any]]]) -> list[dict[str, float]]:
    """Return MiB of weights, repack, kv_cache, compute and output of each run."""
    import llama_cpp

    from mlm.engine.amx import refused_if_miscompiled

    lines: list[str] = []

    @llama_cpp.llama_log_callback
    def log(level: int, text: bytes, user_data: ctypes.c_void_p) -> None:
        lines.append(text.decode(errors="replace"))

    llama_cpp.llama_log_set(log, ctypes.c_void_p())
    libraries = Path(llama_cpp.__file__).parent / "lib"
    results = []
    with refused_if_miscompiled(llama_cpp.llama_print_system_info().decode(), libraries):
        llama_cpp.llama_backend_init()
        for path, wishes in runs:
            lines.clear()
            _load(llama_cpp, path, wishes)
            results.append(_sum_up("".join(lines)))
            if not results[-1]["compute"]:
                raise SystemExit("".join(lines)[-2000:])
    return results


def _load(llama_cpp: Any, path: str, wishes: dict[str, Any]) -> None:
    settings = llama_cpp.llama_model_default_params()
    real = wishes.pop("real", False)
    settings.no_alloc, settings.load_mode, settings.n_gpu_layers = not real, int(real), 0
    context = llama_cpp.llama_context_default_params()
    context.swa_full = context.kv_unified = False
    context.flash_attn_type = _FLASH[wishes.pop("flash_attn", "auto")]
    for name in ("type_k", "type_v"):
        setattr(context, name, _TYPES[wishes.pop(name, "f16")])
    for name, value in wishes.items():
        setattr(context, name, value)
    if model := llama_cpp.llama_model_load_from_file(path.encode(), settings):
        made = llama_cpp.llama_init_from_model(model, context)
        if made:  # recurrent state is taken for real, even here: up to gigabytes each time
            llama_cpp.llama_free(made)


def _sum_up(text: str) -> dict[str, float]:
    found = dict.fromkeys(("weights", "repack", "kv_cache", "compute", "output"), 0.0)
    for buffer, kind, size in _LINE.findall(text):
        if kind == "model":
            kind = "repack" if buffer in ("CPU_REPACK", "AMX") else "weights"
        found[kind] += float(size)
    found["kv_cache"] = sum(map(float, _MEMORY.findall(text)))
    return found


if __name__ == "__main__":
    print(json.dumps(measure(json.loads(sys.argv[1]))), flush=True)
    os._exit(0)  # llama.cpp's own clean-up of a model without weights is not worth waiting for
