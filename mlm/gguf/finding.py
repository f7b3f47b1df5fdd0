"""What a close look at a model file found."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warn", "info"]
_MAX_NAMES = 4


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong (error), doubtful (warn) or worth knowing (info) about a file."""

    severity: Severity
    code: str  # stable: vocab-size, tensor-nan …
    what: str
    why: str  # what comes of it
    fix: str | None = None  # what to do


def error(code: str, what: str, why: str, fix: str | None = None) -> Finding:
    """Return a finding with which the model does not work."""
    return Finding("error", code, what, why, fix)


def warn(code: str, what: str, why: str, fix: str | None = None) -> Finding:
    """Return a finding with which the model works, but perhaps not as it should."""
    return Finding("warn", code, what, why, fix)


def info(code: str, what: str, why: str, fix: str | None = None) -> Finding:
    """Return something that is good to know."""
    return Finding("info", code, what, why, fix)


def name_some(names: Sequence[str]) -> str:
    """Return the first of ``names``, and how many more there are."""
    shown = ", ".join(names[:_MAX_NAMES])
    more = len(names) - _MAX_NAMES
    return f"{shown} and {more} more" if more > 0 else shown
