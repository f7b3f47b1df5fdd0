"""Where mlm keeps what it writes of its own. Model files live in the Hugging Face cache instead."""

import contextlib
import os
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple


class Home(NamedTuple):  # a dataclass would take 15 ms of every Tab
    """The folder ``MLM_HOME`` and the places inside it. Nothing is created until it is needed."""

    root: Path

    @property
    def catalog(self) -> Path:
        """The user's own catalog files, layered over the shipped ones."""
        return self.root / "catalog"

    @property
    def config(self) -> Path:
        """Runtime configs, one YAML file per model."""
        return self.root / "config"

    @property
    def manifests(self) -> Path:
        """Manifests that came from the web, each in a folder named after its checksum."""
        return self.root / "manifests"

    @property
    def cache(self) -> Path:
        """What can be deleted at any time: parsed catalog, hardware figures."""
        return self.root / "cache"

    @property
    def completions(self) -> Path:
        """Scripts that let shells complete mlm's words."""
        return self.root / "completions"

    @property
    def run(self) -> Path:
        """One JSON file per running server."""
        return self.root / "run"

    @property
    def logs(self) -> Path:
        """Logs of servers and workers."""
        return self.root / "logs"

    @property
    def index_db(self) -> Path:
        """The store's index (SQLite)."""
        return self.root / "index.sqlite"

    @property
    def keys(self) -> Path:
        """API keys of servers, as digests."""
        return self.root / "keys.json"

    @property
    def receipts(self) -> Path:
        """What the store knows of each file; the index is rebuilt from it."""
        return self.root / "receipts"

    @property
    def models(self) -> Path:
        """Copies of local models, each in a folder named after its content."""
        return self.root / "models"

    @property
    def prefixes(self) -> Path:
        """Checksums of the chunks of verified files; what is lost is only missed when repairing."""
        return self.root / "prefixes"

    @property
    def stats_db(self) -> Path:
        """History of requests (SQLite)."""
        return self.root / "stats.sqlite"

    @property
    def ledger_db(self) -> Path:
        """What was predicted and what came of it (SQLite)."""
        return self.root / "ledger.sqlite"

    @property
    def response_cache_db(self) -> Path:
        """Cached responses (SQLite)."""
        return self.root / "responses.sqlite"

    @property
    def sessions_db(self) -> Path:
        """Saved conversations (SQLite)."""
        return self.root / "sessions.sqlite"

    @property
    def chat_history(self) -> Path:
        """Lines typed into ``mlm chat``."""
        return self.root / "chat_history"


def default_home(environ: Mapping[str, str] = os.environ) -> Path:
    """Return ``MLM_HOME``, or the platform's folder for application data."""
    if configured := environ.get("MLM_HOME"):
        return Path(configured).expanduser()
    if sys.platform == "linux" and "ANDROID_ROOT" not in environ:
        base = environ.get("XDG_DATA_HOME", "")
        return Path(base if base.strip() else "~/.local/share").expanduser() / "mlm"
    from platformdirs import user_data_path  # says the same of Linux, after 32 ms of import

    return user_data_path("mlm", appauthor=False)


def default_hub_cache(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the Hugging Face cache folder by that library's own rules."""
    if cache := environ.get("HF_HUB_CACHE"):
        return Path(cache).expanduser()
    if home := environ.get("HF_HOME"):
        return Path(home).expanduser() / "hub"
    base = environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "huggingface" / "hub"


def keep_text(path: Path, text: str) -> None:
    """Write ``path`` and its folder if they can be written: what is lost can be had again."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_text(path, text)


def replace_text(path: Path, text: str, *, mode: int = 0o666) -> None:
    """Write ``path`` so that readers see the old text or the new, never half of it.

    ``mode`` says who may read and write it, less what the umask takes.

    Raises:
        OSError: it cannot be written.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        opener = partial(os.open, mode=mode)
        with open(temporary, "w", encoding="utf-8", opener=opener) as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        error.filename = error.filename or str(path)  # a full disk is noticed without it
        raise
    finally:
        temporary.unlink(missing_ok=True)
