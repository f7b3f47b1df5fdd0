"""Names that come from outside: which may become a part of a path or of a URL.

Repository listings, headers and command lines are written by others. A name that fails here is
never used, so nothing a server says can place a file outside the store.
"""

import re
import unicodedata

MAX_REPO_ID = 96  # the hub's own limit
_MAX_PART, _MAX_NAME = 255, 1024  # bytes: one folder or file name on usual disks, a whole path

_REPO_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?"
_REPO_ID = re.compile(rf"{_REPO_PART}/{_REPO_PART}")
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_QUANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ETAG = re.compile(r'"[\x21\x23-\x7e]{1,256}"')
_SHARD = re.compile(r"-(\d{5})-of-(\d{5})$")


def is_repo_id(text: str) -> bool:
    """Whether ``text`` is ``organisation/repository`` as the hub allows it.

    Neither part may hold ``--`` or ``..``: a cache folder is named after both, joined by ``--``.
    """
    if len(text) > MAX_REPO_ID or "--" in text or ".." in text or text.endswith(".git"):
        return False
    return _REPO_ID.fullmatch(text) is not None


def is_model_name(text: str) -> bool:
    """Whether ``text`` could be the catalog's name of a model."""
    return _MODEL.fullmatch(text) is not None


def is_quant(text: str) -> bool:
    """Whether ``text`` could be the name of a quantization."""
    return _QUANT.fullmatch(text) is not None


def is_commit(text: object) -> bool:
    """Whether ``text`` is a git commit: forty lower-case hexadecimal digits."""
    return isinstance(text, str) and _COMMIT.fullmatch(text) is not None


def is_sha256(text: object) -> bool:
    """Whether ``text`` is a sha256 in lower-case hexadecimal digits."""
    return isinstance(text, str) and _SHA256.fullmatch(text) is not None


def is_strong_etag(text: object) -> bool:
    """Whether ``text`` is an ETag that bytes can be resumed on, safe to send back in a header."""
    return isinstance(text, str) and _ETAG.fullmatch(text) is not None


def is_filename(text: object) -> bool:
    """Whether ``text`` is a path inside a repository that is safe to repeat on a local disk."""
    if not isinstance(text, str) or unicodedata.normalize("NFC", text) != text:
        return False
    if any(unicodedata.category(c) in ("Cc", "Cf", "Cs") for c in text):
        return False
    if "\\" in text or ":" in text or len(text.encode()) > _MAX_NAME:
        return False
    parts = text.split("/")
    return all(part not in ("", ".", "..") and len(part.encode()) <= _MAX_PART for part in parts)


def is_revision(text: str) -> bool:
    """Whether ``text`` may name a branch, tag or commit: it becomes a file below ``refs/``."""
    return is_filename(text) and not text.startswith("-")


def split_shard(filename: str) -> tuple[str, int, int]:
    """Return the path without ``.gguf`` and shard suffix, the shard's number and their count.

    A file that is not split is shard 1 of 1.
    """
    stem = filename.removesuffix(".gguf").removesuffix(".GGUF")
    match = _SHARD.search(stem)
    if match is None:
        return stem, 1, 1
    return stem[: match.start()], int(match[1]), int(match[2])
