"""``mlm config generate``: write the config that suits a model and this machine."""

import typer

from mlm.cli._options import JsonOpt, RefArg
from mlm.cli._overrides import takes_overrides
from mlm.cli._session import print_document, print_text, session
from mlm.cli.config._wishes import ProfileOpt, UsersOpt
from mlm.planning.overrides import Overrides

EXAMPLES = {
    "mlm config generate qwen3-8b": "Choose what suits this machine",
    "mlm config generate qwen3-8b --profile production --users 8": "For a server with eight users",
    "mlm config generate qwen3-8b --ctx 32768 --type-k q8_0 --type-v q8_0": (
        "For long requests, with less memory for each token"
    ),
}


@takes_overrides
def generate(
    ctx: typer.Context,
    ref: RefArg,
    profile: ProfileOpt = None,
    users: UsersOpt = None,
    as_json: JsonOpt = False,
    *,
    overrides: Overrides,
) -> None:
    """Write the runtime config of a model, with the reason for each value.

    What of a profile does not fit this machine is said, and what fits is taken. The config that
    was there before is kept: see mlm config rollback.
    """
    from mlm.cli._machine import planned_machine
    from mlm.cli._model import find_subject
    from mlm.cli.config._document import config_document
    from mlm.cli.config._sealed import note_if_sealed
    from mlm.cli.config._wishes import choose_profile
    from mlm.planning.config_file import config_path, format_config
    from mlm.planning.config_versions import write_version
    from mlm.planning.memory import plan_memory
    from mlm.planning.reasons import find_unmet
    from mlm.planning.runtime import plan_runtime

    wished = choose_profile(profile, users)
    machine = planned_machine(session(ctx))
    subject = find_subject(session(ctx), ref, machine)
    config = plan_runtime(subject.shape, machine, overrides, wished)
    unmet = find_unmet(config, config.reasons, wished)
    path = config_path(session(ctx).settings.home.config, subject.model_id)
    note_if_sealed(session(ctx), path)
    write_version(path, format_config(config, subject.model_id))
    planned = plan_memory(subject.shape, config, machine)
    if as_json:
        document = config_document(subject.model_id, path, config, planned)
        print_document("config", {**document, "unmet": unmet})
    else:
        print_text(f"wrote {path}")
    for line in unmet:
        session(ctx).note(f"{line} (profile {wished.name})")
    if planned.verdict != "fits":
        session(ctx).note(f"but {planned.reasons[0]}")
