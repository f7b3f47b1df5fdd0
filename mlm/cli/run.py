"""``mlm run``: one question, one answer."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlm.cli._options import (
    InstalledRefArg,
    JsonOpt,
    MaxTokensOpt,
    SeedOpt,
    SystemOpt,
    TemperatureOpt,
)
from mlm.cli._overrides import takes_overrides
from mlm.cli._session import print_document, session
from mlm.planning.types import Overrides

if TYPE_CHECKING:
    from mlm.client import Recording


EXAMPLES = {
    'mlm run qwen3-8b "What is a quantization?"': "Ask one question",
    'git diff | mlm run qwen3-8b "Write a commit message for this."': (
        "Ask about what another command prints"
    ),
    'mlm run qwen3-8b "Name three rivers." --json --seed 1': (
        "For a script: the same answer each time, with figures"
    ),
}


@takes_overrides
def run(
    ctx: typer.Context,
    ref: InstalledRefArg,
    prompt: Annotated[
        str | None,
        typer.Argument(metavar="PROMPT", help="Comes after what stdin holds.", show_default=False),
    ] = None,
    system: SystemOpt = None,
    max_tokens: MaxTokensOpt = None,
    temperature: TemperatureOpt = None,
    seed: SeedOpt = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="Into a pipe, pass control characters on.")
    ] = False,
    as_json: JsonOpt = False,
    *,
    overrides: Overrides,
) -> None:
    """Ask a model one question."""
    from contextlib import closing

    from mlm.cli._screen import open_screen
    from mlm.cli._serving import connect
    from mlm.client import Recording
    from mlm.engine import require_engine
    from mlm.repl.conversation import Conversation

    question = _read_question(prompt)
    require_engine()
    params = {"max_tokens": max_tokens, "temperature": temperature, "seed": seed}
    with connect(session(ctx), ref, overrides) as (client, model):
        messages = Conversation(system).messages(question)
        with closing(client.chat(messages, model=model, **params)) as events:
            answer = Recording(events)
            if as_json:
                answer.wait()
                print_document("run", _to_fields(model, answer))
            else:
                open_screen(raw=raw).stream(answer)
    if answer.finished and answer.finished.reason == "length":
        session(ctx).note("hint: the answer was cut off; --max-tokens or --ctx allow more")


def _read_question(prompt: str | None) -> str:
    """Return what stdin holds and then ``prompt``: first the text, then what to do with it."""
    from mlm.cli._stdin import is_piped, read_text
    from mlm.errors import UsageError

    parts = [read_text().strip()] if is_piped() else []
    question = "\n\n".join(part for part in [*parts, prompt] if part)
    if not question:
        raise UsageError("there is no question", remedy='mlm run REF "your question"')
    return question


def _to_fields(model: str, answer: "Recording") -> dict[str, Any]:
    """Return the fields of ``mlm.run/1``."""
    from dataclasses import asdict

    finished = answer.finished
    return {
        "model": model,
        "answer": answer.text,
        "finish_reason": finished.reason if finished else None,
        "usage": asdict(finished.usage) if finished and finished.usage else None,
        "cache": finished.cache if finished else None,
        "ttft_s": answer.ttft_s,
        "e2e_s": answer.e2e_s,
        "decode_tps": answer.decode_tps,
    }
