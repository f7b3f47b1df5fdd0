"""``mlm engine check``: does the installed build load, compute rightly, and use the GPU?"""

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from mlm.cli._options import JsonOpt
from mlm.cli._session import print_document, print_text, session
from mlm.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlm.engine.build import Check, EngineBuild
    from mlm.settings import Settings


EXAMPLES = {
    "mlm engine check": "Whether it works, on the CPU and on each GPU",
    "mlm engine check --json": "The same for a script",
}


def check(ctx: typer.Context, as_json: JsonOpt = False) -> None:
    """Let the engine run a tiny model, on the CPU and on each GPU, and look at the answers.

    Exit code 9 means that it does not work, and says what to do.
    """
    from mlm.cli._waiting import waiting_for
    from mlm.cli.engine._document import build_fields
    from mlm.engine.build import describe_build

    build = describe_build()
    done = []
    checks = _checks(build, session(ctx).settings)
    while True:
        with waiting_for(session(ctx), "letting the engine run a tiny model"):
            result = next(checks, None)
        if result is None:
            break
        done.append(result)
        if not as_json:  # each as it comes: some take seconds
            print_text(_line(result))
    failed = any(result.status == "fail" for result in done)
    if as_json:
        rows = [asdict(result) for result in done]
        payload = {"ok": not failed, "build": build_fields(build), "checks": rows}
        print_document("engine.check", payload)
    raise typer.Exit(ExitCode.ENGINE if failed else ExitCode.OK)


def _checks(build: "EngineBuild", settings: "Settings") -> "Iterator[Check]":
    from mlm.demo.question import DEMO_QUESTION
    from mlm.engine.build import check_build, judge_gpus
    from mlm.hardware.cached import cached_hardware

    yield from check_build(build, DEMO_QUESTION)
    yield judge_gpus(build, cached_hardware(settings.home.cache).accelerators)


def _line(result: "Check") -> str:
    from mlm.cli._columns import wrap

    text = wrap(result.detail, indent=f"{result.status:6}{result.name:9}")
    return f"{text}\n{wrap(result.fix, indent=' ' * 15 + 'fix: ')}" if result.fix else text
