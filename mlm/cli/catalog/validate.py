"""``mlm catalog validate``: are the catalog files in order?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlm.cli._options import JsonOpt
from mlm.cli._session import session
from mlm.errors import ExitCode

if TYPE_CHECKING:
    from rich.console import Group

    from mlm.catalog.validate import Problem


EXAMPLES = {
    "mlm catalog validate": "Check all catalog files",
    "mlm catalog validate my.yaml": "Check a file before it goes to MLM_HOME/catalog",
}


def validate(
    ctx: typer.Context,
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILE]...", help="Default: the shipped files and your own."),
    ] = None,
    as_json: JsonOpt = False,
) -> None:
    """Check that catalog files are in order.

    Says where and what is wrong; then the exit code is 2.
    """
    from mlm.catalog.files import catalog_files, shipped_dir
    from mlm.catalog.validate import check_files
    from mlm.planning.sizes import doubt_size

    home = session(ctx).settings.home
    own = files or catalog_files(home.catalog)
    found = check_files(() if files else catalog_files(shipped_dir()), doubt_size)
    found |= check_files(own, doubt_size)
    bad = sum(bool(problems) for problems in found.values())
    documents = [
        {"path": str(path), "ok": not problems, "problems": [_fields(p) for p in problems]}
        for path, problems in found.items()
    ]
    session(ctx).emit(
        "catalog.validate", {"files": documents}, as_json=as_json, human=lambda: _lines(found)
    )
    if bad:
        raise typer.Exit(ExitCode.USAGE)


def _fields(problem: "Problem") -> dict[str, str | None]:
    return {
        "where": problem.where,
        "model": problem.model_id,
        "problem": problem.problem,
        "remedy": problem.remedy,
    }


def _lines(found: "dict[Path, list[Problem]]") -> "Group":
    from rich.console import Group
    from rich.text import Text

    problems = [
        f"{problem}\n  hint: {problem.remedy}" if problem.remedy else str(problem)
        for each in found.values()
        for problem in each
    ]
    bad = sum(bool(each) for each in found.values())
    summary = ("1 file, " if len(found) == 1 else f"{len(found)} files, ") + (
        f"{bad} not in order" if bad else "all in order"
    )
    return Group(*(Text(line, overflow="fold") for line in [*problems, summary]))
