"""Keeping llama.cpp away from AMX where its compiler got AMX wrong.

Before 11.5, 12.4 and 13.3, GCC told its optimiser that ``_tile_loadconfig`` reads 8 bytes instead
of 64 (GCC bug 114098). llama.cpp built by such a compiler, Debian 12's for one, loads garbage
into the tile registers and dies of SIGSEGV in the first decode, on every CPU that has AMX. It
falls back to its other kernels when the kernel refuses AMX, so the kernel is made to refuse.
"""

import ctypes
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

AmxState = Literal["unused", "used", "miscompiled"]

_FIXED_MINOR = {11: 5, 12: 4, 13: 3}  # by major version; all later ones are fixed
_COMPILER = re.compile(rb"GCC: \([^)]*\) (\d+)\.(\d+)")
_ANY_COMPILER = re.compile(rb"(?:(GCC): \([^)\0]*\)|(clang) version) (\d[\d.]*)")
_USES_AMX = "AMX_INT8 = 1"
_SS_DISABLE = 2  # bits/ss_flags.h
_SMALL_STACK_BYTES = 8192  # legal, but less than a signal frame with AMX state needs


class _SignalStack(ctypes.Structure):
    """stack_t of signal.h on Linux."""

    _fields_ = (("sp", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


def is_miscompiled(library: bytes) -> bool:
    """Return whether a shared library was made by a GCC that compiles AMX wrongly."""
    versions = [(int(major), int(minor)) for major, minor in _COMPILER.findall(library)]
    return any(gets_amx_wrong(major, minor) for major, minor in versions)


def gets_amx_wrong(major: int, minor: int) -> bool:
    """Return whether GCC of this version is one of those."""
    return major < min(_FIXED_MINOR) or minor < _FIXED_MINOR.get(major, 0)


def name_compiler(libraries: Path) -> str | None:
    """Return the compiler that made a build's CPU kernels: ``GCC 12.2.0``; None: not to be told."""
    for path in sorted(libraries.glob("*ggml-cpu*")):
        for gcc, clang, version in _ANY_COMPILER.findall(path.read_bytes()):
            return f"{(gcc or clang).decode()} {version.decode()}"
    return None


def describe_amx(system_info: str, libraries: Path) -> AmxState:
    """Return how a build uses AMX, from the same facts as `refused_if_miscompiled`."""
    if sys.platform != "linux" or _USES_AMX not in system_info:
        return "unused"
    kernels = libraries.glob("libggml-cpu*")
    return "miscompiled" if any(is_miscompiled(path.read_bytes()) for path in kernels) else "used"


@contextmanager
def refused_if_miscompiled(system_info: str, libraries: Path) -> Iterator[None]:
    """Load the first model inside this: ggml asks for AMX then, and remembers the answer.

    Args:
        system_info: what llama.cpp says of itself and this CPU.
        libraries: the folder of llama.cpp's shared libraries.
    """
    if describe_amx(system_info, libraries) != "miscompiled":
        yield
        return
    # Linux grants AMX only if every thread's signal stack has room for its state.
    memory = ctypes.create_string_buffer(_SMALL_STACK_BYTES)
    _set_signal_stack(_SignalStack(ctypes.addressof(memory), 0, _SMALL_STACK_BYTES))
    try:
        yield
    finally:
        _set_signal_stack(_SignalStack(None, _SS_DISABLE, 0))


def _set_signal_stack(stack: _SignalStack) -> None:
    ctypes.CDLL(None).sigaltstack(ctypes.byref(stack), None)
