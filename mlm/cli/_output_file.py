"""What a command prints as a file, whole or not at all: ``-o FILE``."""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import IO

from mlm.errors import ConflictError, UsageError


@contextmanager
def output_file(path: Path | None, *, force: bool, note: Callable[[str], None]) -> Iterator[None]:
    """Let what the block prints on stdout become the file ``path``; None: leave stdout alone.

    The file appears when the block has succeeded. What a failed one printed stays beside it under
    another name, which ``note`` is told. A device or a named pipe is written to directly.

    Raises:
        ConflictError: the file exists, and ``force`` is not given.
        UsageError: it cannot be written.
    """
    if path is None:
        yield
        return
    with _explained(path):
        target = Path(os.path.realpath(path))  # a link stays one
        is_special = _is_special(target)
        if not is_special and target.exists() and not force:
            raise ConflictError(f"{path} exists", remedy="--force writes over it")
        partial = target if is_special else _beside(target)
        mode = "w" if is_special else "x"
        file = partial.open(mode, encoding="utf-8", errors="replace")  # kept if it fails
    if is_special:
        with file, redirect_stdout(file):
            yield
        return
    try:
        with redirect_stdout(file):
            yield
        with _explained(path):
            _publish(file, partial, target, force=force)
    except BaseException:
        _keep(file, partial, note)
        raise


def _is_special(target: Path) -> bool:
    """Tell whether the place is something else than a file: a device, a pipe.

    Raises:
        UsageError: it is a folder.
    """
    if target.is_dir():
        raise UsageError(f"{target} is a folder", remedy=f"-o {target / 'answer.txt'}")
    with suppress(FileNotFoundError):
        return not stat.S_ISREG(target.stat().st_mode)
    return False


def _beside(target: Path) -> Path:
    ending = f".{os.getpid()}.partial"
    return target.with_name(target.name[: 255 - len(ending)] + ending)


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
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UsageError(
            f"cannot write {path}: {error.strerror or error}", remedy="-o FILE"
        ) from error
