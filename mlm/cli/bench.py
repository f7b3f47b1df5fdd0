"""``mlm bench``: measure a model or a server."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlm.cli._bench_run import measure, measure_match
from mlm.cli._bench_target import SCHEMES, open_other, open_target
from mlm.cli._options import JsonOpt, finite
from mlm.cli._overrides import takes_overrides
from mlm.cli._session import Session, session
from mlm.completion.names import complete_installed
from mlm.errors import GateFailedError, UsageError
from mlm.planning.overrides import Overrides

if TYPE_CHECKING:
    from mlm.bench.report import Report

TargetArg = Annotated[
    str,
    typer.Argument(
        metavar="REF|URL",
        help="A model, or the address of an OpenAI-compatible server.",
        show_default=False,
        autocompletion=complete_installed,
    ),
]
OutputOpt = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write all figures as JSON.")
]
UsersOpt = Annotated[
    int | None,
    typer.Option(min=1, max=1000, metavar="N", help="People at once.", show_default="1"),
]
RoundsOpt = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Times each prompt is asked, or each scenario is played.",
        show_default="3, with --against 9",
    ),
]
MaxTokensOpt = Annotated[
    int | None,
    typer.Option(
        min=1, metavar="N", help="Length of each answer.", show_default="64, with --against 48"
    ),
]
ModelOpt = Annotated[str | None, typer.Option(metavar="ID", help="With a URL: which model there.")]
ApiKeyFileOpt = Annotated[
    Path | None, typer.Option(metavar="FILE", help="With a URL: the file that holds its key.")
]
CompareOpt = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Compare with a file that -o wrote.")
]
GateOpt = Annotated[
    float | None,
    typer.Option(
        min=0,
        metavar="PCT",
        help="With --compare or --against: exit 11 if PCT percent slower.",
        callback=finite,
    ),
]


AgainstOpt = Annotated[
    str | None,
    typer.Option(metavar="URL", help="Let a second server take turns with the first one."),
]
ScenarioOpt = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="With --against: what both do; may be given again.",
        show_default="all",
    ),
]
AgainstModelOpt = Annotated[
    str | None, typer.Option(metavar="ID", help="Which model of the second server.")
]
AgainstKeyOpt = Annotated[
    Path | None, typer.Option(metavar="FILE", help="The file that holds the second server's key.")
]


EXAMPLES = {
    "mlm bench qwen3-8b": "How fast it is here, with a rating",
    "mlm bench qwen3-8b --users 4 -o new.json": "For four people at once; keep the figures",
    "mlm bench qwen3-8b --compare old.json --gate 10": (
        "In a script: exit with 11 if it is 10 % slower than before"
    ),
    "mlm bench http://127.0.0.1:8000/v1 --against http://127.0.0.1:8080/v1": (
        "Two servers side by side"
    ),
}


@takes_overrides
def bench(
    ctx: typer.Context,
    target: TargetArg,
    output: OutputOpt = None,
    users: UsersOpt = None,
    rounds: RoundsOpt = None,
    max_tokens: MaxTokensOpt = None,
    model: ModelOpt = None,
    api_key_file: ApiKeyFileOpt = None,
    compare: CompareOpt = None,
    against: AgainstOpt = None,
    scenario: ScenarioOpt = None,
    against_model: AgainstModelOpt = None,
    against_api_key_file: AgainstKeyOpt = None,
    gate: GateOpt = None,
    as_json: JsonOpt = False,
    *,
    overrides: Overrides,
) -> None:
    """Measure how fast a model or a server answers.

    Three standard prompts are asked, of about 30, 250 and 1000 tokens; percentiles and a rating
    from A to E come out. With --against, two servers take turns in scenarios, from one client to
    sixteen, and ratios come out.
    """
    from mlm.bench.load import Load
    from mlm.bench.report import read_runs
    from mlm.bench.scenarios import NEW_TOKENS, find_scenarios
    from mlm.cli._bench_tables import tables
    from mlm.cli._machine import planned_machine

    _check(ctx.params)
    scenarios = find_scenarios(scenario or (), max_tokens or NEW_TOKENS)
    before = read_runs(compare) if compare else ()
    # Before the model is loaded: its predictions rest on what is measured here.
    machine = planned_machine(session(ctx))
    with (
        # The other one first: whether it is there is known at once.
        open_other(against, against_model, against_api_key_file) as other,
        open_target(session(ctx), target, overrides, model, api_key_file) as own,
    ):
        if other is None:
            load = Load(users or 1, rounds or 3, max_tokens or 64)
            report = measure(session(ctx), *own, load, machine)
        else:
            load = Load(1, rounds or 9, max_tokens or NEW_TOKENS)
            report = measure_match(session(ctx), (own, other), scenarios, load, machine)
    given = {name: value for name, value in asdict(overrides).items() if value is not None}
    report = replace(report, overrides=given, match_gate_pct=gate)
    if compare:
        report = report.compared_with(compare, before, gate)
    if output:
        report.write(output)
    session(ctx).emit("bench", report.fields(), as_json=as_json, human=lambda: tables(report))
    _judge(session(ctx), report, as_json=as_json)


def _check(given: Mapping[str, Any]) -> None:
    """Refuse options, as typed, that mean nothing together, and a report that has no place."""
    against, compare, output = given["against"], given["compare"], given["output"]
    if against is None:
        if any(given[name] for name in ("scenario", "against_model", "against_api_key_file")):
            raise UsageError("that needs a second server", remedy="--against URL")
        if given["gate"] is not None and compare is None:
            raise UsageError("--gate needs something to compare with", remedy="--compare FILE")
    elif compare or given["users"]:
        raise UsageError(
            "with --against, scenarios say how many ask, and no file is compared",
            remedy="--scenario NAME --rounds N",
        )
    elif not against.startswith(SCHEMES):
        raise UsageError(f"'{against}' is not the address of a server", remedy="--against URL")
    if output and not (folder := Path(output).absolute().parent).is_dir():
        raise UsageError(f"there is no folder for {output}", remedy=f"mkdir -p {folder}")


def _judge(session: Session, report: "Report", *, as_json: bool) -> None:
    """Say what is wrong with the measurement; end with an exit code if it failed, or the gate."""
    from mlm.bench.remarks import remarks

    for remark in remarks(report.match) if report.match else _complaints(report):
        session.note(f"warning: {remark}")
    failure = (report.match and report.match.failure) or _gate_failure(report)
    if failure is None:
        return
    if as_json:  # the document says it; a second one would only confuse
        raise typer.Exit(failure.exit_code)
    raise failure


def _complaints(report: "Report") -> Iterator[str]:
    if report.summary.failed:
        yield f"{report.summary.failed} requests failed"
    if report.summary.cached:
        yield f"a cache answered {report.summary.cached} requests; they do not count"


def _gate_failure(report: "Report") -> GateFailedError | None:
    """Return what does not pass the gate, if anything does not."""
    than = "before" if report.comparison else "the other server"
    changes = report.comparison.failing if report.comparison else ()
    slower = [(change.metric, change.slowdown_pct) for change in changes]
    slower += [(f"{r.scenario} {r.figure}", r.slowdown_pct) for r in report.failing_ratios]
    if not slower:
        return None
    listed = ", ".join(f"{figure} by {percent:.0f} %" for figure, percent in slower)
    return GateFailedError(f"slower than {than}: {listed}", remedy="mlm doctor")
