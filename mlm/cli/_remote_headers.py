"""Headers of models on the hub: some MiB of files of many GiB, and kept for next time."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlm.errors import NetworkError
from mlm.units import format_size

if TYPE_CHECKING:
    from collections.abc import Set

    from mlm.cli._session import Session
    from mlm.gguf.hole import RawHeader
    from mlm.gguf.types import GGUFHeader
    from mlm.store.headers import HeaderCache
    from mlm.store.hub import Hub
    from mlm.store.ref import HubRef
    from mlm.store.types import RepoFiles


@dataclass(frozen=True, slots=True)
class RemoteHeader:
    """The header of one file, read and unread; None where the hub went away in between."""

    header: "GGUFHeader"
    raw: "RawHeader | None"


def read_remote_headers(
    session: "Session", ref: "HubRef", revision: str, keep: "Set[str]" = frozenset()
) -> list[RemoteHeader]:
    """Return the headers of all files of a model on the hub; ``keep`` as in `read_header`.

    Raises:
        NotFoundError, NetworkError, AuthError: the hub does not have it, or does not tell.
        GGUFError: it is not a sound model.
    """
    from mlm.cli._hub import open_hub
    from mlm.cli._waiting import waiting_for
    from mlm.store.headers import HeaderCache
    from mlm.store.variant import choose_variant

    cache = HeaderCache(session.settings.home.cache / "headers")
    reading = f"reading the header of {ref}"
    with open_hub(session, ref.repo_id) as hub, waiting_for(session, reading):
        repo = hub.resolve(ref.repo_id, revision)
        variant = choose_variant(repo, ref)
        reader = _Reader(hub, repo, cache, frozenset(keep))
        found = [reader.read(file.filename) for file in variant.files]
    if reader.n_bytes:
        read, whole = format_size(reader.n_bytes), format_size(variant.size_bytes)
        session.note(f"read {read} of {whole} from the hub")
    return found


class _Reader:
    """Reads headers of one repository, from the cache where they are in it."""

    def __init__(
        self, hub: "Hub", repo: "RepoFiles", cache: "HeaderCache", keep: frozenset[str]
    ) -> None:
        self.n_bytes = 0  # read from the hub so far
        self._hub = hub
        self._repo = repo
        self._cache = cache
        self._keep = keep

    def read(self, filename: str) -> RemoteHeader:
        from mlm.gguf.header import read_header
        from mlm.gguf.hole import RawHeader, Recorder

        repo = self._repo
        if raw := self._cache.find(repo.repo_id, repo.commit, filename):
            return RemoteHeader(read_header(raw, self._keep), raw)
        source = Recorder(self._hub.open_remote(repo.repo_id, repo.commit, filename))
        header = read_header(source, self._keep)
        try:
            raw = RawHeader(filename, source.head(header.header_bytes), header.file_size)
        except NetworkError:
            pass  # what was skipped cannot be had any more; without it the plan is less exact
        else:
            self._cache.keep(repo.repo_id, repo.commit, raw)
        self.n_bytes += source.n_bytes
        return RemoteHeader(header, raw)
