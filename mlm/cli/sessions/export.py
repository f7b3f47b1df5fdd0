"""``mlm sessions export``: a conversation as a file."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from mlm.cli._saved import SessionArg
from mlm.cli._session import print_text, session

FormatOpt = Annotated[
    Literal["markdown", "json"] | None,
    typer.Option(
        "--format",
        help="json is a body for /v1/chat/completions; by default what FILE ends in.",
        show_default=False,
    ),
]
OutputOpt = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", help="Write it there.", show_default=False),
]

ForceOpt = Annotated[bool, typer.Option("--force", help="Write over FILE.")]

EXAMPLES = {
    "mlm sessions export 3f9a -o talk.md": "A page to read",
    "mlm sessions export --format json": "The last one, as a body for /v1/chat/completions",
}


def export(
    ctx: typer.Context,
    wanted: SessionArg = None,
    format_: FormatOpt = None,
    output: OutputOpt = None,
    force: ForceOpt = False,
) -> None:
    """Write a conversation as Markdown, or as JSON that can be sent to a server."""
    from mlm.cli._output_file import output_file
    from mlm.cli._saved import choose_session, saved_sessions
    from mlm.sessions.export import to_json, to_markdown

    run = session(ctx)
    with saved_sessions(run) as sessions:
        found = sessions.read(choose_session(sessions, wanted))
    is_json = format_ == "json" or (format_ is None and output and output.suffix == ".json")
    text = (
        to_json(found.summary.model, found.messages)
        if is_json
        else to_markdown(found.summary.title, found.summary.model, found.messages)
    )
    with output_file(output, force=force, note=run.note, mode=0o600):
        if sys.stdout.isatty() or not is_json:
            print_text(text.rstrip("\n"))
        else:
            print(text, end="")
    if output is not None and str(output) != "-":
        run.note(f"wrote {output}")
