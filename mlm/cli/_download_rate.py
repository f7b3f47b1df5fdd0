"""How fast the last large download was, so that the next one can be judged before it begins."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlm.settings import Settings
    from mlm.store.types import Downloaded

_LEAST_BYTES, _LEAST_S = 64 * 1024**2, 2.0  # of which a rate says something
_KEEP_S = 30 * 86400.0


def remember_rate(settings: "Settings", files: "Sequence[Downloaded]") -> None:
    """Note how fast ``files`` came, if there was enough of them."""
    from mlm.paths import keep_text

    fetched = [file for file in files if file.fetched_bytes >= _LEAST_BYTES]
    seconds = sum(file.elapsed_s for file in fetched)
    if seconds < _LEAST_S:
        return
    rate = sum(file.fetched_bytes for file in fetched) / seconds
    document = {"endpoint": settings.endpoint, "bytes_per_s": round(rate), "at": time.time()}
    keep_text(_path(settings), json.dumps(document))


def recall_rate(settings: "Settings") -> int | None:
    """Return the bytes per second of the last large download from the same hub; None: unknown."""
    try:
        kept = json.loads(_path(settings).read_bytes())
        rate, at, endpoint = kept["bytes_per_s"], float(kept["at"]), kept["endpoint"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    is_fresh = 0 <= time.time() - at <= _KEEP_S
    sound = isinstance(rate, int) and rate > 0 and endpoint == settings.endpoint
    return rate if is_fresh and sound else None


def _path(settings: "Settings") -> Path:
    return settings.home.cache / "download-rate.json"
