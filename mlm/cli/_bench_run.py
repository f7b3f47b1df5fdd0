"""What `mlm bench` does between its options and its report: measuring, with progress on stderr."""

import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING

from mlm.cli._session import Session, stderr

if TYPE_CHECKING:
    from mlm.bench.load import Load
    from mlm.bench.report import Report
    from mlm.bench.scenarios import Scenario
    from mlm.client import Client
    from mlm.hardware.types import Hardware


def measure(
    session: Session, client: "Client", model: str, load: "Load", machine: "Hardware"
) -> "Report":
    """Apply the load to a model."""
    from mlm.bench.load import apply_load, ask_deep, choose_prompts
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
        show("a long context, for predictions", total, total)
        ask_deep(asker, model, measured, load.max_tokens)
    return Report(
        machine=to_document(machine),
        model=model,
        server=client.base_url,
        load=load,
        measured=measured,
        summary=summarise(measured),
        skipped=skipped,
    )


def measure_match(
    session: Session,
    servers: tuple[tuple["Client", str], tuple["Client", str]],
    scenarios: "tuple[Scenario, ...]",
    load: "Load",
    machine: "Hardware",
) -> "Report":
    """Let two servers, each with its model, take turns; ``load`` says how often and how long."""
    from mlm.bench.match import DROPPED, play_match
    from mlm.bench.report import Report
    from mlm.bench.side import Name, Side
    from mlm.bench.summary import summarise
    from mlm.bench.texts import measure_texts
    from mlm.client import BENCH_AGENT
    from mlm.hardware.document import to_document

    (client_a, model_a), (client_b, model_b) = servers
    with (
        client_a.another(BENCH_AGENT) as asker_a,
        client_b.another(BENCH_AGENT) as asker_b,
        _progress(session, is_still=True) as show,
    ):
        show("warming up", 0, None)
        sides: dict[Name, Side] = {
            "a": Side.open("a", asker_a, model_a),
            "b": Side.open("b", asker_b, model_b),
        }
        texts = measure_texts(secrets.token_hex(4), sides["a"].count_prompt_tokens)
        done, total = count(), len(scenarios) * (load.rounds + DROPPED) * len(sides)
        match = play_match(
            sides, scenarios, texts, load.rounds, lambda name: show(name, next(done), total)
        )
    measured = match.measured("a")
    return Report(
        machine=to_document(machine),
        model=model_a,
        server=client_a.base_url,
        load=replace(load, users=1 + max((run.user for run in measured.runs), default=0)),
        measured=measured,
        summary=summarise(measured),
        skipped=match.skipped,
        match=match,
    )


@contextmanager
def _progress(
    session: Session, *, is_still: bool = False
) -> Iterator[Callable[[str, int, int | None], None]]:
    """Yield what shows how far the bench is: what it does, how many of how many requests.

    If it ``is_still``, nothing moves between two calls: that would take CPU from the servers.
    """
    if session.quiet or not sys.stderr.isatty():
        yield lambda what, done, total: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=stderr(), transient=True, auto_refresh=not is_still) as bar:
        task = bar.add_task("", total=None)
        yield lambda what, done, total: bar.update(
            task, description=what, completed=done, total=total, refresh=is_still
        )
