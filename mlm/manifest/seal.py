"""Tells the config that `mlm sync` wrote from one that a person has edited since.

A runtime config is tuned to its machine, so its text cannot be locked. What is locked is what was
asked for; the file carries that, and a checksum of itself.
"""

import hashlib
import re
from typing import Literal

State = Literal["missing", "current", "outdated", "edited"]

_SEAL = re.compile(
    r"# For what mlm\.yaml asks: (?P<asked>[0-9a-f]{64})\n"
    r"# As mlm sync wrote it: (?P<text>[0-9a-f]{64})\n"
)


def seal(text: str, asked_sha256: str) -> str:
    """Return the config file ``text`` with a seal on top: made for ``asked_sha256``."""
    return (
        f"# For what mlm.yaml asks: {asked_sha256}\n# As mlm sync wrote it: {_hash(text)}\n{text}"
    )


def is_sealed(text: str) -> bool:
    """Whether `mlm sync` wrote ``text``, however it was edited since."""
    return _SEAL.match(text) is not None


def judge(text: str | None, asked_sha256: str) -> State:
    """Return what a config file is for somebody who asks for ``asked_sha256``; None: no file."""
    if text is None:
        return "missing"
    match = _SEAL.match(text)
    if match is None or match["text"] != _hash(text[match.end() :]):
        return "edited"
    return "current" if match["asked"] == asked_sha256 else "outdated"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
