"""What a runtime config becomes for another program."""

from dataclasses import dataclass
from pathlib import Path

import mlm
from mlm.errors import UsageError
from mlm.planning.types import RuntimeConfig


class CannotExport(UsageError):
    """The other program has no way to say this."""

    code = "cannot_export"


@dataclass(frozen=True, slots=True)
class Subject:
    """The model that is to be run elsewhere, and how."""

    model_id: str
    path: Path  # of its first file, absolute
    config: RuntimeConfig
    mmproj: Path | None = None  # the projector beside it, absolute


@dataclass(frozen=True, slots=True)
class Exported:
    """A file for another program, and which settings it cannot say, each with the reason."""

    text: str
    left_out: tuple[str, ...]


def heading(subject: Subject, program: str, left_out: tuple[str, ...]) -> str:
    """Return the comment lines with which every exported file begins."""
    lines = [f"How {program} runs {subject.model_id}; written by mlm {mlm.__version__}"]
    lines += [f"left out: {item}" for item in left_out]
    return "".join(f"# {one_line(line)}\n" for line in lines)


def one_line(text: str) -> str:
    """Return ``text`` without what would end a comment or command a terminal."""
    return "".join(char if char.isprintable() else " " for char in text)


def refuse_path(program: str, path: Path, why: str) -> CannotExport:
    """Return the error for a path that the format of a program has no way to write."""
    return CannotExport(
        f"{program} cannot be told of the file {one_line(str(path))}: {why}",
        remedy="make a link to it with a plain name, and use that as REF",
    )
