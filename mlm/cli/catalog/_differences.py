"""What ``mlm catalog update`` has found, in words and as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlm.errors import MlmError
from mlm.store.refresh import FileNews, Refreshed
from mlm.units import format_size

_SAYS = {
    "pinned": "more is known",
    "resized": "another size",
    "replaced": "REPLACED",
    "gone": "gone",
}
_MAX_NAMES = 12  # more are only counted


@dataclass(frozen=True, slots=True)
class Update:
    """What became of one model; ``failures``: of its repositories, why the hub does not say."""

    refreshed: Refreshed
    failures: Mapping[str, MlmError]
    by_hand: Path | None  # the user's own file with it, which mlm leaves alone

    @property
    def is_writable(self) -> bool:
        """Whether there is something to write, and mlm may write it."""
        return self.refreshed.has_changed and self.by_hand is None


def update_row(one: Update) -> dict[str, Any]:
    """Return the model as a JSON document has it."""
    refreshed = one.refreshed
    return {
        "model": refreshed.entry.model_id,
        "status": "changed" if refreshed.has_changed else "current",
        "files": [_file_row(file) for file in refreshed.files],
        "unlisted": list(refreshed.unlisted),
        "failures": [
            {"repo_id": repo_id, "code": error.code, "message": error.message}
            for repo_id, error in one.failures.items()
        ],
        "by_hand": str(one.by_hand) if one.by_hand else None,
    }


def _file_row(file: FileNews) -> dict[str, Any]:
    whole = len(file.found) == 1
    return {
        "quant": file.label,
        "repo_id": file.listed.repo_id,
        "filename": file.listed.filename,
        "status": file.news,
        "was_verified": file.was_verified,
        "size_bytes": file.listed.size_bytes,
        "sha256": file.listed.sha256,
        "commit": file.commit,
        "upstream_size_bytes": file.size_bytes if file.found else None,
        "upstream_sha256": file.sha256s[0] if whole else None,
    }


def describe_updates(updates: Sequence[Update]) -> str:
    """Return what a person should know before anything is written."""
    from mlm.cli._columns import one_line

    lines = []
    for one in updates:
        refreshed = one.refreshed
        changed = [file for file in refreshed.files if file.news != "same"]
        if not changed and not one.failures:
            continue
        lines.append(refreshed.entry.model_id)
        lines += [_indent(one_line(_difference(file))) for file in changed]
        if changed and refreshed.unlisted:
            lines.append(_indent(f"not listed: {_name_some(refreshed.unlisted)}"))
        lines += [_indent(error.message) for error in one.failures.values()]
        if one.by_hand:
            lines.append(_indent(f"left alone, for it is in your own {one.by_hand}"))
    return "\n".join(lines) or "the catalog says what the hub has"


def _indent(text: str) -> str:
    from mlm.cli._columns import wrap

    return wrap(text, indent="  ")


def _difference(file: FileNews) -> str:
    what = f"{file.label}: {_SAYS[file.news]}"
    if file.news == "replaced" and file.was_verified:
        what += ", and the old one had been verified"
    if not file.found:
        return f"{what}: {file.listed.repo_id}/{file.listed.filename}"
    return ", ".join([what, *_size_difference(file), *_checksum_difference(file)])


def _size_difference(file: FileNews) -> list[str]:
    grown = file.size_bytes - file.listed.size_bytes
    if not grown:
        return []
    old, new = format_size(file.listed.size_bytes), format_size(file.size_bytes)
    if not file.listed.size_exact:
        return [f"~{old} -> {new}"]
    return [f"{old} -> {new}" if old != new else f"{grown:+,} bytes"]


def _checksum_difference(file: FileNews) -> list[str]:
    if len(file.found) > 1:
        return [f"{len(file.found)} shards"]
    old, new = file.listed.sha256, file.sha256s[0]
    if new is None or new == old:
        return []
    return [f"sha256 {(old or '?')[:12]} -> {new[:12]}"]


def _name_some(names: Sequence[str]) -> str:
    more = len(names) - _MAX_NAMES
    return ", ".join(names[:_MAX_NAMES]) + (f" and {more} more" if more > 0 else "")
