"""``mlm serve``: offer models over HTTP."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from mlm.cli._model_names import complete_installed
from mlm.cli._overrides import takes_overrides
from mlm.cli._session import session
from mlm.errors import UsageError
from mlm.planning.types import Overrides

RefsArg = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[REF]...",
        help="Models to load at once; other installed ones are loaded when asked for.",
        show_default=False,
        autocompletion=complete_installed,
    ),
]
PortOpt = Annotated[int, typer.Option(min=0, max=65535, metavar="N", help="0 takes a free one.")]
ConfigOpt = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Runtime config of the one model named.")
]
KeyFileOpt = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Further API keys, for admins, one per line; see mlm keys."),
]
MaxModelsOpt = Annotated[int, typer.Option(min=1, metavar="N", help="Models in memory at a time.")]
MaxQueueOpt = Annotated[
    int, typer.Option(min=0, metavar="N", help="Requests per model that may wait.")
]
MaxConnectionsOpt = Annotated[
    int, typer.Option(min=1, metavar="N", help="Clients that may be connected at a time.")
]
PerAddressOpt = Annotated[
    int, typer.Option(min=1, metavar="N", help="The same of one address elsewhere.")
]
AllowHostOpt = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="A further name of this server.", show_default=False),
]
JsonLinesOpt = Annotated[bool, typer.Option("--json", help="Print what happens as JSON lines.")]
LogFormatOpt = Annotated[
    Literal["text", "json"], typer.Option(help="How the log on stderr is written.")
]


@takes_overrides
def serve(
    ctx: typer.Context,
    refs: RefsArg = None,
    host: Annotated[str, typer.Option(metavar="HOST", help="Address to listen on.")] = "127.0.0.1",
    port: PortOpt = 8000,
    config: ConfigOpt = None,
    api_key_file: KeyFileOpt = None,
    max_models: MaxModelsOpt = 2,
    max_queue: MaxQueueOpt = 32,
    max_connections: MaxConnectionsOpt = 1024,
    max_per_address: PerAddressOpt = 64,
    allow_host: AllowHostOpt = None,
    as_json: JsonLinesOpt = False,
    log_format: LogFormatOpt = "text",
    until_eof: Annotated[bool, typer.Option("--until-eof", hidden=True)] = False,
    *,
    overrides: Overrides,
) -> None:
    """Serve models to OpenAI clients until Ctrl-C.

    For example: mlm serve qwen3-8b --port 8080
    """
    from mlm.engine import require_engine

    require_engine()
    from mlm.cli._progress import show_progress
    from mlm.cli._serve_log import open_log
    from mlm.cli._shelf import make_shelf
    from mlm.server.keys import Keys
    from mlm.server.run import ServeOptions
    from mlm.server.run import serve as run_server

    settings = session(ctx).settings
    options = ServeOptions(
        host=host,
        port=port,
        keys=Keys.of_one_command() if until_eof else Keys.open(settings.home.keys, api_key_file),
        allowed_hosts=tuple(allow_host or ()),
        max_models=max_models,
        max_queue=max_queue,
        max_connections=max_connections,
        max_per_address=max_per_address,
        private=until_eof,
    )
    if config is not None and len(refs or ()) != 1:
        raise UsageError("--config is for exactly one model", remedy="mlm serve REF --config FILE")
    with show_progress(session(ctx), "none" if as_json else "auto") as listener:
        shelf = make_shelf(settings, refs or (), overrides, config, listener)
    with open_log(session(ctx), as_json=as_json, log_format=log_format) as tell:
        run_server(shelf, options, settings.home, tell)
