"""``mlm config rollback``: go back to an earlier config of a model."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlm.cli._options import JsonOpt, RefArg
from mlm.cli._session import print_document, print_text, session
from mlm.errors import MlmError, NotFoundError

if TYPE_CHECKING:
    from mlm.cli.config._kept import Kept
    from mlm.planning.config_versions import Version

ListOpt = Annotated[bool, typer.Option("--list", help="Show what there is to go back to.")]
ToOpt = Annotated[
    int | None,
    typer.Option("--to", min=1, metavar="N", help="A version of the list.", show_default=False),
]


EXAMPLES = {
    "mlm config rollback qwen3-8b": "Undo the last change",
    "mlm config rollback qwen3-8b --list": "The versions that are kept",
    "mlm config rollback qwen3-8b --to 3": "Go back to one of them",
}


def rollback(
    ctx: typer.Context,
    ref: RefArg,
    list_only: ListOpt = False,
    to: ToOpt = None,
    as_json: JsonOpt = False,
) -> None:
    """Go back to the config that a model had before; doing it again undoes it.

    The last ten versions are kept.
    """
    from mlm.cli.config._document import config_document
    from mlm.cli.config._kept import find_kept
    from mlm.cli.config._sealed import note_if_sealed
    from mlm.planning.config_file import load_config
    from mlm.planning.config_versions import list_versions, restore_version

    kept = find_kept(session(ctx), ref)
    versions = list_versions(kept.path)
    if list_only:
        _print_list(kept, versions, as_json=as_json)
        return
    version = _choose(kept, versions, to)
    text, config = load_config(version.path)
    restore_version(kept.path, version, text)
    if as_json:
        document = config_document(kept.model_id, kept.path, config)
        print_document("config", {**document, "restored": version.number})
    else:
        print_text(f"{kept.path} is again as it was {_when(version)}")
    note_if_sealed(session(ctx), kept.path)


def _choose(kept: "Kept", versions: "list[Version]", number: int | None) -> "Version":
    if not versions:
        raise NotFoundError(
            f"no earlier config of {kept.model_id} is kept",
            remedy=f"mlm config show {kept.model_id}",
        )
    if number is None:
        return versions[0]
    for version in versions:
        if version.number == number:
            return version
    raise NotFoundError(
        f"there is no version {number} of the config of {kept.model_id}",
        remedy=f"mlm config rollback {kept.model_id} --list",
    )


def _print_list(kept: "Kept", versions: "list[Version]", *, as_json: bool) -> None:
    from mlm.cli._columns import align

    rows = [_row(version) for version in versions]
    if as_json:
        payload = {"model": kept.model_id, "path": str(kept.path), "versions": rows}
        print_document("config.versions", payload)
    elif not versions:
        print_text("nothing earlier is kept")
    else:
        table = [("VERSION", "WRITTEN", "WHAT")]
        table += [
            (str(version.number), _when(version), row["summary"] or row["problem"])
            for version, row in zip(versions, rows, strict=True)
        ]
        print_text(align(table))


def _row(version: "Version") -> dict[str, Any]:
    from mlm.planning.config_file import load_config
    from mlm.planning.reasons import describe_slots

    row: dict[str, Any] = {"number": version.number, "written_at": version.written_at}
    row |= {"path": str(version.path), "summary": None, "problem": None}
    try:
        _, config = load_config(version.path)
        cache = config.type_k if config.type_k == config.type_v else "mixed"
        row["summary"] = f"{config.profile}, {describe_slots(config)}, cache {cache}"
    except MlmError as error:
        row["problem"] = error.message
    return row


def _when(version: "Version") -> str:
    import time

    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(version.written_at))
