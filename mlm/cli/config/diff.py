"""``mlm config diff``: how the config of a model differs from another one."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlm.cli._options import JsonOpt, RefArg
from mlm.cli._overrides import takes_overrides
from mlm.cli._session import Session, print_document, print_text, session
from mlm.cli.config._wishes import ProfileOpt, UsersOpt
from mlm.errors import GateFailedError, NotFoundError, UsageError
from mlm.planning.overrides import Overrides

if TYPE_CHECKING:
    from mlm.cli.config._kept import Kept
    from mlm.planning.types import ProfileName, RuntimeConfig

PreviousOpt = Annotated[
    bool, typer.Option("--previous", help="Compare with the version before, not with a new plan.")
]
ExitCodeOpt = Annotated[
    bool, typer.Option("--exit-code", help="Exit with 11 if there is a difference.")
]
_Sides = tuple["RuntimeConfig", "RuntimeConfig", tuple[str, str]]


EXAMPLES = {
    "mlm config diff qwen3-8b": "What differs from what mlm would choose now",
    "mlm config diff qwen3-8b --previous": "What the last change was",
    "mlm config diff qwen3-8b --exit-code": "Let a script know: 11 if anything differs",
}


@takes_overrides
def diff(
    ctx: typer.Context,
    ref: RefArg,
    previous: PreviousOpt = False,
    exit_code: ExitCodeOpt = False,
    profile: ProfileOpt = None,
    users: UsersOpt = None,
    as_json: JsonOpt = False,
    *,
    overrides: Overrides,
) -> None:
    """Show how a model's config differs from what would be generated now, with the reasons.

    What was asked for when it was made is asked for again; options add to that. So what is shown
    was edited by hand, or follows from a machine or an mlm that has changed.
    """
    from mlm.cli.config._kept import find_kept

    kept = find_kept(session(ctx), ref)
    kept.need_file(ref)
    if previous:
        if (profile, users, overrides) != (None, None, Overrides()):
            raise UsageError("--previous compares with what was kept: nothing can be asked of that")
        sides = _previous(kept)
    else:
        sides = _planned(session(ctx), ref, kept, (profile, users, overrides))
    before, after, names = sides
    changes = _changes(before, after)
    text = _unified(before, after, kept.model_id, names)
    if as_json:
        payload = {"model": kept.model_id, "path": str(kept.path), "changes": changes, "diff": text}
        print_document("config.diff", payload)
    elif changes:
        print_text(text.rstrip("\n"))
    else:
        session(ctx).note("no difference")
    if changes and exit_code:
        raise typer.Exit(GateFailedError.exit_code)


def _previous(kept: "Kept") -> _Sides:
    """Return the version before and the one that is kept now."""
    from mlm.planning.config_file import read_config
    from mlm.planning.config_versions import list_versions

    versions = list_versions(kept.path)
    if not versions:
        raise NotFoundError(
            f"no earlier config of {kept.model_id} is kept",
            remedy=f"mlm config diff {kept.model_id}",
        )
    names = (str(versions[0].path), str(kept.path))
    return read_config(versions[0].path), read_config(kept.path), names


def _planned(
    run: Session,
    ref: str,
    kept: "Kept",
    typed: "tuple[ProfileName | None, int | None, Overrides]",
) -> _Sides:
    """Return the config that is kept and the one that would be generated now."""
    from dataclasses import asdict, replace

    from mlm.cli._machine import planned_machine
    from mlm.cli._model import find_subject
    from mlm.cli.config._wishes import choose_profile
    from mlm.planning.config_file import read_config
    from mlm.planning.reasons import read_wishes
    from mlm.planning.runtime import plan_runtime

    profile, users, overrides = typed
    before = read_config(kept.path)
    asked, asked_users = read_wishes(before)
    typed_now = {name: value for name, value in asdict(overrides).items() if value is not None}
    wished = choose_profile(profile or before.profile, users or asked_users)
    machine = planned_machine(run)
    subject = find_subject(run, ref, machine)
    after = plan_runtime(subject.shape, machine, replace(asked, **typed_now), wished)
    return before, after, (str(kept.path), "as it would be generated now")


def _changes(before: "RuntimeConfig", after: "RuntimeConfig") -> list[dict[str, Any]]:
    from mlm.planning.config_file import config_fields

    old, new = config_fields(before), config_fields(after)
    return [
        {
            "key": key,
            "before": old[key],
            "after": new[key],
            "reason_before": before.reasons.get(key),
            "reason_after": after.reasons.get(key),
        }
        for key in old
        if old[key] != new[key]
    ]


def _unified(
    before: "RuntimeConfig", after: "RuntimeConfig", model_id: str, names: tuple[str, str]
) -> str:
    """Return the difference as a patch. A reason alone is none: it may name free memory."""
    from dataclasses import replace
    from difflib import unified_diff

    from mlm.planning.config_file import config_fields, format_config

    old, new = config_fields(before), config_fields(after)
    same = {key: before.reasons.get(key, "") for key in old if old[key] == new[key]}
    after = replace(after, reasons={**after.reasons, **same})
    left, right = (
        format_config(side, model_id).splitlines(keepends=True) for side in (before, after)
    )
    return "".join(unified_diff(left, right, *names, n=1))
