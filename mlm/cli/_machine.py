"""The machine that a command plans for: this one, or a pretended one."""

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlm.cli._session import Session
    from mlm.hardware.types import Hardware
    from mlm.settings import Settings

_AMX = "amx_int8"


def planned_machine(
    session: "Session", hardware: str | None = None, memory: str | None = None
) -> "Hardware":
    """Return this machine, or the one that ``hardware`` names; ``memory`` is its free main memory.

    Raises:
        NotFoundError, UsageError: there is no such machine, or it is not a size.
    """
    if hardware is None:
        from mlm.cli._waiting import waiting_for

        with waiting_for(session, "measuring this machine"):
            machine = this_machine(session.settings)
    else:
        from mlm.hardware.preset import find_preset

        machine = find_preset(hardware)
    return machine if memory is None else _with_memory(machine, memory)


def this_machine(settings: "Settings", *, measures: bool = True) -> "Hardware":
    """Return this machine as plans see it; without ``measures`` with what was measured earlier."""
    from mlm.engine.rate import recall_arithmetic, with_arithmetic
    from mlm.hardware.cached import cached_hardware, recall_hardware

    cache = settings.home.cache
    if measures:
        return with_arithmetic(without_unusable_amx(cached_hardware(cache)), cache)
    return recall_arithmetic(without_unusable_amx(recall_hardware(cache)), cache)


def without_unusable_amx(hardware: "Hardware") -> "Hardware":
    """Return ``hardware`` without AMX if the installed engine was built by a compiler that breaks
    it: llama.cpp then keeps away from it, and repacks other weights."""
    if _AMX not in hardware.cpu.isa:
        return hardware
    from mlm.engine.amx import is_miscompiled
    from mlm.engine.rate import find_libraries

    folder = find_libraries()
    libraries = folder.glob("libggml-cpu*") if folder else ()
    if not any(is_miscompiled(library.read_bytes()) for library in libraries):
        return hardware
    isa = tuple(name for name in hardware.cpu.isa if not name.startswith("amx"))
    return replace(hardware, cpu=replace(hardware.cpu, isa=isa))


def _with_memory(hardware: "Hardware", text: str) -> "Hardware":
    from mlm.errors import UsageError
    from mlm.hardware.types import Memory
    from mlm.units import parse_size

    size = parse_size(text)
    if size <= 0:
        raise UsageError(f"--memory {text} leaves no memory", remedy="--memory 16GiB")
    return replace(hardware, memory=Memory(size, size, None, size))
