"""``mlm config export``: a config for another program."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mlm.cli._options import InstalledRefArg, JsonOpt
from mlm.cli._session import Session, print_document, session
from mlm.errors import UsageError

if TYPE_CHECKING:
    from mlm.hardware.types import Hardware
    from mlm.planning.exported import Exported
    from mlm.planning.exported import Subject as Exportable
    from mlm.planning.types import ModelShape

Target = Literal["llama-server", "llama-server-ini", "ollama", "systemd"]
ToOpt = Annotated[Target, typer.Option("--to", help="The program that is to run the model.")]
OutputOpt = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", help="Write it there.", show_default=False),
]
_NEXT = {
    "llama-server": "sh {}",
    "llama-server-ini": "llama-server --models-preset {}",
    "ollama": "ollama create NAME -f {}",
    "systemd": "systemd-analyze verify {}, then copy it to /etc/systemd/system",
}


EXAMPLES = {
    "mlm config export qwen3-8b --to llama-server": (
        "The command line that does the same with llama-server"
    ),
    "mlm config export qwen3-8b --to systemd -o qwen3-8b.service": (
        "A service that starts with this machine"
    ),
}


def export(
    ctx: typer.Context,
    ref: InstalledRefArg,
    to: ToOpt,
    output: OutputOpt = None,
    as_json: JsonOpt = False,
) -> None:
    """Write the config of a model for another program.

    What that program has no setting for is named in a comment.
    """
    from mlm.cli._machine import planned_machine
    from mlm.cli._model import known_entry
    from mlm.cli._output_file import output_file
    from mlm.cli._projector import read_shape
    from mlm.cli._runtime_config import choose_config
    from mlm.planning.config_file import config_path
    from mlm.planning.exported import Subject
    from mlm.planning.overrides import Overrides
    from mlm.store.store import Store

    run = session(ctx)
    with Store(run.settings.home, run.settings.hub_cache) as store:
        file = store.find(ref)
        shape, eyes = read_shape(store, file, known_entry(run.settings, file.model))
    machine = planned_machine(run)
    path = config_path(run.settings.home.config, file.model_id)
    config = choose_config(path, shape, machine, Overrides())
    if not path.is_file():
        run.note(f"chosen now; keep it with: mlm config generate {ref}")
    subject = Subject(
        file.model_id, file.path.absolute(), config, eyes.path.absolute() if eyes else None
    )
    exported = _export(run, to, subject, (ref, path, shape, machine))
    is_to_file = output is not None and str(output) != "-"
    if is_to_file:
        with output_file(output, force=True, note=run.note):
            _print(exported.text)
        run.note(f"wrote {output}; next: {_NEXT[to].format(output)}")
    if as_json:
        payload = {"model": file.model_id, "to": to, "path": str(output) if is_to_file else None}
        left_out = list(exported.left_out)
        print_document("config.export", {**payload, "text": exported.text, "left_out": left_out})
    elif not is_to_file:
        _print(exported.text)


def _export(
    run: Session,
    to: Target,
    subject: "Exportable",
    model: "tuple[str, Path, ModelShape, Hardware]",
) -> "Exported":
    from mlm.planning.export_llama import export_llama_server, export_llama_server_ini
    from mlm.planning.export_ollama import export_ollama
    from mlm.planning.export_systemd import Service, export_systemd
    from mlm.planning.memory import plan_memory
    from mlm.store.ref import definite

    if to == "llama-server":
        return export_llama_server(subject)
    if to == "llama-server-ini":
        return export_llama_server_ini(subject)
    if to == "ollama":
        return export_ollama(subject)
    ref, config_file, shape, machine = model
    if not config_file.is_file():
        raise UsageError(
            "a service needs a config that stays as it is", remedy=f"mlm config generate {ref}"
        )
    service = Service(
        mlm=(sys.executable, "-m", "mlm"),
        ref=definite(ref),
        config_file=config_file.absolute(),
        home=run.settings.home.root.absolute(),
        hub_cache=run.settings.hub_cache.absolute(),
        user=_owner(run.settings.home.root),
    )
    return export_systemd(subject, plan_memory(shape, subject.config, machine), service)


def _owner(folder: Path) -> str:
    try:
        return folder.owner()
    except (OSError, KeyError, NotImplementedError):  # a user without a name; Windows
        return str(folder.stat().st_uid)


def _print(text: str) -> None:
    """Print a file as it is, but spare a terminal what could command it."""
    from mlm.terminal import printable

    print(printable(text) if sys.stdout.isatty() else text, end="")
