"""``mlm catalog add``: a model of the hub that the catalog does not know yet."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from mlm.cli._options import JsonOpt
from mlm.cli._session import Session, print_document, print_text, session
from mlm.errors import ConflictError, UsageError

if TYPE_CHECKING:
    from mlm.catalog.types import CatalogEntry, UseCase


EXAMPLES = {
    "mlm catalog add bartowski/Qwen_Qwen3-8B-GGUF": "Add a model of the hub",
    "mlm catalog add bartowski/Qwen_Qwen3-8B-GGUF --id my-qwen --use chat": (
        "The same under a name of your own, to be recommended for chat"
    ),
}


def add(
    ctx: typer.Context,
    repo: Annotated[
        str, typer.Argument(metavar="REPO", help="org/repo, with GGUF files.", show_default=False)
    ],
    name: Annotated[
        str | None,
        typer.Option("--id", metavar="NAME", help="What to call it.", show_default=False),
    ] = None,
    uses: Annotated[
        list[str] | None,
        typer.Option(
            "--use",
            metavar="USE",
            help="chat, code, reasoning, embedding or vision; may be repeated.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOpt = False,
) -> None:
    """Add a model of the hub to your own layer of the catalog.

    Reads the listing and the header of its smallest file, some megabytes; nothing is downloaded.
    """
    from dataclasses import asdict

    from mlm.catalog.load import load_catalog
    from mlm.catalog.write import write_entry
    from mlm.cli.catalog._entry import default_id

    run = session(ctx)
    home = run.settings.home
    repo_id = _check_repo(repo)
    model_id = (default_id(repo_id) if name is None else name).lower()
    _check_free(load_catalog(home.catalog, home.cache).entries, model_id)
    entry = _make(run, repo_id, model_id, _check_uses(uses or ()))
    path = write_entry(home.catalog, entry)
    if as_json:
        print_document("catalog.add", {"path": str(path), "model": asdict(entry)})
    else:
        print_text(f"wrote {path}: {', '.join(quant.quant for quant in entry.quants)}")
    run.note(f"hint: mlm plan {model_id}, mlm download {model_id}; nobody has rated it yet")


def _check_repo(repo: str) -> str:
    from mlm.store.names import is_repo_id

    if not is_repo_id(repo):
        raise UsageError(f"'{repo}' is not a repository", remedy="write it like org/repo")
    return repo


def _check_uses(uses: Sequence[str]) -> "list[UseCase]":
    from mlm.catalog.types import UseCase

    known = get_args(UseCase)
    for use in uses:
        if use not in known:
            raise UsageError(f"--use {use} is none of {', '.join(known)}")
    return list(dict.fromkeys(uses))  # type: ignore[arg-type]


def _check_free(entries: "tuple[CatalogEntry, ...]", model_id: str) -> None:
    from mlm.store.names import is_model_name

    if not is_model_name(model_id):
        raise UsageError(f"'{model_id}' cannot be the name of a model", remedy="--id NAME")
    for entry in entries:
        if model_id in (entry.model_id, *entry.aliases):
            raise ConflictError(
                f"the catalog has {entry.model_id} already",
                remedy=f"--id another-name, or first: mlm catalog rm {entry.model_id}",
            )


def _make(run: Session, repo_id: str, model_id: str, uses: "Sequence[UseCase]") -> "CatalogEntry":
    from mlm.cli._hub import open_hub
    from mlm.cli._waiting import waiting_for
    from mlm.cli.catalog._entry import choose_variants, make_entry
    from mlm.gguf.header import read_header
    from mlm.gguf.metadata import describe_model
    from mlm.gguf.reader import add_shards

    with open_hub(run, repo_id) as hub, waiting_for(run, f"asking the hub about {repo_id}"):
        repo = hub.resolve(repo_id)
        variants = choose_variants(repo)
        names = [file.filename for file in variants[0].files]
        first, *rest = (read_header(hub.open_remote(repo_id, repo.commit, n)) for n in names)
    metadata = describe_model(first)
    if rest:
        metadata = add_shards(metadata, rest)
    return make_entry(model_id, repo, variants, metadata, uses)
