"""A close look at a model, here or on the hub: every check that its place allows."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mlm.cli._model import Place, find_place
from mlm.cli._remote_headers import read_remote_headers
from mlm.cli._session import Session
from mlm.gguf.errors import GGUFError
from mlm.gguf.finding import Finding, error, info
from mlm.gguf.header import read_header
from mlm.gguf.lint import lint_header, lint_projector, lint_shards
from mlm.gguf.lint_data import lint_data
from mlm.gguf.metadata import describe_model
from mlm.gguf.reader import shard_paths
from mlm.gguf.source import FileSource
from mlm.gguf.types import GGUFHeader, GGUFMetadata
from mlm.gguf.vocabulary import KEPT, find_vocabulary
from mlm.store.listener import Listener, Progress

# Where the tokenizer's default is to begin every text with the bos token (llama-vocab.cpp).
_BOS_BY_DEFAULT = ("llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "lfm2")


@dataclass(slots=True)
class Report:
    """What was found; ``header`` is None where not even that can be read."""

    ref: str
    header: GGUFHeader | None = None
    findings: list[Finding] = field(default_factory=list)

    @property
    def is_bad(self) -> bool:
        """Whether something is wrong, not only doubtful."""
        return any(finding.severity == "error" for finding in self.findings)


def lint(session: Session, text: str, listener: Listener, *, whole: bool) -> Report:
    """Return what there is to say about the model or file that ``text`` names.

    Raises:
        NotFoundError, UsageError, NetworkError, AuthError: it cannot be looked at.
    """
    place = find_place(session, text)
    report = Report(place.ref)
    try:
        if place.path is not None:
            _lint_here(session, place, place.path, report, listener, whole)
        else:
            _lint_there(session, place, report)
    except GGUFError as failure:
        report.findings.append(
            error("header", failure.message, "llama.cpp cannot load it", failure.remedy)
        )
    report.findings.sort(key=lambda f: ("error", "warn", "info").index(f.severity))
    return report


def _lint_here(
    session: Session, place: Place, path: Path, report: Report, listener: Listener, whole: bool
) -> None:
    report.header = _read(path)
    parts, headers = _read_parts(path, report)
    report.findings += lint_header(report.header, headers[1:])
    if len(headers) > 1 and len(headers) == len(parts):
        report.findings += lint_shards(headers, [part.name for part in parts])
    report.findings += _lint_talk(report.header)
    for part, header in zip(parts, headers, strict=False):
        report.findings += _lint_file(part, header, listener, whole)
    report.findings += _lint_beside(path, report.header)
    report.findings += _lint_pin(session, place)


def _lint_there(session: Session, place: Place, report: Report) -> None:
    assert place.hub is not None
    found = read_remote_headers(session, place.hub, place.revision, KEPT)
    headers = [each.header for each in found]
    report.header = headers[0]
    report.findings += lint_header(headers[0], headers[1:])
    if len(headers) > 1:
        names = [f"part {number} of {len(headers)}" for number in range(1, len(headers) + 1)]
        report.findings += lint_shards(headers, names)
    report.findings += _lint_talk(headers[0])
    report.findings.append(
        info("not-checked", "the numbers in its tensors were not read",
             "it is on the hub, and only its header was fetched", "mlm download REF")
    )  # fmt: skip


def _read(path: Path) -> GGUFHeader:
    with FileSource(path) as source:
        return read_header(source, KEPT)


def _read_parts(path: Path, report: Report) -> tuple[list[Path], list[GGUFHeader]]:
    """Return all parts of a model that are there, with their headers, as far as the first gap."""
    assert report.header is not None
    if report.header.values.get("split.count", 1) == 1 or report.header.values.get("split.no", 0):
        return [path], [report.header]
    parts = shard_paths(path)
    missing = [part.name for part in parts if not part.exists()]
    if missing:
        report.findings.append(
            error("shard-missing", f"there is no {', '.join(missing[:4])}",
                  "llama.cpp needs all parts of a split model beside each other",
                  "mlm download REF")
        )  # fmt: skip
        return [path], [report.header]
    return parts, [report.header, *(_read(part) for part in parts[1:])]


def _lint_talk(header: GGUFHeader) -> Sequence[Finding]:
    """Look at the chat template of a model that talks."""
    from mlm.engine import require_engine
    from mlm.errors import EngineError

    model, vocabulary = _model(header), find_vocabulary(header)
    if model is None or vocabulary is None or model.is_encoder:
        return ()
    try:
        require_engine()
    except EngineError as missing:
        return (info("not-checked", "its chat template was not tried", missing.message,
                     missing.remedy),)  # fmt: skip
    from mlm.engine.lint_template import lint_template

    pre = header.values.get("tokenizer.ggml.pre")
    by_default = model.tokenizer_model == "llama" or pre in _BOS_BY_DEFAULT
    adds_bos = bool(header.values.get("tokenizer.ggml.add_bos_token", by_default))
    return lint_template(model.chat_template, vocabulary, adds_bos=adds_bos)


def _lint_file(
    path: Path, header: GGUFHeader, listener: Listener, whole: bool
) -> Sequence[Finding]:
    def tell(done: int) -> None:
        listener.progress(Progress(path.name, "checking", done, header.file_size))

    with FileSource(path) as source:
        return lint_data(source, header, whole=whole, on_bytes=tell)


def _lint_beside(path: Path, header: GGUFHeader) -> list[Finding]:
    """Look at the vision parts in the same folder."""
    model = _model(header)
    findings: list[Finding] = []
    if model is None:
        return findings
    for other in sorted(path.parent.glob("*mmproj*.gguf")):
        try:
            findings += lint_projector(model, _read(other), other.name)
        except GGUFError as failure:
            findings.append(error("mmproj", failure.message, "its vision part cannot be loaded"))
    return findings


def _lint_pin(session: Session, place: Place) -> Sequence[Finding]:
    """Compare the checksum that the store verified with the catalog's."""
    from mlm.catalog.load import load_catalog

    file = place.file
    if file is None or file.sha256 is None or file.repo_id is None:
        return ()
    settings = session.settings
    pin = load_catalog(settings.home.catalog, settings.home.cache).pin(file.repo_id, file.filename)
    if pin is None or pin.sha256 in (None, file.sha256):
        return ()
    finding = Finding(
        "error" if pin.sha256_verified else "warn",
        "pin",
        f"its sha256 is {file.sha256[:12]}…, the catalog has {str(pin.sha256)[:12]}…",
        "it was replaced upstream, or is not the file that the catalog means",
        f"mlm download {place.ref} --revision {pin.revision}",
    )
    return (finding,)


def _model(header: GGUFHeader) -> GGUFMetadata | None:
    try:
        return describe_model(header)
    except GGUFError:
        return None
