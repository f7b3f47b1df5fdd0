"""What a command prints as a file, whole or not at all: ``-o FILE``."""

import functools
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import IO

from mlm.errors import DISK_FULL, ConflictError, UsageError

_OPEN_FILE = re.compile(r"/(?:dev|proc/self)/fd/(\d+)")
_STREAMS = {"-": 1, "/dev/stdout": 1, "/dev/stderr": 2}
_MAX_NAME_BYTES = 255  # of most file systems


@contextmanager
def output_file(
    path: Path | None, *, force: bool, note: Callable[[str], None], mode: int = 0o666
) -> Iterator[None]:
    """Let what the block prints on stdout become the file ``path``; None: leave stdout alone.

    The file appears when the block has succeeded. What a failed one printed stays beside it under
    another name, which ``note`` is told. What is no regular file, such as a pipe, is written to
    directly, and so is a file that is open already: ``/dev/fd/3``; ``-`` is stdout. A new file gets
    ``mode``, less the umask.

    Raises:
        ConflictError: the file exists, and ``force`` is not given.
        UsageError: it cannot be written.
    """
    if path is None or _open_number(path) == 1:
        yield
        return
    with _explained(path):
        stream = _open_stream(path)
    if stream is not None:
        with stream, redirect_stdout(stream):
            yield
        return
    with _explained(path):
        target = Path(os.path.realpath(path))  # a link stays one
        if target.exists() and not force:
            raise ConflictError(f"{path} exists", remedy="--force writes over it")
        partial, file = _open_beside(target, mode)
    try:
        with redirect_stdout(file):
            yield
        with _explained(path):
            _publish(file, partial, target, force=force)
    except BaseException:
        _keep(file, partial, note)
        raise


def _open_number(path: Path) -> int | None:
    """Return the number of the open file that ``path`` means; None if it is another name."""
    found = _OPEN_FILE.fullmatch(str(path))
    return int(found[1]) if found else _STREAMS.get(str(path))


def _open_stream(path: Path) -> IO[str] | None:
    """Return ``path`` to write to as it is; None for a regular file, or one that is to be.

    Raises:
        UsageError: it is a folder.
        OSError: it cannot be written to.
    """
    if (number := _open_number(path)) is not None:
        # Its name, opened once more, would begin a file anew, and fail for a socket.
        handle = os.dup(number)
        os.write(handle, b"")  # fails now if it is for reading only
        return os.fdopen(handle, "w", encoding="utf-8", errors="replace")
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(mode):
        raise UsageError(f"{path} is a folder", remedy=f"-o {path / 'answer.txt'}")
    if stat.S_ISREG(mode):
        return None
    handle = os.open(path, os.O_WRONLY)
    return os.fdopen(handle, "w", encoding="utf-8", errors="replace")


def _open_beside(target: Path, mode: int) -> tuple[Path, IO[str]]:
    """Return a new file in the same folder, and its stream.

    Who may read it is as of ``target``; where that is to be made, as ``mode`` says.
    """
    ending = f".{os.urandom(4).hex()}.partial"
    name = os.fsencode(target.name)[: _MAX_NAME_BYTES - len(ending)].decode("utf-8", "ignore")
    partial = target.with_name(name + ending)
    there = stat.S_IMODE(target.stat().st_mode) if target.exists() else None
    # Nobody else looks in before the mode is right.
    opener = functools.partial(os.open, mode=mode if there is None else 0o600)
    file = open(partial, "x", encoding="utf-8", errors="replace", opener=opener)  # noqa: SIM115
    if there is not None:
        with suppress(OSError):  # of a file system without modes
            partial.chmod(there)
    return partial, file


def _publish(file: IO[str], partial: Path, target: Path, *, force: bool) -> None:
    """Give the whole file its name, over no other that has come meanwhile unless ``force``."""
    file.flush()
    os.fsync(file.fileno())
    file.close()
    if not force:
        try:
            os.link(partial, target)
        except FileExistsError:
            raise ConflictError(f"{target} exists", remedy="--force writes over it") from None
        except OSError:  # a file system without links
            pass
        else:
            partial.unlink()
            return
    partial.replace(target)


def _keep(file: IO[str], partial: Path, note: Callable[[str], None]) -> None:
    with suppress(OSError):  # of a full disk
        file.close()
    with suppress(OSError):
        if partial.stat().st_size:
            note(f"note: what came until then is in {partial}")
        else:
            partial.unlink()


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Say of a file that cannot be written why; a full disk is the whole command's business."""
    try:
        yield
    except OSError as error:
        if error.errno in DISK_FULL:
            raise
        is_missing = isinstance(error, FileNotFoundError)
        raise UsageError(
            f"cannot write {path}: {error.strerror or error}",
            remedy=f"mkdir -p {path.parent}" if is_missing else "-o OTHER_FILE",
        ) from error
