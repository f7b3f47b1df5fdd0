"""Which keys a person edits a line with."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from mlm.errors import UsageError

_SETTING = re.compile(r"^\s*set\s+editing-mode\s+(vi|emacs)\s*$", re.MULTILINE)


def wants_vi(environ: Mapping[str, str] = os.environ) -> bool:
    """Tell whether it is vi's: ``MLM_EDITING_MODE`` says so, or else readline's own file.

    Raises:
        UsageError: ``MLM_EDITING_MODE`` is neither vi nor emacs.
    """
    mode = environ.get("MLM_EDITING_MODE", "").strip().lower()
    if mode and mode not in ("vi", "emacs"):
        raise UsageError(
            f"MLM_EDITING_MODE={mode} is neither vi nor emacs", remedy="export MLM_EDITING_MODE=vi"
        )
    if not mode:
        path = Path(environ.get("INPUTRC") or "~/.inputrc").expanduser()
        try:
            found = _SETTING.findall(path.read_text(encoding="utf-8", errors="replace"))
        except OSError:
            found = []
        mode = found[-1] if found else "emacs"
    return mode == "vi"
