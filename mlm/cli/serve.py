"""``mlm serve``: offer models over HTTP."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mlm.cli._overrides import takes_overrides
from mlm.cli._session import session
from mlm.completion.names import complete_installed
from mlm.errors import UsageError
from mlm.planning.overrides import Overrides
from mlm.units import parse_age

if TYPE_CHECKING:
    from mlm.engine.spawn import Launch, Spawn
    from mlm.server.shelf import Shelf
    from mlm.settings import Settings
    from mlm.store.listener import Listener

RefsArg = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[REF]...",
        help="Models to load at once; other installed ones are loaded when asked for.",
        show_default=False,
        autocompletion=complete_installed,
    ),
]
PortOpt = Annotated[
    int, typer.Option(min=0, max=65535, metavar="N", help="Where to listen; 0 takes a free one.")
]
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
    int, typer.Option(min=1, metavar="N", help="The same, from one address on the network.")
]
MaxWaitOpt = Annotated[
    str, typer.Option(metavar="TIME", help="How long a request waits for its model or a slot.")
]
TtlOpt = Annotated[
    str, typer.Option(metavar="TIME", help="Unload a model that nobody has used for so long: 30m.")
]
PinOpt = Annotated[
    list[str] | None,
    typer.Option(
        metavar="REF",
        help="Serve this model too, and never unload it.",
        show_default=False,
        autocompletion=complete_installed,
    ),
]
AllowHostOpt = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME", help="Another name of this server: ai.example.org.", show_default=False
    ),
]
DetachOpt = Annotated[
    bool, typer.Option("--detach", help="Serve in the background; return when it is ready.")
]
JsonLinesOpt = Annotated[bool, typer.Option("--json", help="Print what happens as JSON lines.")]
LogFormatOpt = Annotated[
    Literal["text", "json"], typer.Option(help="How the log on stderr is written.")
]


EXAMPLES = {
    "mlm serve": "Serve every installed model; each is loaded when it is asked for",
    "mlm serve qwen3-8b --port 8080": "Load one at once, on another port",
    "mlm serve qwen3-8b --detach": "In the background; mlm stop ends it",
    "mlm serve qwen3-8b --host 0.0.0.0 --parallel 8 --ctx 8192": (
        "For eight people on the network; they need a key: mlm keys add"
    ),
}


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
    max_wait: MaxWaitOpt = "5m",
    ttl: TtlOpt = "never",
    pin: PinOpt = None,
    allow_host: AllowHostOpt = None,
    detach: DetachOpt = False,
    as_json: JsonLinesOpt = False,
    log_format: LogFormatOpt = "text",
    until_eof: Annotated[bool, typer.Option("--until-eof", hidden=True)] = False,
    *,
    overrides: Overrides,
) -> None:
    """Serve models to OpenAI clients until Ctrl-C."""
    from mlm.engine import require_engine

    require_engine()
    if detach:
        from mlm.cli._detached import serve_in_background

        serve_in_background(ctx, as_json=as_json)
        return
    from mlm.cli._progress import show_progress
    from mlm.server.keys import Keys
    from mlm.server.options import ServeOptions

    started = session(ctx)
    home = started.settings.home
    options = ServeOptions(
        host=host,
        port=port,
        keys=Keys.of_one_command() if until_eof else Keys.open(home.keys, api_key_file),
        allowed_hosts=tuple(allow_host or ()),
        max_models=max_models,
        max_queue=max_queue,
        max_connections=max_connections,
        max_per_address=max_per_address,
        max_wait_s=_parse_wait(max_wait),
        ttl_s=_parse_ttl(ttl),
        private=until_eof,
    )
    with show_progress(started, "none" if as_json else "auto") as listener:
        shelf, pinned = _find(
            started.settings, (refs or [], pin or []), overrides, config, listener
        )
    with _early_worker(started.settings, shelf) as launch:
        from mlm.cli._serve_log import open_log  # takes as long as the worker
        from mlm.server.run import serve as run_server

        with open_log(started, as_json=as_json, log_format=log_format) as tell:
            run_server(shelf, replace(options, pinned=pinned, launch=launch), home, tell)


@contextmanager
def _early_worker(settings: "Settings", shelf: "Shelf") -> Iterator["Launch"]:
    """Start the worker for the one model that is to be loaded at once, if it is only one."""
    from mlm.engine.spawn import EarlyWorker, Launch, spawn_worker

    starting: AbstractContextManager[Spawn] = nullcontext(spawn_worker)
    if len(shelf.served) == 1:
        with suppress(OSError):  # a home that cannot be written: the server says it
            starting = EarlyWorker(settings.home.logs / shelf.served[0].log_name)
    with starting as spawn:
        yield Launch(spawn=spawn)


def _find(
    settings: "Settings",
    named: tuple[list[str], list[str]],
    overrides: Overrides,
    config: Path | None,
    listener: "Listener",
) -> "tuple[Shelf, frozenset[str]]":
    """Return what there is to serve, with the models that are named and those that are pinned
    first; and the ids of the latter."""
    from mlm.cli._shelf import make_shelf

    refs = list(dict.fromkeys([*named[0], *named[1]]))
    if config is not None and len(refs) != 1:
        raise UsageError("--config is for exactly one model", remedy="mlm serve REF --config FILE")
    shelf = make_shelf(settings, refs, overrides, config, listener)
    models = zip(refs, shelf.served, strict=True)
    return shelf, frozenset(model.model_id for ref, model in models if ref in named[1])


def _parse_wait(text: str) -> float:
    if not (seconds := parse_age(text)):
        raise UsageError("a request that may not wait is never served", remedy="--max-wait 5m")
    return seconds


def _parse_ttl(text: str) -> float | None:
    return None if text in ("never", "0") else parse_age(text) or None
