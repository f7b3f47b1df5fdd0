"""From what a person typed to a model that can be planned, wherever it is.

An installed or local file is best: its header says everything. A model on the hub has its header
read by ranges, some megabytes instead of the whole file. Without a hub, the catalog has to do.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mlm.errors import AuthError, NetworkError, NotFoundError

if TYPE_CHECKING:
    from pathlib import Path

    from mlm.catalog.lookup import Catalog
    from mlm.catalog.types import CatalogEntry, Quant, SideFile
    from mlm.cli._session import Session
    from mlm.gguf.hole import RawHeader
    from mlm.gguf.types import GGUFHeader, GGUFMetadata
    from mlm.hardware.types import Hardware
    from mlm.planning.types import ModelShape
    from mlm.settings import Settings
    from mlm.store.ref import HubRef, NameRef
    from mlm.store.store import Store
    from mlm.store.types import ModelFile


@dataclass(frozen=True, slots=True)
class Subject:
    """A model that somebody asked about."""

    ref: str  # as typed, made definite: qwen3-8b:Q4_K_M
    model_id: str  # what the server calls it, and its config file
    shape: "ModelShape"
    origin: str  # "this machine", "the hub" or "the catalog": where its facts come from
    file: "ModelFile | None" = None  # where it is installed or local
    headers: "tuple[RawHeader, ...]" = ()  # of all its files, where it is on the hub
    repo_id: str | None = None  # on the hub, wherever its files are now
    projector: "KnownProjector | None" = None


@dataclass(frozen=True, slots=True)
class KnownProjector:
    """The projector of a subject: a file here, or one that a download would bring along."""

    filename: str
    size_bytes: int
    size_exact: bool
    counted: bool = True  # in plans; False: the model is here without it


def find_subject(session: "Session", text: str, hardware: "Hardware") -> Subject:
    """Return the model that ``text`` names; a bare name of the catalog means its best
    quantization for ``hardware``, unless one is installed.

    Raises:
        NotFoundError: nobody knows it; nearest names are offered.
        UsageError: it cannot be the name of a model.
        GGUFError: its file is not a sound model.
        NetworkError, AuthError: only the hub knows it, and the hub does not tell.
    """
    from mlm.store.ref import HubRef, LocalRef, parse_ref
    from mlm.store.store import Store

    ref = parse_ref(text)
    settings = session.settings
    with Store(settings.home, settings.hub_cache) as store:
        installed = [file for file in store.find_all(text) if file.path.exists()]
        if installed:
            found = _local(settings, store, installed[0])
            return found if found.projector else _without_projector(session, found)
        if isinstance(ref, LocalRef):
            store.find(text)  # says that there is no such file
            raise AssertionError(f"{text} appeared a moment ago")
    from mlm.cli._catalog import open_catalog

    catalog = open_catalog(session)
    if isinstance(ref, HubRef):
        found = _from_hub(session, catalog, ref)
    else:
        found = _from_catalog(session, catalog, ref, hardware)
    return _with_projector(session, found, catalog.find_projector(found.repo_id or ""))


@dataclass(frozen=True, slots=True)
class Place:
    """Where the files of something are: ``path`` on this machine, or else ``hub``."""

    ref: str  # as typed, made definite
    path: "Path | None" = None  # of the first file
    file: "ModelFile | None" = None  # what the store knows of that
    hub: "HubRef | None" = None
    revision: str = "main"


def find_place(session: "Session", text: str) -> Place:
    """Return where the files are that ``text`` names; nothing is read.

    Unlike `find_subject` this takes any GGUF file: a projector, an adapter, a later shard.

    Raises:
        NotFoundError, UsageError: as `find_subject`.
    """
    from mlm.cli._catalog import open_catalog
    from mlm.cli._machine import planned_machine
    from mlm.planning.recommend import choose_quant
    from mlm.store.ref import HubRef, LocalRef, parse_ref
    from mlm.store.store import Store

    ref = parse_ref(text)
    settings = session.settings
    if isinstance(ref, LocalRef):
        return Place(str(ref.path), ref.path)
    with Store(settings.home, settings.hub_cache) as store:
        installed = [file for file in store.find_all(text) if file.path.exists()]
    if installed:
        return Place(installed[0].ref, installed[0].path, installed[0])
    if isinstance(ref, HubRef):
        return Place(str(ref), hub=ref)
    catalog = open_catalog(session)
    entry = catalog.find(ref.name)
    if ref.quant:
        quant = catalog.find_quant(entry, ref.quant)
    else:
        quant = choose_quant(entry, planned_machine(session))
    wanted = HubRef(quant.repo_id, quant.quant, quant.filename)
    return Place(f"{entry.model_id}:{quant.quant}", hub=wanted, revision=quant.revision)


def find_header(session: "Session", text: str) -> "tuple[str, GGUFHeader]":
    """Return what ``text`` names, made definite, and the header of its first file.

    Raises:
        as `find_subject`; also when only the catalog knows the model.
    """
    from mlm.cli._remote_headers import read_remote_headers
    from mlm.gguf.reader import read_file_header

    place = find_place(session, text)
    if place.path is not None:
        return place.ref, read_file_header(place.path)
    assert place.hub is not None
    return place.ref, read_remote_headers(session, place.hub, place.revision)[0].header


def known_entry(settings: "Settings", name: str | None) -> "CatalogEntry | None":
    """Return what the catalog says of an installed model, if it has a ``name`` for it."""
    from mlm.catalog.load import load_catalog
    from mlm.catalog.lookup import UnknownModel

    if name is None:
        return None
    try:
        return load_catalog(settings.home.catalog, settings.home.cache).find(name)
    except UnknownModel:
        return None  # it has left the catalog since


def _local(settings: "Settings", store: "Store", file: "ModelFile") -> Subject:
    from mlm.cli._projector import read_shape

    shape, eyes = read_shape(store, file, known_entry(settings, file.model))
    known = KnownProjector(eyes.filename, eyes.size_bytes, size_exact=True) if eyes else None
    place = "this machine"
    return Subject(file.ref, file.model_id, shape, place, file, (), file.repo_id, known)


def _without_projector(session: "Session", subject: Subject) -> Subject:
    """Return a model that is here, with the projector that could be here."""
    from mlm.cli._catalog import open_catalog

    if subject.repo_id is None:
        return subject
    side = open_catalog(session).find_projector(subject.repo_id)
    return replace(subject, projector=_known(side, counted=False) if side else None)


def _with_projector(session: "Session", subject: Subject, side: "SideFile | None") -> Subject:
    """Return a model of the hub with the projector that a download of it brings along."""
    from mlm.cli._remote_headers import read_remote_headers
    from mlm.gguf.errors import GGUFError
    from mlm.gguf.projector import describe_projector
    from mlm.planning.projector import projector_from_header, projector_of_size
    from mlm.store.ref import HubRef

    if side is None:
        return subject
    eyes = projector_of_size(side.size_bytes)
    if subject.origin == "the hub":
        wanted = HubRef(side.repo_id, None, side.filename)
        try:
            (found,) = read_remote_headers(session, wanted, side.revision)
            eyes = projector_from_header(describe_projector(found.header))
        except (NetworkError, AuthError, NotFoundError, GGUFError) as error:
            session.note(f"its projector is estimated from its size: {error.message}")
    shape = replace(subject.shape, projector=eyes)
    return replace(subject, shape=shape, projector=_known(side, counted=True))


def _known(side: "SideFile", *, counted: bool) -> KnownProjector:
    return KnownProjector(side.filename, side.size_bytes, side.size_exact, counted)


def _from_catalog(
    session: "Session", catalog: "Catalog", ref: "NameRef", hardware: "Hardware"
) -> Subject:
    from mlm.planning.recommend import choose_quant
    from mlm.planning.shape import shape_from_catalog, shape_from_metadata
    from mlm.store.ref import HubRef

    entry = catalog.find(ref.name)
    quant = catalog.find_quant(entry, ref.quant) if ref.quant else choose_quant(entry, hardware)
    name = f"{entry.model_id}:{quant.quant}"
    try:
        wanted = HubRef(quant.repo_id, quant.quant, quant.filename)
        metadata, headers = _remote_metadata(session, wanted, quant.revision)
    except (NetworkError, AuthError, NotFoundError) as error:
        session.note(f"estimated from the catalog: {error.message}")
        shape = shape_from_catalog(entry, quant)
        return Subject(name, str(ref), shape, "the catalog", repo_id=quant.repo_id)
    shape = shape_from_metadata(metadata, entry)
    return Subject(name, str(ref), shape, "the hub", headers=headers, repo_id=quant.repo_id)


def _from_hub(session: "Session", catalog: "Catalog", ref: "HubRef") -> Subject:
    from mlm.planning.shape import shape_from_catalog, shape_from_metadata

    try:
        metadata, headers = _remote_metadata(session, ref, "main")
    except NetworkError as error:
        for entry in catalog.entries:
            for quant in entry.quants:
                if _is_meant(ref, quant):
                    session.note(f"estimated from the catalog: {error.message}")
                    shape = shape_from_catalog(entry, quant)
                    return Subject(str(ref), str(ref), shape, "the catalog", repo_id=ref.repo_id)
        raise
    shape = shape_from_metadata(metadata)
    return Subject(str(ref), str(ref), shape, "the hub", headers=headers, repo_id=ref.repo_id)


def _is_meant(ref: "HubRef", quant: "Quant") -> bool:
    if ref.repo_id != quant.repo_id:
        return False
    if ref.filename:
        return ref.filename == quant.filename
    return ref.quant is not None and ref.quant.upper() == quant.quant


def _remote_metadata(
    session: "Session", ref: "HubRef", revision: str
) -> "tuple[GGUFMetadata, tuple[RawHeader, ...]]":
    """Return what the model says of itself, and its headers as they are, if all are complete."""
    from mlm.cli._remote_headers import read_remote_headers
    from mlm.gguf.metadata import describe_model
    from mlm.gguf.reader import add_shards

    found = read_remote_headers(session, ref, revision)
    first, *rest = [each.header for each in found]
    metadata = describe_model(first)
    raw = tuple(each.raw for each in found if each.raw is not None)
    whole = raw if len(raw) == len(found) else ()
    return (add_shards(metadata, rest) if rest else metadata), whole
