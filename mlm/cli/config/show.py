"""``mlm config show``: the config of a model, as kept or as it would be chosen."""

import typer

from mlm.cli._options import JsonOpt, RefArg
from mlm.cli._session import print_document, session

EXAMPLES = {
    "mlm config show qwen3-8b": "Each value with its reason",
    "mlm config show qwen3-8b --json": "The same for a script",
}


def show(ctx: typer.Context, ref: RefArg, as_json: JsonOpt = False) -> None:
    """Show the runtime config of a model.

    Without a file of its own, it is what mlm would choose now.
    """
    from mlm.cli._machine import planned_machine
    from mlm.cli._model import find_subject
    from mlm.cli._runtime_config import choose_config
    from mlm.cli.config._document import config_document
    from mlm.planning.config_file import config_path, format_config
    from mlm.planning.memory import plan_memory
    from mlm.planning.overrides import Overrides
    from mlm.terminal import printable

    machine = planned_machine(session(ctx))
    subject = find_subject(session(ctx), ref, machine)
    path = config_path(session(ctx).settings.home.config, subject.model_id)
    is_kept = path.is_file()
    config = choose_config(path, subject.shape, machine, Overrides())
    planned = plan_memory(subject.shape, config, machine)
    if not is_kept:
        session(ctx).note(f"chosen now; keep it with: mlm config generate {ref}")
    if planned.verdict != "fits":
        session(ctx).note(f"but {planned.reasons[0]}; see mlm config diff {ref}")
    if as_json:
        print_document("config", config_document(subject.model_id, path, config, planned))
        return
    text = path.read_text(encoding="utf-8") if is_kept else format_config(config, subject.model_id)
    print(printable(text), end="")
