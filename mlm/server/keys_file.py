"""The API keys on disk: a file of digests that `mlm keys` writes, and files of plain keys.

A key made here is 192 random bits, which nobody finds by trying, so one round of sha256 keeps it
as well as a slow hash would.
"""

import hashlib
import json
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from mlm.errors import DISK_FULL, ConflictError, NotFoundError, UsageError
from mlm.paths import replace_text
from mlm.store.lock import locked

MAX_REQUESTS_PER_MINUTE, MAX_CONCURRENT = 100_000, 1024
MIN_KEY_CHARS = 8
_SECRET_BYTES = 24
_PREFIX_CHARS = len("mlm_") + 8
_SCHEMA = "mlm.keys-file/1"
_NAME = r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}\Z"

Scope = Literal["user", "admin"]
PerMinute = Annotated[int, msgspec.Meta(ge=1, le=MAX_REQUESTS_PER_MINUTE)]
AtOnce = Annotated[int, msgspec.Meta(ge=1, le=MAX_CONCURRENT)]


class Key(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One API key, without the key itself, and what it allows."""

    name: Annotated[str, msgspec.Meta(pattern=_NAME)]
    scope: Scope
    prefix: str  # how the key begins, for people to tell it by
    sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
    created_at: Annotated[float, msgspec.Meta(ge=0, le=2**33)] | None  # Unix time
    requests_per_minute: PerMinute | None = None  # None: as many as come
    concurrent: AtOnce | None = None

    @property
    def tenant(self) -> str:
        """As whom its requests count where tenants are kept apart, and in the log."""
        return self.sha256[:16]


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    schema: Literal["mlm.keys-file/1"]
    keys: tuple[Key, ...]


def digest_of(secret: bytes) -> str:
    """Return as what a key is kept."""
    return hashlib.sha256(secret).hexdigest()


def read_keys(path: Path) -> tuple[Key, ...] | None:
    """Return the keys of the file that `mlm keys` writes; None where there is no file.

    Raises:
        UsageError: it cannot be read, is not what `mlm keys` wrote, or others may write it.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UsageError(f"the API keys in {path} cannot be read: {error.strerror}") from error
    if os.name == "posix" and mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise UsageError(f"others may write the API keys in {path}", remedy=f"chmod 600 {path}")
    try:
        keys = msgspec.json.decode(content, type=_Document).keys
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _damaged(path, str(error)) from error
    for kind, values in (("name", [k.name for k in keys]), ("key", [k.sha256 for k in keys])):
        if len(set(values)) < len(values):
            raise _damaged(path, f"a {kind} is there twice")
    return keys


def read_plain_keys(path: Path) -> tuple[Key, ...]:
    """Return the keys in a file that holds them as they are: one per line, all of them for admins.

    Empty lines and ``#`` comments are skipped.

    Raises:
        UsageError: the file cannot be read, holds no key, or one that is too short.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the API keys in {path} cannot be read: {error}") from error
    secrets_of = {n: line for n, line in enumerate(lines, 1) if line and not line.startswith("#")}
    if not secrets_of:
        raise UsageError(
            f"there is no API key in {path}",
            remedy="put one on each line, or leave the file out: mlm keys add NAME",
        )
    if short := [secret for secret in secrets_of.values() if len(secret) < MIN_KEY_CHARS]:
        raise UsageError(
            f"{len(short)} of the API keys in {path} have fewer than {MIN_KEY_CHARS} characters"
        )
    return tuple(
        Key(f"line {n}", "admin", "", digest_of(secret.encode()), None)
        for n, secret in secrets_of.items()
    )


def new_key(
    name: str, scope: Scope, requests_per_minute: int | None = None, concurrent: int | None = None
) -> tuple[Key, str]:
    """Make a key; return what is kept of it, and the key itself, which is kept nowhere.

    Raises:
        UsageError: that cannot be a name.
    """
    if re.match(_NAME, name) is None:
        raise UsageError(
            "that cannot be the name of a key",
            remedy="a letter or digit, then up to 63 of these: letters digits . _ @ -",
        )
    secret = "mlm_" + secrets.token_hex(_SECRET_BYTES)
    digest = digest_of(secret.encode())
    kept = Key(
        name, scope, secret[:_PREFIX_CHARS], digest, time.time(), requests_per_minute, concurrent
    )
    return kept, secret


def add_key(path: Path, key: Key) -> None:
    """Keep ``key`` in the file.

    Raises:
        ConflictError: there is one of that name.
        UsageError: the file is damaged or cannot be written.
    """
    with _editing(path):
        keys = read_keys(path) or ()
        if any(other.name == key.name for other in keys):
            raise ConflictError(
                f"there is a key '{key.name}' already",
                remedy=f"mlm keys revoke {key.name}, or take another name",
            )
        _write(path, (*keys, key))


def revoke_key(path: Path, name: str) -> tuple[Key, ...]:
    """Take the key called ``name`` out of the file; return those that are left.

    A file without keys stays: what needed a key must not answer everybody once there is none.

    Raises:
        NotFoundError: there is no such key.
        UsageError: the file is damaged or cannot be written.
    """
    with _editing(path):
        keys = read_keys(path) or ()
        left = tuple(key for key in keys if key.name != name)
        if len(left) == len(keys):
            raise NotFoundError(f"there is no key '{name}'", remedy="mlm keys list")
        _write(path, left)
    return left


@contextmanager
def _editing(path: Path) -> Iterator[None]:
    """Keep others from editing the file meanwhile."""
    try:
        with locked(path.with_suffix(".lock")):
            yield
    except OSError as error:
        if error.errno in DISK_FULL:
            raise
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error


def _write(path: Path, keys: Sequence[Key]) -> None:
    document = {"schema": _SCHEMA, "keys": [msgspec.to_builtins(key) for key in keys]}
    replace_text(path, json.dumps(document, indent=2) + "\n", mode=0o600)


def _damaged(path: Path, why: str) -> UsageError:
    return UsageError(
        f"the API keys in {path} are damaged: {why}",
        remedy=f"repair it, or begin anew: rm {path}, then mlm keys add NAME",
    )
