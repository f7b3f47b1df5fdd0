"""Brings the bytes of a local file under another name: shared where the disk can, else copied."""

import contextlib
import errno
import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from mlm.errors import ConflictError, UsageError
from mlm.store.digest import hash_file
from mlm.store.space import check_space
from mlm.units import MIB

_FICLONE = 0x40049409  # linux/fs.h: share all extents of a file (btrfs, XFS, bcachefs, ZFS)
_CHUNK_BYTES = 4 * MIB
_NO_LINKS = (errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS)

Sharing = Literal["clone", "hardlink"]
OnBytes = Callable[[int], None]


def copy_file(source: Path, target: Path, on_bytes: OnBytes, *, needed: int = 0) -> str:
    """Make ``target``, a new file, the same as ``source``, safe on the disk; return its sha256.

    The bytes are read once. Where the file system can share them (reflink) nothing is written;
    else there must be room for ``needed`` bytes: this file, and those that come after it.

    Raises:
        ConflictError: somebody changed ``source`` meanwhile.
        DiskSpaceError: it does not fit.
        OSError: it cannot be read or written.
    """
    with source.open("rb", buffering=0) as file:
        before = os.fstat(file.fileno())
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb", buffering=0) as copy:
            if _clone(file.fileno(), copy.fileno()):
                sha256 = hash_file(target, on_bytes)
            else:
                check_space(target.parent, max(needed, before.st_size))
                sha256 = _copy_hashing(file.fileno(), copy.fileno(), on_bytes)
            os.fsync(copy.fileno())
            size = os.fstat(copy.fileno()).st_size
        after = os.fstat(file.fileno())
    same = (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
    if not same or size != before.st_size:
        raise ConflictError(
            f"{source} was changed while it was copied", remedy="wait until nobody writes to it"
        )
    return sha256


def link_file(source: Path, target: Path) -> None:
    """Make ``target`` a hard link to ``source``: two names of one file.

    Raises:
        UsageError: that cannot be had there; the reason is in the message.
    """
    try:
        target.hardlink_to(source)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        raise UsageError(
            f"{source} cannot be linked into {target.parent.parent}:"
            f" {_why_no_link(source, target, error)}",
            remedy=f"mlm import --copy {source}",
        ) from error


def share_file(source: Path, target: Path, *, may_link: bool = True) -> Sharing | None:
    """Make ``target``, a new file, hold the bytes of ``source`` at no cost; None: it cannot be had.

    A clone comes first: it stays right even if somebody writes into ``source``. Where that may
    happen, a link will not do.
    """
    with contextlib.suppress(OSError):
        with source.open("rb") as file, target.open("xb") as copy:
            if _clone(file.fileno(), copy.fileno()):
                os.fsync(copy.fileno())
                return "clone"
        target.unlink()
        if may_link:
            target.hardlink_to(source)
            return "hardlink"
    return None


def _clone(source: int, target: int) -> bool:
    if not sys.platform.startswith("linux"):
        return False
    import fcntl

    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        return False
    return True


def _copy_hashing(source: int, target: int, on_bytes: OnBytes) -> str:
    digest, done = hashlib.sha256(), 0
    while chunk := os.read(source, _CHUNK_BYTES):
        digest.update(chunk)
        view = memoryview(chunk)
        while view:
            view = view[os.write(target, view) :]
        done += len(chunk)
        on_bytes(done)
    return digest.hexdigest()


def _why_no_link(source: Path, target: Path, error: OSError) -> str:
    if error.errno == errno.EXDEV:
        return "it is on another disk"
    if error.errno in (errno.EPERM, errno.EACCES):
        return (
            "the system does not allow it, as the file is another user's or the disk has no links"
        )
    return (error.strerror or str(error)).lower()
