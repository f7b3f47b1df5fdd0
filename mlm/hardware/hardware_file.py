"""The file of another machine's ``mlm hardware --json``, read with suspicion."""

import json
import os
import stat
from pathlib import Path

from mlm.errors import NotFoundError, UsageError
from mlm.hardware.document import from_document
from mlm.hardware.types import Hardware
from mlm.units import MIB

_MAX_BYTES = 4 * MIB  # a real one has a few KiB
_REMEDY = "mlm hardware --json > machine.json"


def read_hardware_file(path: Path) -> Hardware:
    """Return the machine in the file.

    Raises:
        NotFoundError: it cannot be read.
        UsageError: it is not a hardware document.
    """
    try:
        raw = _read(path.expanduser())
    except (OSError, ValueError, RuntimeError) as error:  # a NUL in the name; no such home
        why = getattr(error, "strerror", None) or str(error)
        raise NotFoundError(f"cannot read {path}: {why}", remedy=_REMEDY) from error
    if len(raw) > _MAX_BYTES:
        raise UsageError(f"{path} is too long to be a hardware document", remedy=_REMEDY)
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not JSON", remedy=_REMEDY) from error
    return from_document(document, source=str(path))


def _read(path: Path) -> bytes:
    # Without waiting: nobody may ever write to a pipe of that name.
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with open(handle, "rb") as file:  # noqa: PTH123 - it is open already
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise UsageError(f"{path} is not a file", remedy=_REMEDY)
        return file.read(_MAX_BYTES + 1)
