"""What people type to name a model, taken apart.

=========================  ==========================================================
``qwen3-8b``               a model of the catalog, in the best quantization for here
``qwen3-8b:Q4_K_M``        the same, quantization chosen
``org/repo:Q4_K_M``        a quantization in a repository on the hub
``org/repo/file.gguf``     one file in a repository
``./file.gguf``            a local file
=========================  ==========================================================
"""

from dataclasses import dataclass
from pathlib import Path

from mlm.errors import UsageError
from mlm.store.names import is_filename, is_model_name, is_quant, is_repo_id

_LOCAL_PREFIXES = ("/", "./", "../", "~", ".\\", "..\\")
_HINT = (
    "write it like qwen3-8b, qwen3-8b:Q4_K_M, org/repo:Q4_K_M, org/repo/file.gguf or ./file.gguf"
)


@dataclass(frozen=True, slots=True)
class LocalRef:
    """A file on this machine; it need not exist."""

    path: Path


@dataclass(frozen=True, slots=True)
class HubRef:
    """A repository on the hub and what is wanted of it: a quantization, a file, or unsaid."""

    repo_id: str
    quant: str | None = None
    filename: str | None = None

    def __str__(self) -> str:
        if self.filename:
            return f"{self.repo_id}/{self.filename}"
        return f"{self.repo_id}:{self.quant}" if self.quant else self.repo_id


@dataclass(frozen=True, slots=True)
class NameRef:
    """A name of the catalog, or the id of a model in the store."""

    name: str
    quant: str | None = None

    def __str__(self) -> str:
        return f"{self.name}:{self.quant}" if self.quant else self.name


Ref = LocalRef | HubRef | NameRef


def parse_ref(text: str) -> Ref:
    """Return what ``text`` names.

    Raises:
        UsageError: it cannot be the name of a model.
    """
    if "\0" in text:
        raise _not_a_ref(text)
    if text.startswith(_LOCAL_PREFIXES) or Path(text).is_absolute():
        return LocalRef(Path(text).expanduser())
    if text.lower().endswith(".gguf") and Path(text).is_file():
        return LocalRef(Path(text))
    if "/" in text:
        return _parse_hub_ref(text)
    name, colon, quant = text.partition(":")
    if not is_model_name(name) or (colon and not is_quant(quant)):
        raise _not_a_ref(text)
    return NameRef(name, quant or None)


def definite(text: str) -> str:
    """Return a ref that means the same in every folder.

    Raises:
        UsageError: it cannot be the name of a model.
    """
    ref = parse_ref(text)
    return str(ref.path.absolute()) if isinstance(ref, LocalRef) else text


def _parse_hub_ref(text: str) -> HubRef:
    parts = text.split("/", 2)
    if len(parts) == 3:
        repo_id, filename = "/".join(parts[:2]), parts[2]
        if not is_repo_id(repo_id) or not is_filename(filename):
            raise _not_a_ref(text)
        if not filename.lower().endswith(".gguf"):
            raise UsageError(
                f"'{filename}' is not a GGUF file, the only kind mlm runs",
                remedy=f"name one of its .gguf files, or a quantization: {repo_id}:Q4_K_M",
            )
        return HubRef(repo_id, filename=filename)
    repo_id, colon, quant = text.partition(":")
    if not is_repo_id(repo_id) or (colon and not is_quant(quant)):
        raise _not_a_ref(text)
    return HubRef(repo_id, quant=quant or None)


def _not_a_ref(text: str) -> UsageError:
    shown = text if len(text) <= 80 else f"{text[:80]}…"
    return UsageError(f"'{shown}' is not the name of a model", remedy=_HINT)
