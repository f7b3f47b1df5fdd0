"""Refuse files that do not belong in git: model weights, and anything over a megabyte."""

import sys
from pathlib import Path

LIMIT = 1_000_000
DEMO_MODEL = Path("mlm/demo/mlm-demo.gguf")
DEMO_MODEL_LIMIT = 2_000_000


def complaint(path: Path) -> str | None:
    """Return why ``path`` may not be committed, or None."""
    limit = DEMO_MODEL_LIMIT if path == DEMO_MODEL else LIMIT
    if path.suffix == ".gguf" and path != DEMO_MODEL:
        return f"{path}: model weights do not belong in git"
    if path.stat().st_size > limit:
        return f"{path}: {path.stat().st_size:,} bytes, the limit is {limit:,}"
    return None


if __name__ == "__main__":
    complaints = [text for name in sys.argv[1:] if (text := complaint(Path(name)))]
    print("\n".join(complaints), end="\n" if complaints else "")
    sys.exit(bool(complaints))
