"""``mlm run``: one question, one answer."""

from pathlib import Path
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
from mlm.cli._saved import ContinueOpt, SaveOpt, SessionOpt
from mlm.cli._session import session
from mlm.planning.overrides import Overrides

if TYPE_CHECKING:
    from mlm.cli._question import Question

PromptArg = Annotated[
    str | None,
    typer.Argument(metavar="PROMPT", help="Comes after what stdin holds.", show_default=False),
]
AttachOpt = Annotated[
    list[str] | None,
    typer.Option(
        "--attach",
        "-a",
        metavar="FILE",
        help="Put its text or picture first; also a folder, or '*.py'.",
        show_default=False,
    ),
]
TemplateOpt = Annotated[
    Path | None,
    typer.Option(
        "--template",
        "-t",
        metavar="FILE",
        help="Ask what FILE says; {{input}} is the question.",
        show_default=False,
    ),
]
VarOpt = Annotated[
    list[str] | None,
    typer.Option("--var", metavar="NAME=VALUE", help="For {{NAME}} in it.", show_default=False),
]
SchemaOpt = Annotated[
    str | None,
    typer.Option(
        "--schema",
        metavar="SCHEMA|FILE",
        help="Answer with JSON that is valid by it: 'name, age int', a JSON schema, or a file.",
        show_default=False,
    ),
]
ThinkOpt = Annotated[
    bool | None,
    typer.Option(
        "--think/--no-think",
        help="Have the model think and show it (into a pipe: on stderr), or neither.",
        show_default=False,
    ),
]
StreamOpt = Annotated[
    bool, typer.Option("--stream/--no-stream", help="Print the answer as it comes, or at its end.")
]
OutputOpt = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="Write it there when it is whole.",
        show_default=False,
    ),
]
ForceOpt = Annotated[bool, typer.Option("--force", help="Write over FILE.")]
RawOpt = Annotated[
    bool, typer.Option("--raw", help="Into a pipe or file, pass control characters on.")
]


EXAMPLES = {
    'mlm run qwen3-8b "What is a quantization?"': "Ask one question",
    'git diff | mlm run qwen3-8b "Write a commit message for this."': (
        "Ask about what another command prints"
    ),
    'mlm run -c "And in one sentence?"': "Go on with the last conversation and its model",
    "mlm run qwen3-8b --schema 'name, age int' \"Invent a person.\"": (
        "An answer that is JSON by a schema, or exit code 11"
    ),
}


@takes_overrides
def run(
    ctx: typer.Context,
    ref: InstalledRefArg,
    prompt: PromptArg = None,
    system: SystemOpt = None,
    attach: AttachOpt = None,
    template: TemplateOpt = None,
    var: VarOpt = None,
    schema: SchemaOpt = None,
    max_tokens: MaxTokensOpt = None,
    temperature: TemperatureOpt = None,
    seed: SeedOpt = None,
    think: ThinkOpt = None,
    stream: StreamOpt = True,
    output: OutputOpt = None,
    force: ForceOpt = False,
    raw: RawOpt = False,
    go_on: ContinueOpt = False,
    wanted: SessionOpt = None,
    save: SaveOpt = None,
    as_json: JsonOpt = False,
    *,
    overrides: Overrides,
) -> None:
    """Ask a model one question.

    What is answered at a terminal is saved on this machine, as a chat is. With -c or --session the
    model knows what was said before; then REF may be left out.
    """
    from contextlib import closing

    from mlm.cli._answer import Manner, print_answer
    from mlm.cli._earlier import earlier
    from mlm.cli._output_file import output_file
    from mlm.cli._question import Sources, read_question
    from mlm.cli._serving import connect
    from mlm.client import Recording
    from mlm.engine import require_engine

    asking = session(ctx)
    with earlier(asking, wanted, go_on=go_on, save=save) as talk:
        if talk.ref and prompt is None:
            ref, prompt = talk.ref, ref
        question = read_question(
            asking, ref, Sources(prompt, system, attach or (), template, var or ())
        )
        form = _read_schema(schema, question)
        options = {"max_tokens": max_tokens, "temperature": temperature, "seed": seed}
        params = {**question.params, **_given(options), **_demands(form, think)}
        require_engine()
        with (
            output_file(output, force=force, note=asking.note),
            connect(asking, ref, overrides) as (client, model),
            closing(talk.ask(client, model, question, form, params)) as events,
        ):
            answer = Recording(events)
            with talk.keeping(question, answer, model, ref):
                print_answer(asking, model, answer, Manner(stream, as_json, raw, think, form))
    if answer.finished and answer.finished.reason == "length":
        asking.note("hint: the answer was cut off; --max-tokens or --ctx allow more")


def _read_schema(option: str | None, question: "Question") -> dict[str, Any] | None:
    """Return the schema that was asked for, by an option or else by the template."""
    from mlm.cli._answer_schema import check_schema, read_schema

    wanted = question.schema if option is None else option
    if isinstance(wanted, str):
        return read_schema(wanted)
    return None if wanted is None else check_schema(wanted)


def _given(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _demands(schema: dict[str, Any] | None, think: bool | None) -> dict[str, Any]:
    """Return the parameters of the chat API that ask for a form of the answer."""
    demands: dict[str, Any] = {}
    if schema is not None:
        described = {"name": "answer", "schema": schema}
        demands["response_format"] = {"type": "json_schema", "json_schema": described}
    if think is not None:
        demands["chat_template_kwargs"] = {"enable_thinking": think}
    return demands
