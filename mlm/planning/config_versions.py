"""Earlier versions of a config file, and how a new one takes its place without losing any."""

import os
import re
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mlm.errors import DISK_FULL, DiskSpaceError
from mlm.paths import replace_text
from mlm.planning.config_file import ConfigError

VERSIONS_KEPT = 10


@dataclass(frozen=True, slots=True)
class Version:
    """What a config file held before."""

    number: int  # counts up; it stays the same while the version is kept
    path: Path
    written_at: float  # Unix time


def list_versions(path: Path) -> list[Version]:
    """Return the versions that the config file ``path`` had before, the latest first."""
    name = re.compile(re.escape(path.name) + r"\.([1-9][0-9]{0,8})")
    found = []
    with suppress(FileNotFoundError, NotADirectoryError):
        for entry in os.scandir(_folder(path)):
            if match := name.fullmatch(entry.name):
                written_at = entry.stat().st_mtime
                found.append(Version(int(match[1]), Path(entry.path), written_at))
    return sorted(found, key=lambda version: version.number, reverse=True)


def write_version(path: Path, text: str) -> None:
    """Write a config file whole or not at all; what it held is kept as its latest version.

    Raises:
        DiskSpaceError: the disk is full; the file is as it was.
        ConfigError: it cannot be written; the file is as it was.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            if path.read_bytes() == text.encode():
                return
            _keep(path)
        replace_text(path, text)
    except OSError as error:
        raise cannot_write(path, error) from error


def restore_version(path: Path, version: Version, text: str) -> None:
    """Make ``text``, which ``version`` holds, what the config file holds; raises as
    `write_version`.

    The two change places, so that doing it again undoes it.
    """
    write_version(path, text)
    with suppress(OSError):
        version.path.unlink()


def cannot_write(path: Path, error: OSError) -> DiskSpaceError | ConfigError:
    """Return what to tell of a config file that could not be written."""
    if error.errno in DISK_FULL:
        remedy = "make room: mlm df, then mlm prune or mlm rm REF"
        return DiskSpaceError(f"cannot write {path}: {error.strerror}", remedy=remedy)
    remedy = "mlm --home DIR config generate REF"
    return ConfigError(f"cannot write {path}: {error.strerror}", remedy=remedy)


def _keep(path: Path) -> None:
    """Copy a config file to the place of its next version, and forget the oldest ones."""
    folder = _folder(path)
    folder.mkdir(exist_ok=True)
    versions = list_versions(path)
    number = versions[0].number + 1 if versions else 1
    temporary = folder / f"{path.name}.{os.getpid()}.tmp"
    try:
        shutil.copy2(path, temporary)  # with the time at which it was written
        _take_place(temporary, folder / f"{path.name}.{number}")
    finally:
        temporary.unlink(missing_ok=True)
    for version in versions[VERSIONS_KEPT - 1 :]:
        version.path.unlink(missing_ok=True)


def _take_place(temporary: Path, place: Path) -> None:
    """Rename a file, but not over one that another process has just put there."""
    while True:
        try:
            os.link(temporary, place)
            return
        except FileExistsError:
            number = int(place.suffix[1:]) + 1
            place = place.with_suffix(f".{number}")
        except OSError:  # a file system without links
            temporary.replace(place)
            return


def _folder(path: Path) -> Path:
    return path.parent / "history"
