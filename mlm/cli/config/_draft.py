"""A copy of a config on which a person works; it stays until the work is saved or thrown away."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from mlm.errors import ConflictError
from mlm.paths import replace_text
from mlm.planning.config_versions import cannot_write
from mlm.store.lock import try_locked


@dataclass(frozen=True, slots=True)
class Draft:
    """The copy, and what it was made of."""

    path: Path
    original: str
    is_old: bool  # left by an edit that ended badly

    def read(self) -> str | None:
        """Return the text, None when there is none. A YAML reader refuses what is not UTF-8."""
        try:
            text = self.path.read_bytes().decode("utf-8", "surrogateescape")
        except FileNotFoundError:
            return None
        return text if text.strip() else None

    @property
    def is_worth_keeping(self) -> bool:
        """Whether somebody has put work into it."""
        text = self.read()
        return text is not None and text != self.original

    def discard(self) -> None:
        """Throw it away."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)


@contextmanager
def open_draft(config: Path, original: str, *, fresh: bool) -> Iterator[Draft]:
    """Yield the draft of the file ``config``: the one that was left, else a copy of ``original``.

    One without changes goes at the end; any other stays, whatever happens.

    Raises:
        ConflictError: somebody else is at it.
        ConfigError, DiskSpaceError: no draft can be written.
    """
    folder = config.parent / "drafts"
    path, lock = folder / config.name, folder / f"{config.name}.lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with try_locked(lock) as is_mine:
            if not is_mine:
                raise ConflictError(
                    f"the config {config.name} is being edited already",
                    remedy="finish that first",
                )
            is_old = path.is_file() and not fresh
            if not is_old:
                replace_text(path, original)
            draft = Draft(path, original, is_old)
            try:
                yield draft
            finally:
                if not draft.is_worth_keeping:
                    draft.discard()
                with suppress(OSError):
                    lock.unlink()
    except OSError as error:
        raise cannot_write(path, error) from error
