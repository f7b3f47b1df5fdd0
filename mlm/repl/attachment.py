"""Text files that go with a question."""

import glob
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mlm import text
from mlm.errors import NotFoundError, UsageError

MAX_FILE_BYTES = 1024**2  # of one file: more than any context here holds
MAX_FILES = 64  # of one folder or pattern
_SHOWN_NAMES = 5


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file's text. ``remark`` is what its reader should know: that it had to be changed."""

    name: str
    text: str
    remark: str = ""

    @property
    def fenced(self) -> str:
        """The text between fences that nothing in it ends, under the file's name."""
        longest = max((len(run) for run in re.findall("`{3,}", self.text)), default=2)
        fence = "`" * (longest + 1)
        kind = Path(self.name).suffix[1:]
        language = kind if kind.isascii() and kind.isalnum() else ""
        end = "" if self.text.endswith("\n") or not self.text else "\n"
        return f"{self.name}:\n{fence}{language}\n{self.text}{end}{fence}"


def read_attachments(given: str, *, takes_pipes: bool = False) -> list[Attachment]:
    """Return the file called ``given``, or the text files in a folder or of a pattern.

    Of a folder only what lies directly in it counts, and nothing hidden; a pattern may hold ``**``.
    With ``takes_pipes`` it may be a pipe, whose end is waited for.

    Raises:
        NotFoundError: there is nothing of that name.
        UsageError: it is no text, or too much of it.
    """
    paths = find_files(given)
    if len(paths) == 1 and Path(given).expanduser() == paths[0]:
        return [_read(paths[0], takes_pipes=takes_pipes)]
    found = [(path, _try_reading(path)) for path in paths]
    read = [attachment for _, attachment in found if attachment is not None]
    if not read:
        raise UsageError(f"{given} holds no text files", remedy="/attach FILE names one")
    skipped = [path.name for path, attachment in found if attachment is None]
    if skipped:
        names = ", ".join(skipped[:_SHOWN_NAMES])
        more = f" and {len(skipped) - _SHOWN_NAMES} more" if len(skipped) > _SHOWN_NAMES else ""
        first = read[0]
        remark = f"{first.remark}; " if first.remark else ""
        note = f"{remark}left out as no text: {names}{more}"
        read[0] = Attachment(first.name, first.text, note)
    return read


def find_files(given: str) -> Sequence[Path]:
    """Return the files that a name, a folder or a pattern means.

    Raises:
        NotFoundError: there are none.
        UsageError: they are too many, or cannot be listed.
    """
    path = Path(given).expanduser()
    try:
        if path.is_dir():
            paths = sorted(child for child in path.iterdir() if not child.name.startswith("."))
        elif path.exists():
            return [path]
        else:
            paths = sorted(map(Path, glob.glob(str(path), recursive=True)))  # noqa: PTH207
        files = [found for found in paths if found.is_file()]
    except (OSError, ValueError, RecursionError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"cannot read {given}: {why}", remedy="/attach OTHER_FILE") from error
    if not files:
        what = "holds no files" if path.is_dir() else "is not there"
        raise NotFoundError(f"{given} {what}", remedy="/attach FILE; a tab completes names")
    if len(files) > MAX_FILES:
        raise UsageError(
            f"{given} means {len(files)} files; {MAX_FILES} go with a question at most",
            remedy="/attach 'FOLDER/*.py' chooses some",
        )
    return files


def _read(path: Path, *, takes_pipes: bool = False) -> Attachment:
    try:
        # A pipe might never give anything.
        if not takes_pipes and not stat.S_ISREG(path.stat().st_mode):
            raise UsageError(f"{path} is not a regular file", remedy="/attach FILE")
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        why = error.strerror or str(error)
        raise UsageError(f"cannot read {path}: {why}", remedy="/attach OTHER_FILE") from error
    decoded, remark = text.decode(data, str(path))
    if len(data) > MAX_FILE_BYTES:
        raise UsageError(
            f"{path} is larger than {MAX_FILE_BYTES // 1024**2} MiB",
            remedy="attach a part of it: head -c 100000 FILE > PART",
        )
    return Attachment(str(path), decoded, remark)


def _try_reading(path: Path) -> Attachment | None:
    try:
        return _read(path)
    except UsageError:
        return None
