"""Has a person change a file in the editor of their choice."""

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from mlm.errors import UsageError


class EditorError(UsageError):
    """The editor could not be started, or did not end well."""

    code = "editor_failed"


def edit_file(path: Path) -> None:
    """Start the editor on ``path`` and return when it has ended well.

    Raises:
        EditorError: it did not.
    """
    command = choose_editor(os.environ)
    with _ctrl_c_is_for_the_editor():
        try:
            code = subprocess.run([*command, str(path)], check=False).returncode
        except OSError as error:
            raise EditorError(
                f"cannot start the editor {command[0]}: {error.strerror}",
                remedy="EDITOR=nano mlm config edit REF",
            ) from error
    if code < 0:
        name = signal.Signals(-code).name
        raise EditorError(f"the editor {command[0]} was ended by {name}; nothing is changed")
    if code > 0:
        raise EditorError(f"the editor {command[0]} ended with {code}; nothing is changed")


def choose_editor(environ: Mapping[str, str]) -> list[str]:
    """Return the words of VISUAL, else of EDITOR, else the editor that every system has.

    Raises:
        EditorError: quotes in them do not match.
    """
    for name in ("VISUAL", "EDITOR"):
        try:
            words = shlex.split(environ.get(name, ""), posix=sys.platform != "win32")
        except ValueError as error:
            raise EditorError(f"{name} makes no sense: {error}", remedy=f"{name}=nano") from error
        if words:
            return words
    return ["notepad" if sys.platform == "win32" else "vi"]


@contextmanager
def _ctrl_c_is_for_the_editor() -> Iterator[None]:
    """Leave Ctrl-C to the editor: it has a meaning of its own there.

    Unlike ignoring it, a handler is not inherited.
    """
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
