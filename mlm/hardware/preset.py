"""Machines to pretend: ``RTX 4090``, ``2x RTX 3090, 128GB``, ``M2 Max 64GB``, ``16GB laptop``.

Parts stand between commas or plus signs: one machine (a file of ``mlm hardware --json``, a chip, or
a kind like ``16GB laptop``), cards, an amount of main memory, a number of cores.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from mlm.errors import NotFoundError, UsageError
from mlm.hardware.gpu_table import find_gpu, load_table, words
from mlm.hardware.machines import expand_alias, find_kind, machine_names
from mlm.hardware.pretended import (
    MOST_CARDS,
    Base,
    Box,
    Cards,
    Chip,
    add_cards,
    build_machine,
    check_sold,
    with_cores,
)
from mlm.hardware.types import Hardware
from mlm.units import GIB, MIB

_LONGEST, _MOST_CORES = 300, 1024
_LEAST_MEMORY, _MOST_MEMORY = 64 * MIB, 65_536 * GIB
_NUMBER = r"[-+]?[\d.]+(?:e[-+]?\d+)?"
_UNIT = r"(tib|tb|gib|gb|g|mib|mb)"
_SIZE = re.compile(rf"(?<![\w.])({_NUMBER})\s*{_UNIT}\b", re.IGNORECASE | re.ASCII)
_MEMORY = re.compile(
    rf"([-+]?(?:[\d.][\w.^+-]*?|nan|inf))\s*{_UNIT}(?:\s+(?:of\s+)?(?:ram|memory))?",
    re.IGNORECASE | re.ASCII,
)
_CORES = re.compile(r"(\S+)\s+cores?", re.IGNORECASE)
_COUNTED = re.compile(rf"({_NUMBER})\s*[x\u00d7]\s*(.+)", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True)
class _Cores:
    """A number of cores that somebody asked for."""

    count: int


_Any = TypeVar("_Any")
_Part = Base | Cards | _Cores | int  # an int is main memory in bytes


def find_preset(text: str) -> Hardware:
    """Return the machine that ``text`` describes.

    Raises:
        NotFoundError: no GPU, chip or kind of machine is called so, or the file is not there.
        UsageError: such a machine cannot be, or the file is not a hardware document.
    """
    if _is_path(text) and os.path.lexists(text):
        return _read_file(text)  # whatever commas its name has
    if len(text) > _LONGEST:
        raise UsageError("no machine has so long a name", remedy='like "2x RTX 4090, 128GB"')
    pieces = [piece.strip() for piece in re.split(r",|\s\+\s", expand_alias(text.strip()))]
    if not all(pieces):
        raise UsageError(f"'{text}' has a part without a name", remedy='like "RTX 4090, 64GB"')
    parts = [_read_part(piece) for piece in pieces]
    memory = _only([part for part in parts if isinstance(part, int)], "amount of memory")
    cores = _only([part.count for part in parts if isinstance(part, _Cores)], "number of cores")
    base = _only([p for p in parts if isinstance(p, (Hardware, Chip, Box))], "machine")
    cards = [part for part in parts if isinstance(part, Cards)]
    if base is None and not cards:
        raise UsageError(f"'{text}' names no machine", remedy=f'like "{text}, RTX 4090"')
    machine = build_machine(base, memory, cards)
    machine = add_cards(machine, cards)
    if cores is not None:
        machine = replace(machine, cpu=with_cores(machine.cpu, cores))
    return replace(machine, fingerprint=f"preset:{' '.join(text.lower().split())}")


def preset_names() -> list[str]:
    """Return every name that `find_preset` knows, one spelling each."""
    return [*dict.fromkeys(row.name for row in load_table()), *machine_names()]


def complete_preset(begun: str) -> list[str]:
    """Return what ``begun`` may become, in a spelling that needs no quotes: ``rtx-4090``.

    Only what comes after the last comma or count is completed.
    """
    before = re.match(r"(?:.*(?:,|\s\+\s)\s*)?(?:\d+x\s*)?", begun, re.IGNORECASE)
    start = before[0] if before else ""
    names = (re.sub(r"[\s()]+", "-", name.lower()).strip("-") for name in preset_names())
    wanted = begun.removeprefix(start).lower().replace(" ", "-")
    return [start + name for name in dict.fromkeys(names) if name.startswith(wanted)]


def _is_path(text: str) -> bool:
    return text.endswith(".json") or "/" in text or "\\" in text


def _read_file(text: str) -> Hardware:
    from mlm.hardware.hardware_file import read_hardware_file

    return read_hardware_file(Path(text))


def _read_part(piece: str) -> _Part:
    """Return what one part of a description means."""
    if _is_path(piece):
        return _read_file(piece)
    if found := _CORES.fullmatch(piece):
        return _Cores(_count(found[1], _MOST_CORES, piece))
    if (found := _MEMORY.fullmatch(piece)) and find_gpu(piece) is None:
        return _size(found[1], found[2], piece)
    counted = _COUNTED.fullmatch(piece)
    count, name = (_count(counted[1], MOST_CARDS, piece), counted[2]) if counted else (1, piece)
    part = _find_box(name) or _find_gpu(name)
    if part is None:
        raise _unknown(name)
    if isinstance(part, Cards):
        return replace(part, count=count)
    if counted:
        raise UsageError(f"'{piece}': only cards come several in one machine", remedy=name)
    return part


def _find_box(name: str) -> Box | None:
    """Return a machine without a card: ``16GB laptop``, ``Raspberry Pi 5 8GB``, ``server``."""
    found = _SIZE.search(name)
    rest = name[: found.start()] + name[found.end() :] if found else name
    size = _size(found[1], found[2], name) if found and find_kind(rest, None) else None
    kind = find_kind(rest, size / GIB if size else None)
    return Box(kind, size) if kind else None


def _find_gpu(name: str) -> Cards | Chip | None:
    row = find_gpu(name)
    if row is None:
        return None
    found = _SIZE.search(name)
    size = _size(found[1], found[2], name) if found else None
    check_sold(row, size)
    if row.kind == "unified":
        return Chip(row, size)
    # Of several sizes the smallest: never promise too much.
    return Cards(row, size or min(row.memory_sizes, default=None), 1)


def _size(number: str, unit: str, piece: str) -> int:
    factor = {"t": 1024 * GIB, "g": GIB, "m": MIB}[unit[0].lower()]
    try:
        size = float(number) * factor
    except ValueError:
        size = float("nan")
    if not _LEAST_MEMORY <= size <= _MOST_MEMORY:
        raise UsageError(f"no machine has that much memory: '{piece}'", remedy="like 64GB")
    return int(size)


def _count(number: str, most: int, piece: str) -> int:
    if not (number.isascii() and number.isdigit() and len(number) < 6 and 1 <= int(number) <= most):
        raise UsageError(f"'{piece}': not a number from 1 to {most}", remedy="like 2x RTX 4090")
    return int(number)


def _only(found: Sequence[_Any], what: str) -> _Any | None:
    if len(found) > 1:
        raise UsageError(f"there can only be one {what}", remedy='like "2x RTX 4090, 128GB"')
    return found[0] if found else None


def _unknown(name: str) -> NotFoundError:
    from difflib import get_close_matches  # only when something is wrong

    spelled = {" ".join(sorted(words(each))): each for each in preset_names()}
    near = get_close_matches(" ".join(sorted(words(name))), spelled, n=3, cutoff=0.5)
    offered = f"; near it: {', '.join(spelled[each] for each in near)}" if near else ""
    return NotFoundError(
        f"no machine is called '{name}'{offered}",
        remedy='name a GPU, an Apple chip like "M2 Max 64GB", "16GB laptop", or a file.json',
    )
