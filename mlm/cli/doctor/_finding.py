"""What one look at the installation found."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from mlm.errors import ExitCode, MlmError
from mlm.settings import Settings

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report. A failure says with which exit code the family of it ends."""

    name: str
    status: Status
    detail: str
    fix: str | None = None  # the command to type next
    exit_code: ExitCode = ExitCode.OK


Check = Callable[[Settings], Iterator[Finding]]


def failed(name: str, error: MlmError) -> Finding:
    """Return the finding that ``error`` is."""
    return Finding(name, "fail", error.message, error.remedy, error.exit_code)


def examine(check: Check, settings: Settings) -> Iterator[Finding]:
    """Yield what ``check`` finds; an error that it raises is its last finding."""
    try:
        yield from check(settings)
    except MlmError as error:
        yield failed(subject_of(check), error)


def subject_of(check: Check) -> str:
    """Return in a word what ``check`` looks at."""
    return check.__name__.removeprefix("check_").removeprefix("rebuild_")
