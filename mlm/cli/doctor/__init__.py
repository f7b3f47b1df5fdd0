"""``mlm doctor``: check the installation, and say the fix for what is wrong."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from mlm.cli._options import JsonOpt
from mlm.cli._session import print_document, print_text, session, stdout
from mlm.errors import ExitCode

if TYPE_CHECKING:
    from rich.table import Table

    from mlm.cli._session import Session
    from mlm.cli.doctor._finding import Check, Finding


EXAMPLES = {
    "mlm doctor": "Check everything",
    "mlm doctor --predictions": "How well memory and speed were predicted here",
    "mlm doctor --rebuild": "When mlm list shows what is not there, or misses what is",
}


def doctor(
    ctx: typer.Context,
    rebuild: Annotated[
        bool,
        typer.Option("--rebuild", help="Make the index of models anew from what is on the disk."),
    ] = False,
    predictions: Annotated[
        bool,
        typer.Option("--predictions", help="Only say how well predictions have come true here."),
    ] = False,
    as_json: JsonOpt = False,
) -> None:
    """Check the installation; say how to fix what fails.

    Looked at are engine, GPUs, folders, disks, databases, models, catalog, configs, predictions,
    servers, hub. With --rebuild only the index is looked at.
    """
    from mlm.cli._waiting import waiting_for
    from mlm.cli.doctor._disk import check_databases, check_folders, check_store
    from mlm.cli.doctor._engine import check_engine
    from mlm.cli.doctor._finding import examine, subject_of
    from mlm.cli.doctor._knowledge import check_catalog, check_configs
    from mlm.cli.doctor._network import check_hub, check_servers
    from mlm.cli.doctor._predictions import check_predictions
    from mlm.cli.doctor._rebuild import rebuild_index

    if predictions:
        _show_predictions(session(ctx), as_json=as_json)
        return
    findings = []
    checks: tuple[Check, ...] = (
        check_engine,
        check_folders,
        check_databases,
        check_store,
        check_catalog,
        check_configs,
        check_predictions,
        check_servers,
        check_hub,
    )
    if rebuild:
        checks = (rebuild_index, check_databases, check_store)
    for check in checks:
        with waiting_for(session(ctx), f"checking {subject_of(check)}"):
            found = list(examine(check, session(ctx).settings))
        findings += found
        if not as_json:  # each as it comes: some take seconds
            for finding in found:
                stdout().print(_line(finding))
    code = next((f.exit_code for f in findings if f.status == "fail"), ExitCode.OK)
    if as_json:
        print_document(
            "doctor", {"ok": code == ExitCode.OK, "checks": [asdict(f) for f in findings]}
        )
    raise typer.Exit(code)


def _show_predictions(session: "Session", *, as_json: bool) -> None:
    from mlm.cli.doctor._predictions import read_record, record_fields, record_text

    machine, record = read_record(session.settings)
    if as_json:
        print_document("doctor.predictions", record_fields(machine, record))
    else:
        print_text(record_text(record))


def _line(finding: "Finding") -> "Table":
    from rich.table import Table
    from rich.text import Text

    from mlm.terminal import printable

    line = Table.grid(padding=(0, 2, 0, 0))
    line.add_column(width=4)
    line.add_column(width=9)
    line.add_column(overflow="fold")
    colour = {"ok": "green", "warn": "magenta", "fail": "red"}[finding.status]
    line.add_row(Text(finding.status, colour), finding.name, Text(printable(finding.detail)))
    if finding.fix:
        line.add_row("", "", Text(printable(f"fix: {finding.fix}"), "dim"))
    return line
