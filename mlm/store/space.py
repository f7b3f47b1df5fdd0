"""Room on the disk: asked for before writing, and told apart from other failures of writing."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlm.errors import DISK_FULL, DiskSpaceError, MlmError, UsageError
from mlm.units import format_size

_MARGIN = 0.05  # of what is to be written: file systems need room for their own records


def check_space(folder: Path, needed: int) -> None:
    """Make sure that ``needed`` more bytes fit into the file system of ``folder``.

    Raises:
        DiskSpaceError: they do not; the message has both figures.
    """
    with_margin = int(needed * (1 + _MARGIN))
    free = shutil.disk_usage(folder).free
    if free < with_margin:
        raise disk_full(folder, with_margin, free)


def free_bytes(folder: Path) -> int:
    """Return what is free on the disk where ``folder`` is, or would be; 0 where nobody knows."""
    there = next((path for path in (folder, *folder.parents) if path.is_dir()), None)
    return shutil.disk_usage(there).free if there else 0


def occupied(path: Path) -> int:
    """Return the bytes that a file takes on the disk; the holes of an unfinished one take none.

    Raises:
        OSError: it is not there.
    """
    status = path.stat()
    blocks: int | None = getattr(status, "st_blocks", None)  # of 512 bytes; Windows has none
    return status.st_size if blocks is None else min(status.st_size, blocks * 512)


def disk_full(folder: Path, needed: int, free: int | None = None) -> DiskSpaceError:
    """Return the error for a disk that cannot take ``needed`` more bytes."""
    free = shutil.disk_usage(folder).free if free is None else free
    limit = ", but a quota or limit of yours stops it" if free > needed else ""
    return DiskSpaceError(
        f"{folder} needs {format_size(needed)} ({needed} bytes) more,"
        f" and {format_size(free)} ({free} bytes) are free{limit}",
        remedy="make room (mlm df, mlm prune, mlm rm REF), or export HF_HUB_CACHE=/a/larger/disk",
    )


@contextmanager
def writing_to(folder: Path, needed: int = 0) -> Iterator[None]:
    """Raise what a failure of the block to write into ``folder`` means.

    Raises:
        DiskSpaceError: the disk is full; ``needed`` bytes were still to be written.
        UsageError: the folder may not be written.
    """
    try:
        yield
    except OSError as error:
        raise _explain(error, folder, needed) from error


def _explain(error: OSError, folder: Path, needed: int) -> MlmError:
    if error.errno in DISK_FULL:
        return disk_full(folder, needed)
    return UsageError(
        f"{folder} cannot be written: {(error.strerror or str(error)).lower()}",
        remedy="name a folder you may write: HF_HUB_CACHE or MLM_HOME",
    )
