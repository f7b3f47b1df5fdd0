"""``mlm search``: models by words, in the catalog and, where asked, on the hub."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlm.cli._options import JsonOpt
from mlm.cli._session import Session, print_document, print_text, session
from mlm.errors import MlmError, NotFoundError, UsageError

if TYPE_CHECKING:
    from mlm.catalog.lookup import Catalog
    from mlm.catalog.types import CatalogEntry
    from mlm.store.types import RepoSummary

_MAX_TEXT = 200  # characters; the hub would refuse more
_MAX_REPOS = 20  # of the hub; it lists those first that are downloaded most
_LICENSE_TAG = "license:"


@dataclass(frozen=True, slots=True)
class _Found:
    models: "Sequence[CatalogEntry]"
    repos: "Sequence[RepoSummary]"
    hub_error: MlmError | None  # why the hub did not answer
    installed: frozenset[str]  # names of the catalog, and repositories


EXAMPLES = {
    "mlm search qwen3 coder": "Models that have both words in what is known of them",
    "mlm search qwen3 coder --hub": (
        "Also repositories of the hub that nobody has put into the catalog"
    ),
}


def search(
    ctx: typer.Context,
    text: Annotated[
        list[str],
        typer.Argument(metavar="TEXT...", help="Every word must be found.", show_default=False),
    ],
    hub: Annotated[bool, typer.Option("--hub", help="Also ask the hub for repositories.")] = False,
    as_json: JsonOpt = False,
) -> None:
    """Search models by name, family, use or licence.

    Looks into the catalog; nothing leaves this machine without --hub.
    """
    from mlm.cli._catalog import open_catalog

    run = session(ctx)
    query = _check(" ".join(text))
    catalog = open_catalog(run)
    found = _find(run, catalog, query, hub=hub)
    if not found.models and not found.repos:
        raise found.hub_error or _nothing(catalog, query, hub=hub)
    if as_json:
        print_document("search", _document(found, query, hub=hub))
    else:
        print_text(_table(found))
    if found.hub_error is not None:
        run.note(f"the hub was not asked: {found.hub_error.message}")
    elif not hub:
        run.note(f"{len(found.models)} in the catalog; --hub asks for repositories, too")


def _check(query: str) -> str:
    if not query.strip() or len(query) > _MAX_TEXT or not query.isprintable():
        raise UsageError(
            f"search for one to {_MAX_TEXT} printable characters", remedy="mlm search qwen3 coder"
        )
    return query


def _find(run: Session, catalog: "Catalog", query: str, *, hub: bool) -> _Found:
    from mlm.catalog.search import search_entries

    models = search_entries(catalog.entries, query)
    repos: Sequence[RepoSummary] = ()
    failure = None
    if hub:
        try:
            repos = _ask(run, query)
        except MlmError as error:
            failure = error
    return _Found(models, repos, failure, _installed(run))


def _ask(run: Session, query: str) -> "Sequence[RepoSummary]":
    from mlm.cli._hub import open_hub
    from mlm.cli._waiting import waiting_for

    with open_hub(run, "") as hub, waiting_for(run, "asking the hub"):
        return hub.search(query, _MAX_REPOS)


def _installed(run: Session) -> frozenset[str]:
    home = run.settings.home
    if not (home.index_db.exists() or home.receipts.exists()):
        return frozenset()  # nothing was ever brought here: spare the search the store

    from mlm.store.store import Store

    with Store(home, run.settings.hub_cache) as store:
        models = store.models()
    return frozenset(name for model in models for name in (model.model, model.repo_id) if name)


def _nothing(catalog: "Catalog", query: str, *, hub: bool) -> NotFoundError:
    near = catalog.nearest("-".join(query.lower().split()))
    meant = f"; near it: {', '.join(near)}" if near else ""
    where = "neither the catalog nor the hub has" if hub else "the catalog has no"
    remedy = "mlm catalog list"
    if near:
        remedy = f"mlm search {near[0]}"
    elif not hub:
        remedy = f"mlm search --hub {query}"
    return NotFoundError(f"{where} model for '{query}'{meant}", remedy=remedy)


def _document(found: _Found, query: str, *, hub: bool) -> dict[str, Any]:
    models = [
        {
            "model": entry.model_id,
            "aliases": list(entry.aliases),
            "name": entry.name,
            "family": entry.family,
            "params": entry.params,
            "use_cases": list(entry.use_cases),
            "quality": dict(entry.quality),
            "license": entry.license,
            "gated": entry.gated,
            "quants": [quant.quant for quant in entry.quants],
            "installed": entry.model_id in found.installed,
        }
        for entry in found.models
    ]
    repos = [
        {
            "repo_id": repo.repo_id,
            "license": _license(repo),
            "gated": repo.gated,
            "downloads": repo.downloads,
            "likes": repo.likes,
            "installed": repo.repo_id in found.installed,
        }
        for repo in found.repos
    ]
    error = found.hub_error.message if found.hub_error else None
    return {"query": query, "models": models, "hub": {"asked": hub, "error": error, "repos": repos}}


def _license(repo: "RepoSummary") -> str | None:
    tags = (tag for tag in repo.tags if tag.startswith(_LICENSE_TAG))
    return next(tags, "").removeprefix(_LICENSE_TAG) or None


def _table(found: _Found) -> str:
    from mlm.cli._columns import align
    from mlm.units import format_params

    def mark(name: str) -> str:
        return "installed" if name in found.installed else ""

    parts = []
    if found.models:
        rows = [["MODEL", "PARAMS", "USE", "LICENCE", ""]]
        for entry in found.models:
            facts = [format_params(entry.params), " ".join(entry.use_cases), entry.license]
            rows.append([entry.model_id, *facts, mark(entry.model_id)])
        parts.append(align(rows, right=(1,)))
    if found.repos:
        rows = [["REPOSITORY", "DOWNLOADS", "LICENCE", ""]]
        for repo in found.repos:
            count = "?" if repo.downloads is None else f"{repo.downloads:,}"
            about = "gated" if repo.gated else mark(repo.repo_id)
            rows.append([repo.repo_id, count, _license(repo) or "?", about])
        parts.append(align(rows, right=(1,)))
    return "\n\n".join(parts)
