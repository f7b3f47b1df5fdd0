"""Where `mlm setup` gets a manifest from: a file, or an address with a checksum."""

import hashlib
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from mlm.errors import NetworkError, NotFoundError, UsageError
from mlm.manifest.document import write_text
from mlm.manifest.fetch import check_bytes, check_url, fetch
from mlm.manifest.lock_file import lock_path
from mlm.store.names import is_sha256

if TYPE_CHECKING:
    from mlm.cli._session import Session
    from mlm.store.wire import Wire

_MANIFEST, _LOCK = "mlm.yaml", "mlm.lock"


def find_manifest(run: "Session", source: str, sha256: str | None) -> Path:
    """Return the path of the manifest that ``source`` leads to, fetched if need be.

    ``source`` may also be its lock, which then pins everything; ``sha256`` is of that file.

    Raises:
        UsageError: it is an address without a checksum, or none that can be trusted.
        WrongBytes: the file is not the one that was meant.
        NotFoundError, NetworkError: it is not there, or cannot be asked for.
    """
    if sha256 is not None and not is_sha256(sha256 := sha256.lower()):
        raise UsageError("--sha256 wants 64 hexadecimal digits", remedy="sha256sum mlm.lock")
    if "://" in source:
        if sha256 is None:
            check_url(source)
            raise UsageError(
                "what comes from the web needs --sha256, or it could be anything",
                remedy="where the file was written: sha256sum mlm.lock",
            )
        return _Web(run, source, sha256).manifest()
    path = Path(source).expanduser()
    if sha256 is not None:
        try:
            check_bytes(str(path), path.read_bytes(), sha256)
        except OSError as error:
            raise NotFoundError(f"cannot read {path}: {error.strerror}") from error
    if path.suffix == ".lock" and not path.exists():
        raise NotFoundError(f"there is no {path}", remedy="mlm lock makes one of an mlm.yaml")
    return path.with_suffix(".yaml") if path.suffix == ".lock" else path


@dataclass(frozen=True, slots=True)
class _Web:
    """A file at an address, and the folder where it is kept: one per checksum."""

    run: "Session"
    url: str
    sha256: str

    def manifest(self) -> Path:
        """Return the manifest in the folder of this address; nothing is fetched twice."""
        parts = check_url(self.url)
        folder = self.run.settings.home.manifests / self.sha256[:16]
        manifest = folder / _MANIFEST
        if not parts.path.endswith(".lock"):
            self._keep(manifest, self.url, self.sha256)
            return manifest
        self._keep(lock_path(manifest), self.url, self.sha256)
        beside = parts._replace(path=parts.path.removesuffix(".lock") + ".yaml")
        self._keep(manifest, urlunsplit(beside), None)
        return manifest

    def _keep(self, path: Path, url: str, sha256: str | None) -> None:
        """Fetch ``url`` into ``path`` unless it is there already."""
        if path.is_file():
            kept = hashlib.sha256(path.read_bytes()).hexdigest()
            if sha256 in (None, kept):
                return
        if self.run.settings.offline:
            raise NetworkError(
                f"mlm was told to stay offline, and {urlsplit(url).hostname} has the manifest",
                remedy="leave out --offline, or copy the file here",
            )
        with closing(self._wire()) as wire:
            content = fetch(url, wire)
        name = urlsplit(url).path
        if sha256 is not None:
            check_bytes(name, content, sha256)
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise UsageError(f"{name} is not UTF-8 text") from error
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)

    def _wire(self) -> "Wire":
        from mlm.store.wire import Timeouts, Wire

        return Wire(Timeouts().scaled(self.run.settings.timeout_scale))
