"""Lets two files with the same bytes share them on the disk, so that one copy becomes free.

The name that is given up is replaced in one step: whoever reads it sees the old file or the new
one, and a process that has the old one open keeps it.
"""

import contextlib
import os
import shutil
import stat
from collections.abc import Callable, Collection
from pathlib import Path

from mlm.store.cache_layout import sync_folder
from mlm.store.copying import Sharing, share_file
from mlm.store.digest import hash_file
from mlm.store.survey import DiskFile, Inode, look_at

_SUFFIX = ".mlm-link"  # of the second name while it waits to be renamed
_READ_BITS = stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH


def why_not_linkable(kept: DiskFile, given_up: DiskFile) -> str | None:
    """Return why the bytes of ``given_up`` cannot be those of ``kept``; None: they can.

    A hard link has one owner and one mode, so both must agree on who may read.
    """
    if kept.inode == given_up.inode:
        return "they share their bytes already"
    if kept.inode[0] != given_up.inode[0]:
        return "on another disk"
    if kept.owner != given_up.owner:
        return "it belongs to another user"
    if kept.mode & _READ_BITS != given_up.mode & _READ_BITS:
        return "others may read one of them, but not the other"
    return None


def share_bytes(
    kept: DiskFile,
    given_up: DiskFile,
    served: Collection[Inode],
    on_bytes: Callable[[int], None],
) -> Sharing | str:
    """Let ``given_up`` have the bytes of ``kept``; return how, or in words why nothing was done.

    Both are hashed first. What a server has open (``served``) stays as it is.
    """
    if given_up.inode in served or kept.inode in served:
        return "a running server has it open"
    if why := why_not_linkable(kept, given_up):
        return why
    if not os.access(given_up.path.parent, os.W_OK | os.X_OK):
        return f"{given_up.path.parent} cannot be written"
    waiting = given_up.path.with_name(f".{given_up.path.name[:200]}{_SUFFIX}")
    try:
        if hash_file(kept.path) != hash_file(given_up.path, on_bytes):
            return "their bytes differ"
        with contextlib.suppress(FileNotFoundError):
            waiting.unlink()  # a killed run left it
        return _replace(kept, given_up, waiting)
    except OSError as error:
        return (error.strerror or str(error)).lower()
    finally:
        with contextlib.suppress(OSError):
            waiting.unlink()


def _replace(kept: DiskFile, given_up: DiskFile, waiting: Path) -> Sharing | str:
    shared = share_file(Path(os.path.realpath(kept.path)), waiting)
    if shared is None:
        return "the file system has no links"
    if shared == "clone":
        shutil.copystat(given_up.path, waiting)
    now = look_at(kept.path, follow=True), look_at(given_up.path)
    if not (kept.is_same_as(now[0]) and given_up.is_same_as(now[1])):
        return "it was changed meanwhile"
    waiting.replace(given_up.path)
    sync_folder(given_up.path.parent)
    return shared
