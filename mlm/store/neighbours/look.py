"""Looking into a folder that others write: nothing is followed out of it, nothing can hang."""

import json
import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlm.store.inventory import describe_local
from mlm.store.neighbours.types import Findings, Found, Neighbour, Skipped
from mlm.store.survey import DiskFile, look_at
from mlm.store.types import ModelFile
from mlm.store.variant import read_quant
from mlm.units import MIB

_MAX_JSON_BYTES = MIB  # manifests have some kilobytes
_MAX_ENTRIES = 100_000
_MAX_DEPTH = 16
_MAGIC = b"GGUF"


class Look:
    """One look into one folder of ``neighbour``; notes what it finds and what it leaves alone."""

    def __init__(self, neighbour: Neighbour, root: Path, findings: Findings) -> None:
        self.neighbour = neighbour
        self.root = Path(os.path.realpath(root))
        self.findings = findings

    def skip(self, path: Path, reason: str) -> None:
        """Note that ``path`` is left alone."""
        self.findings.skipped.append(Skipped(self.neighbour, path, reason))

    def note(self, file: ModelFile, content: DiskFile) -> None:
        """Note a model file."""
        self.findings.found.append(Found(self.neighbour, file, content))

    def walk(self, folder: Path) -> Iterator[Path]:
        """Yield what lies below ``folder`` and is no folder; links to folders are not followed."""
        left, folders = _MAX_ENTRIES, [(folder, 0)]
        while folders:
            here, depth = folders.pop()
            try:
                with os.scandir(here) as entries:
                    ordered = sorted(entries, key=lambda entry: entry.name)
            except FileNotFoundError:
                continue
            except OSError as error:
                self.skip(here, f"it cannot be read: {_words(error)}")
                continue
            left -= len(ordered)
            if left < 0 or depth > _MAX_DEPTH:
                self.skip(here, "it holds too much to be a store of models")
                continue
            for entry in ordered:
                if entry.is_dir(follow_symlinks=False):
                    folders.append((Path(entry.path), depth + 1))
                else:
                    yield Path(entry.path)

    def model_at(self, path: Path) -> DiskFile | None:
        """Return the GGUF file at ``path``, itself or where it leads to; else note why not."""
        real = Path(os.path.realpath(path))
        if not real.is_relative_to(self.root):
            self.skip(path, f"a link that leads out of the store, to {real}")
            return None
        content = look_at(real)
        if content is None:
            self.skip(path, _why_no_file(real))
            return None
        try:
            with _open_regular(real) as file:
                is_gguf = file.read(len(_MAGIC)) == _MAGIC
        except OSError as error:
            self.skip(path, f"it cannot be read: {_words(error)}")
            return None
        if not is_gguf:
            self.skip(path, "not a GGUF file")
        return content if is_gguf else None

    def read_json(self, path: Path) -> Any:
        """Return the JSON document at ``path``, None when there is no use in it; that is noted."""
        try:
            with _open_regular(path) as file:
                text = file.read(_MAX_JSON_BYTES + 1)
        except OSError as error:
            self.skip(path, f"it cannot be read: {_words(error)}")
            return None
        if len(text) > _MAX_JSON_BYTES:
            self.skip(path, "too large for a manifest")
            return None
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            self.skip(path, "not a manifest: broken JSON")
            return None


def describe_found(
    content: DiskFile,
    filename: str,
    *,
    repo_id: str | None = None,
    quant: str | None = None,
    sha256: str | None = None,
) -> ModelFile:
    """Return what another tool says of a file of its, under ``filename``."""
    quant = quant or read_quant(filename)
    local = replace(describe_local(content.path, quant), filename=filename, sha256=sha256)
    if repo_id is None:
        return replace(local, model_id=filename.removesuffix(".gguf"))
    ref = f"{repo_id}:{quant}" if quant else f"{repo_id}/{filename}"
    return replace(local, repo_id=repo_id, ref=ref, model_id=ref)


def _open_regular(path: Path) -> Any:
    """Open a regular file for reading; a pipe or device raises instead of hanging."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)
    descriptor = os.open(path, flags | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError("not a regular file")
    return os.fdopen(descriptor, "rb")


def _why_no_file(path: Path) -> str:
    try:
        mode = path.lstat().st_mode
    except OSError as error:
        return f"it leads nowhere: {_words(error)}"
    return "a link in a circle" if stat.S_ISLNK(mode) else "not a regular file"


def _words(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
