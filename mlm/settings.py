"""What the environment says, parsed once at the door. Only ``mlm/cli`` reads it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mlm.errors import UsageError
from mlm.paths import Home, default_home, default_hub_cache

DEFAULT_ENDPOINT = "https://huggingface.co"
_TRUE, _FALSE = {"1", "true", "yes", "on"}, {"0", "false", "no", "off", ""}


@dataclass(frozen=True, slots=True)
class Settings:
    """The outside world as one run of ``mlm`` sees it."""

    home: Home
    hub_cache: Path
    endpoint: str  # of the hub, without trailing slash
    token: str | None = field(repr=False)
    offline: bool
    timeout_scale: float = 1.0  # of every wait for the network; tests use a small one
    save_chats: bool | None = None  # None: those whose answers go to a terminal

    @classmethod
    def from_environment(
        cls,
        environ: Mapping[str, str] = os.environ,
        *,
        home: Path | None = None,
        offline: bool = False,
    ) -> "Settings":
        """Return the settings; ``home`` and ``offline`` come from the command line and win.

        Raises:
            UsageError: a variable holds something that cannot be meant.
        """
        return cls(
            home=Home(home.expanduser() if home else default_home(environ)),
            hub_cache=default_hub_cache(environ),
            endpoint=environ.get("HF_ENDPOINT", DEFAULT_ENDPOINT).rstrip("/"),
            token=_read_token(environ),
            offline=offline
            or _read_flag(environ, "MLM_OFFLINE")
            or _read_flag(environ, "HF_HUB_OFFLINE"),
            timeout_scale=_read_factor(environ, "MLM_TIMEOUT_SCALE"),
            save_chats=(
                _read_flag(environ, "MLM_SAVE_CHATS") if environ.get("MLM_SAVE_CHATS") else None
            ),
        )


def _read_flag(environ: Mapping[str, str], name: str) -> bool:
    value = environ.get(name, "").strip().lower()
    if value in _TRUE:
        return True
    if value in _FALSE:
        return False
    from difflib import get_close_matches  # only when something is wrong

    near = get_close_matches(value, sorted((_TRUE | _FALSE) - {""}), n=1)
    meant = near[0] if near else "1"
    raise UsageError(f"{name}={value} is neither on nor off", remedy=f"export {name}={meant}")


def _read_factor(environ: Mapping[str, str], name: str) -> float:
    value = environ.get(name, "").strip() or "1"
    try:
        factor = float(value)
    except ValueError:
        factor = 0.0
    if not 0.001 <= factor <= 1000:
        raise UsageError(f"{name}={value} is not a factor", remedy=f"export {name}=1")
    return factor


def _read_token(environ: Mapping[str, str]) -> str | None:
    """Return the hub token: ``HF_TOKEN``, else the file that ``hf auth login`` writes."""
    if token := environ.get("HF_TOKEN", "").strip():
        return token
    home = environ.get("HF_HOME") or (
        str(Path(environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface")
    )
    path = Path(environ.get("HF_TOKEN_PATH") or Path(home) / "token").expanduser()
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError):
        return None
