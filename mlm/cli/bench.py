"""``mlm bench``: measure a model or a server."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlm.cli._model_names import complete_installed
from mlm.cli._options import JsonOpt, finite
from mlm.cli._overrides import takes_overrides
from mlm.cli._session import Session, session, stderr
from mlm.errors import ExitCode, GateFailedError, NotFoundError, UsageError
from mlm.planning.types import Overrides

if TYPE_CHECKING:
    from mlm.bench.load import Load
    from mlm.bench.report import Report
    from mlm.client import Client
    from mlm.hardware.types import Hardware

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
UsersOpt = Annotated[int, typer.Option(min=1, max=1000, metavar="N", help="People at once.")]
RoundsOpt = Annotated[int, typer.Option(min=1, metavar="N", help="Times each prompt is asked.")]
MaxTokensOpt = Annotated[int, typer.Option(min=1, metavar="N", help="Length of each answer.")]
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
        help="With --compare: exit 11 if PCT percent slower.",
        callback=finite,
    ),
]


@takes_overrides
def bench(
    ctx: typer.Context,
    target: TargetArg,
    output: OutputOpt = None,
    users: UsersOpt = 1,
    rounds: RoundsOpt = 3,
    max_tokens: MaxTokensOpt = 64,
    model: ModelOpt = None,
    api_key_file: ApiKeyFileOpt = None,
    compare: CompareOpt = None,
    gate: GateOpt = None,
    as_json: JsonOpt = False,
    *,
    overrides: Overrides,
) -> None:
    """Measure how fast a model or a server answers.

    Three standard prompts are asked, of about 30, 250 and 1000 tokens; percentiles and a rating
    from A to E come out.

    For example: mlm bench qwen3-8b --users 4 -o new.json --compare old.json --gate 10
    """
    from mlm.bench.load import Load
    from mlm.bench.report import read_runs
    from mlm.cli._bench_tables import tables
    from mlm.engine.rate import with_arithmetic
    from mlm.hardware.cached import cached_hardware

    if gate is not None and compare is None:
        raise UsageError("--gate needs something to compare with", remedy="--compare FILE")
    if output and not output.absolute().parent.is_dir():
        raise UsageError(f"there is no folder for {output}", remedy=f"mkdir -p {output.parent}")
    before = read_runs(compare) if compare else ()
    # Before the model is loaded: its predictions rest on what is measured here.
    cache = session(ctx).settings.home.cache
    machine = with_arithmetic(cached_hardware(cache), cache)
    with _open_target(session(ctx), target, overrides, model, api_key_file) as (client, model_id):
        report = _measure(session(ctx), client, model_id, Load(users, rounds, max_tokens), machine)
    report = replace(report, overrides=_given(overrides))
    if compare:
        report = report.compared_with(compare, before, gate)
    if output:
        report.write(output)
    session(ctx).emit("bench", report.fields(), as_json=as_json, human=lambda: tables(report))
    _judge(session(ctx), report, as_json=as_json)


@contextmanager
def _open_target(
    session: Session, target: str, overrides: Overrides, model: str | None, key_file: Path | None
) -> Iterator[tuple["Client", str]]:
    """Yield a client of the server at a URL, or of one that serves a REF; and the model's id."""
    from mlm.client import Client

    if not target.startswith(("http://", "https://")):
        if model or key_file:
            raise UsageError("--model and --api-key-file go with a URL", remedy="mlm bench --help")
        from mlm.cli._serving import connect

        with connect(session, target, overrides) as (client, model_id):
            yield client, model_id
        return
    if _given(overrides):
        raise UsageError("the runtime config of a server elsewhere is its own", remedy="mlm serve")
    with Client(target, _read_key(key_file)) as client:
        offered = client.models()
        if not offered or (model and model not in offered):
            names = ", ".join(offered[:10]) or "nothing"
            raise NotFoundError(
                f"{target} does not offer {model or 'any model'}, but {names}",
                remedy=f"mlm bench {target} --model ID",
            )
        yield client, model or offered[0]


def _given(overrides: Overrides) -> dict[str, Any]:
    return {name: value for name, value in asdict(overrides).items() if value is not None}


def _read_key(file: Path | None) -> str | None:
    if file is None:
        return None
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise NotFoundError(f"cannot read the key in {file}: {error}") from error


def _measure(
    session: Session, client: "Client", model: str, load: "Load", machine: "Hardware"
) -> "Report":
    """Apply the load to a model, with progress on stderr."""
    from mlm.bench.load import apply_load, choose_prompts
    from mlm.bench.prompts import STANDARD_PROMPTS
    from mlm.bench.report import Report
    from mlm.bench.summary import summarise
    from mlm.client import BENCH_AGENT
    from mlm.hardware.document import to_document

    with client.another(BENCH_AGENT) as asker, _progress(session) as show:
        show("warming up", 0, None)
        prompts, skipped = choose_prompts(asker, model, STANDARD_PROMPTS)
        for name, why in skipped.items():
            session.note(f"the {name} prompt is left out: {why}")
        done, total = count(1), load.count(prompts)
        measured = apply_load(
            asker, model, prompts, load, lambda run: show("measuring", next(done), total)
        )
    return Report(
        machine=to_document(machine),
        model=model,
        server=client.base_url,
        load=load,
        measured=measured,
        summary=summarise(measured),
        skipped=skipped,
    )


@contextmanager
def _progress(session: Session) -> Iterator[Callable[[str, int, int | None], None]]:
    """Yield what shows how far the bench is: what it does, how many of how many requests."""
    if session.quiet or not sys.stderr.isatty():
        yield lambda what, done, total: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=stderr(), transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda what, done, total: bar.update(
            task, description=what, completed=done, total=total
        )


def _judge(session: Session, report: "Report", *, as_json: bool) -> None:
    """Say what is wrong with the measurement; end with exit code 11 if it fails the gate."""
    summary = report.summary
    if summary.failed:
        session.note(f"warning: {summary.failed} requests failed")
    if summary.cached:
        session.note(f"warning: a cache answered {summary.cached} requests; they do not count")
    failing = report.comparison.failing if report.comparison else ()
    if not failing:
        return
    if as_json:  # the document says it; a second one would only confuse
        raise typer.Exit(ExitCode.GATE_FAILED)
    slower = ", ".join(f"{change.metric} by {change.slowdown_pct:.0f} %" for change in failing)
    raise GateFailedError(f"slower than before: {slower}", remedy="mlm doctor")
