"""The API keys that a server knows, followed while it runs."""

import hmac
import logging
from collections.abc import Sequence
from pathlib import Path

from mlm.errors import UsageError
from mlm.server.keys_file import Key, digest_of, new_key, read_keys, read_plain_keys

_log = logging.getLogger("mlm.server")


class Keys:
    """Who may ask. Without any key nobody is asked for one; once there was one, everybody is.

    What `mlm keys` writes counts from the next request on. While the file cannot be read, the
    keys that it held before stay.
    """

    def __init__(self, path: Path | None = None, plain: Sequence[Key] = ()) -> None:
        """Read the keys in ``path``; those in ``plain`` stay as long as the server runs.

        Raises:
            UsageError: the file cannot be read.
        """
        self._path, self._plain = path, tuple(plain)
        self._keys = self._plain
        self._stamp: tuple[int, ...] | None = None
        self._own: Key | None = None
        self.required = bool(plain)
        self.reload()

    @classmethod
    def open(cls, path: Path, plain_file: Path | None) -> "Keys":
        """Return the keys of `mlm keys` and those of ``plain_file``, for a server to start with.

        Raises:
            UsageError: a file cannot be read, or the keys were all revoked: nobody could ask.
        """
        keys = cls(path, read_plain_keys(plain_file) if plain_file else ())
        if keys.required and not keys.known:
            raise UsageError(
                f"all keys in {path} were revoked, so nobody could use this server",
                remedy=f"mlm keys add NAME; or, to ask for no keys any more: rm {path}",
            )
        return keys

    @classmethod
    def of_one_command(cls) -> "Keys":
        """Return the keys of a server that serves one command: none but its own."""
        keys = cls()
        keys.required = True
        return keys

    @property
    def known(self) -> tuple[Key, ...]:
        """The keys as they are now."""
        return self._keys

    def add_own(self) -> str:
        """Make the server's own key, for commands of the same user; return it."""
        self._own, secret = new_key("own", "admin")
        self._plain = (*self._plain, self._own)
        self._keys = (*self._keys, self._own)
        return secret

    def find(self, secret: bytes) -> Key | None:
        """Return the key that somebody has shown, if it is one."""
        return self.get(digest_of(secret))

    def get(self, sha256: str) -> Key | None:
        """Return the key with this digest, in a time that says nothing of the digests."""
        same = [key for key in self._keys if hmac.compare_digest(key.sha256, sha256)]
        return same[0] if same else None

    def tenant_of(self, key: Key | None) -> str:
        """Return whose cached answers and prefixes these are; "" is the user who runs the server.

        Without keys everybody counts as that.
        """
        return "" if key is None or key is self._own else key.tenant

    def follow(self) -> None:
        """Read the file again if it has changed; what is wrong with it is logged."""
        if self._path is None or _stamp(self._path) == self._stamp:
            return
        try:
            self.reload()
        except UsageError as error:
            _log.warning("%s; the keys of before stay (%s)", error.message, error.remedy)

    def reload(self) -> None:
        """Read the file again. A file that has gone holds no keys, but they are still asked for.

        Raises:
            UsageError: it cannot be read; the keys of before stay.
        """
        if self._path is None:
            return
        self._stamp = _stamp(self._path)
        kept = read_keys(self._path)
        self.required = self.required or kept is not None
        self._keys = (*self._plain, *(kept or ()))


def _stamp(path: Path) -> tuple[int, ...] | None:
    """Return what changes with a file; None where there is none to be seen."""
    try:
        status = path.stat()
    except OSError as error:
        return None if isinstance(error, FileNotFoundError) else (error.errno or 0,)
    return (status.st_ino, status.st_mtime_ns, status.st_size, status.st_mode)
