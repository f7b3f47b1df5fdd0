"""Files that go with a question: texts, and pictures where the model takes them."""

import glob
import re
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from mlm import text
from mlm.errors import NotFoundError, UsageError
from mlm.pictures import MAX_PICTURE_BYTES, media_type
from mlm.repl.picture import fit_picture
from mlm.sessions.types import Picture

MAX_FILE_BYTES = 1024**2  # of one text: more than any context here holds
MAX_FILES = 64  # of one folder or pattern
_SHOWN_NAMES = 5


class TakesNoPictures(UsageError):
    """A model without eyes is to be shown something."""

    code = "takes_no_pictures"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name} is a picture, and this model takes no pictures",
            remedy="`mlm recommend --use vision` names models that do",
        )


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file's text, or the picture that it is.

    ``remark`` is what its reader should know: that it had to be changed.
    """

    name: str
    text: str
    remark: str = field(default="", compare=False)
    picture: Picture | None = None

    @property
    def fenced(self) -> str:
        """The text between fences that nothing in it ends, under the file's name."""
        longest = max((len(run) for run in re.findall("`{3,}", self.text)), default=2)
        fence = "`" * (longest + 1)
        kind = Path(self.name).suffix[1:]
        language = kind if kind.isascii() and kind.isalnum() else ""
        end = "" if self.text.endswith("\n") or not self.text else "\n"
        return f"{self.name}:\n{fence}{language}\n{self.text}{end}{fence}"


def read_attachments(
    given: str, sees: Callable[[], bool], *, takes_pipes: bool = False
) -> list[Attachment]:
    """Return the file called ``given``, or the files in a folder or of a pattern that can be sent.

    Of a folder only what lies directly in it counts, and nothing hidden; a pattern may hold ``**``.
    ``sees`` tells whether the model takes pictures, and is only asked if there are some.
    With ``takes_pipes`` it may be a pipe, whose end is waited for.

    Raises:
        NotFoundError: there is nothing of that name.
        TakesNoPictures: it is a picture, and the model does not see.
        UsageError: it is neither text nor a picture, or too much of it.
    """
    paths = find_files(given)
    if len(paths) == 1 and Path(given).expanduser() == paths[0]:
        return [_read(paths[0], sees, takes_pipes=takes_pipes)]
    sees = cache(sees)
    found = [(path, _try_reading(path, sees)) for path in paths]
    read = [attachment for _, attachment in found if attachment is not None]
    if not read:
        raise UsageError(
            f"{given} holds no text files and no pictures that this model takes",
            remedy="/attach FILE names one",
        )
    skipped = [path.name for path, attachment in found if attachment is None]
    if skipped:
        names = ", ".join(skipped[:_SHOWN_NAMES])
        more = f" and {len(skipped) - _SHOWN_NAMES} more" if len(skipped) > _SHOWN_NAMES else ""
        first = read[0]
        remark = f"{first.remark}; " if first.remark else ""
        why = "neither text nor picture" if any(file.picture for file in read) else "no text"
        read[0] = replace(first, remark=f"{remark}left out as {why}: {names}{more}")
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


def to_attachment(data: bytes, name: str, sees: Callable[[], bool]) -> Attachment:
    """Return what is in a file; raises as `read_attachments`."""
    if media_type(data) is not None:
        if not sees():
            raise TakesNoPictures(name)
        picture, remark = fit_picture(data, name)
        return Attachment(name, "", remark, picture)
    decoded, remark = text.decode(data, name)
    if len(data) > MAX_FILE_BYTES:
        raise UsageError(
            f"{name} is larger than {MAX_FILE_BYTES // 1024**2} MiB",
            remedy="attach a part of it: head -c 100000 FILE > PART",
        )
    return Attachment(name, decoded, remark)


def _read(path: Path, sees: Callable[[], bool], *, takes_pipes: bool = False) -> Attachment:
    try:
        # A pipe might never give anything.
        if not takes_pipes and not stat.S_ISREG(path.stat().st_mode):
            raise UsageError(f"{path} is not a regular file", remedy="/attach FILE")
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
            if media_type(data) is not None:
                data += file.read(MAX_PICTURE_BYTES)
    except OSError as error:
        why = error.strerror or str(error)
        raise UsageError(f"cannot read {path}: {why}", remedy="/attach OTHER_FILE") from error
    return to_attachment(data, str(path), sees)


def _try_reading(path: Path, sees: Callable[[], bool]) -> Attachment | None:
    try:
        return _read(path, sees)
    except UsageError:
        return None
