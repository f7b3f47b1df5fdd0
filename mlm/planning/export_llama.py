"""A runtime config for llama-server: as a shell script, and as a preset of its router.

The names are those of common/arg.cpp in the llama.cpp of llama-cpp-python 0.3.36; the preset's
grammar is that of common/preset.cpp there.
"""

import re
import shlex
from collections.abc import Sequence

from mlm.planning.exported import Exported, Subject, heading, refuse_path
from mlm.planning.types import RuntimeConfig
from mlm.units import MIB

_PROGRAM = "llama-server"
_LOAD_MODES = {
    (True, True): "mmap+mlock", (True, False): "mmap", (False, True): "mlock",
    (False, False): "none",
}  # fmt: skip
_NO_VALUE_CHARS = re.compile(r"[;#\r\n]|^[ \t]|[ \t]$")  # a comment begins anywhere in a value
_NO_SECTION_CHARS = re.compile(r"[\]\r\n]")
_TAKEN_SECTIONS = ("*", "default")

Option = tuple[str, str | int | None]  # name without dashes; None: it takes no value


def export_llama_server(subject: Subject) -> Exported:
    """Return a shell script that starts llama-server with the config, an option on each line."""
    left_out = _left_out(subject)
    words = [
        f"--{name}" if value is None else f"--{name} {shlex.quote(str(value))}"
        for name, value in _options(subject)
    ]
    lines = " \\\n  ".join(["exec llama-server", *words, '"$@"'])
    text = f"#!/bin/sh\n{heading(subject, _PROGRAM, left_out)}{lines}\n"
    return Exported(text, left_out)


def export_llama_server_ini(subject: Subject) -> Exported:
    """Return a preset for ``llama-server --models-preset FILE``.

    Raises:
        CannotExport: the path holds what its INI files have no way to quote.
    """
    for path in (subject.path, subject.mmproj):
        if path is not None and _NO_VALUE_CHARS.search(str(path)):
            why = "its presets cannot hold ; or #, line ends, nor spaces at the ends"
            raise refuse_path(_PROGRAM, path, why)
    left_out = _left_out(subject)
    lines = [
        f"{name} = {'true' if value is None else value}"
        for name, value in _options(subject)
        if name != "alias"  # the router calls a model by the name of its section
    ]
    section = _NO_SECTION_CHARS.sub("_", subject.model_id).strip()
    if section in _TAKEN_SECTIONS:
        section = f"{section}-model"
    body = "\n".join(["version = 1", "", f"[{section}]", *lines])
    return Exported(f"{heading(subject, _PROGRAM, left_out)}{body}\n", left_out)


def _options(subject: Subject) -> Sequence[Option]:
    config = subject.config
    options: list[Option] = [("model", str(subject.path))]
    if "," not in subject.model_id:
        options.append(("alias", subject.model_id))
    options += [
        ("ctx-size", config.n_ctx),
        ("parallel", config.n_parallel),
        ("batch-size", config.n_batch),
        ("ubatch-size", config.n_ubatch),
        ("gpu-layers", config.n_gpu_layers),
        ("n-cpu-moe", config.n_cpu_moe),
        ("threads", config.n_threads),
        ("threads-batch", config.n_threads_batch),
        ("cache-type-k", config.type_k),
        ("cache-type-v", config.type_v),
        ("flash-attn", config.flash_attn),
        ("load-mode", _LOAD_MODES[config.use_mmap, config.use_mlock]),
        ("fit", "off"),  # or it would change what is not said here
        ("cache-ram", config.prefix_cache // MIB),
        *_switches(config),
    ]
    if subject.mmproj is not None and config.sees:
        options.append(("mmproj", str(subject.mmproj)))
    if config.max_tokens is not None:
        options.append(("predict", config.max_tokens))
    return options


def _switches(config: RuntimeConfig) -> list[Option]:
    switches: list[Option] = [("kv-unified" if config.kv_unified else "no-kv-unified", None)]
    if config.swa_full:
        switches.append(("swa-full", None))
    if config.embedding:
        switches.append(("embedding", None))
    if config.pooling != "auto":
        switches.append(("pooling", config.pooling))
    return switches


def _left_out(subject: Subject) -> tuple[str, ...]:
    config = subject.config
    kept = f"response_cache {config.response_cache}, cache_ttl_s {config.cache_ttl_s}"
    left_out = [f"{kept}: llama-server keeps no answers"]
    if "," in subject.model_id:
        left_out.append("alias: a comma in it separates names")
    return tuple(left_out)
