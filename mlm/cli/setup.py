"""``mlm setup``: from nothing to a machine that answers, in one line, as often as you like."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlm.cli._failures import Failure, exit_with
from mlm.cli._options import JsonOpt
from mlm.cli._progress import ProgressOpt, show_progress
from mlm.cli._session import Session, print_document, print_text, session
from mlm.cli._waiting import waiting_for
from mlm.errors import DoesNotFitError, EngineError, MlmError, NetworkError
from mlm.manifest.compare import machine_memory

if TYPE_CHECKING:
    from mlm.cli._syncing import Synced
    from mlm.hardware.types import Hardware
    from mlm.manifest.types import Lock, Manifest


EXAMPLES = {
    "mlm setup mlm.yaml": "Set up what a file describes",
    "mlm setup https://example.org/mlm.lock --sha256 HEX": (
        "A file from the web, if it has this checksum"
    ),
}


def setup(
    ctx: typer.Context,
    source: Annotated[
        str,
        typer.Argument(
            metavar="FILE|URL",
            help="An mlm.yaml, or the mlm.lock beside it. A URL needs --sha256.",
            show_default=False,
        ),
    ],
    sha256: Annotated[
        str | None, typer.Option("--sha256", metavar="HEX", help="Checksum of that file.")
    ] = None,
    progress: ProgressOpt = "auto",
    as_json: JsonOpt = False,
) -> None:
    """Set this machine up: hardware, engine, models, configs, and a question to each model.

    It can be interrupted anywhere and run again; what is right already is left alone.
    """
    from mlm.cli._locking import current_lock, frozen_lock
    from mlm.cli._machine import planned_machine
    from mlm.cli._origin import find_manifest
    from mlm.cli._syncing import sync_models
    from mlm.manifest.lock_file import lock_path, read_lock
    from mlm.manifest.manifest_file import read_manifest

    run = session(ctx)
    with waiting_for(run, f"reading {source}"):
        path = find_manifest(run, source, sha256)
    manifest = read_manifest(path)
    hardware = planned_machine(run)
    _require_hardware(manifest, hardware)
    old = read_lock(lock_path(manifest.path))
    engine = _require_engine(run, manifest, old, hardware)
    with show_progress(run, progress) as listener:
        if old is None:
            lock = current_lock(run, manifest, listener, dry_run=False)[0]
        else:
            lock = frozen_lock(run, manifest)
        done, failures = sync_models(run, manifest, lock, listener, dry_run=False)
    answers = _ask_each(run, manifest, done, failures)
    payload = {
        "file": str(manifest.path),
        "lock": str(lock_path(manifest.path)),
        "ok": not failures,
        "hardware": _hardware_fields(manifest, hardware),
        "engine": engine,
        "models": [_row(synced, answers) for synced in done],
        "errors": [failure.row() for failure in failures],
    }
    if as_json:
        print_document("setup", payload)
    else:
        print_text(_table(payload))
    exit_with(failures, as_json=as_json)


def _require_hardware(manifest: "Manifest", hardware: "Hardware") -> None:
    """Raise if the machine is less than the manifest demands."""
    from mlm.manifest.compare import find_unmet

    if unmet := list(find_unmet(manifest.demands, hardware)):
        raise DoesNotFitError(
            f"this machine is too small for {manifest.path.name}: {'; '.join(unmet)}",
            remedy="use a larger one, or demand less in mlm.yaml",
        )


def _require_engine(
    run: Session, manifest: "Manifest", old: "Lock | None", hardware: "Hardware"
) -> dict[str, Any]:
    """Install the engine that is wanted, unless a build of it is here that works and suits."""
    from mlm.demo.question import DEMO_QUESTION
    from mlm.engine.install import Workshop, ensure_engine
    from mlm.manifest.compare import find_engine_drift, wanted_engine
    from mlm.manifest.engine import exact_version, installed_version
    from mlm.manifest.types import Lock

    lock = old or Lock(())
    wanted = wanted_engine(manifest, lock)
    installed = installed_version()
    drift = list(find_engine_drift(manifest, lock, installed))
    if run.settings.offline and (drift or installed is None):
        raise NetworkError(
            f"{'; '.join(drift) or 'there is no engine'}, and --offline forbids to fetch one",
            remedy="mlm engine install --print shows what to run where there is a network",
        )
    version = exact_version(wanted or "")
    if not run.settings.offline:
        workshop = Workshop(run.settings.home, DEMO_QUESTION, run.note, version)
        with waiting_for(run, "making sure that the engine works"):
            installed = ensure_engine(hardware, workshop).version
    drift = list(find_engine_drift(manifest, lock, installed_version()))
    if drift:
        raise EngineError(
            "; ".join(drift), remedy=f"name one release: pip install 'llama-cpp-python{wanted}'"
        )
    return {"wanted": wanted, "installed": installed}


def _ask_each(
    run: Session, manifest: "Manifest", done: "list[Synced]", failures: list[Failure]
) -> dict[str, dict[str, Any]]:
    """Return what each model that is here says, by name; who says something wrong is a failure."""
    from mlm.cli._smoke import ask_model

    here = {synced.locked.name for synced in done}
    answers: dict[str, dict[str, Any]] = {}
    for wanted in manifest.models:
        if wanted.name not in here:
            continue
        run.note(f"asking {wanted.name}")
        try:
            answers[wanted.name] = ask_model(run, wanted)
        except MlmError as error:
            failures.append(Failure(wanted.name, error))
    return answers


def _row(synced: "Synced", answers: dict[str, dict[str, Any]]) -> dict[str, Any]:
    from mlm.cli.sync import model_row

    name = synced.locked.name
    return model_row(synced) | {"ok": name in answers, "smoke": answers.get(name)}


def _hardware_fields(manifest: "Manifest", hardware: "Hardware") -> dict[str, Any]:
    return {
        "memory_wanted": manifest.demands.memory,
        "memory": machine_memory(hardware),
        "accelerator_wanted": manifest.demands.accelerator,
        "accelerators": [accelerator.kind for accelerator in hardware.accelerators],
    }


def _table(payload: dict[str, Any]) -> str:
    from mlm.cli._columns import align
    from mlm.units import format_size

    rows = [["MODEL", "FILES", "CONFIG", "ANSWERS", "TOK/S"]]
    for model in payload["models"]:
        files = ", ".join(dict.fromkeys(file["status"] for file in model["files"]))
        speed = (model["smoke"] or {}).get("decode_tps")
        verdict = "yes" if model["ok"] else "NO"
        shown = f"{speed:.1f}" if speed else ""
        rows.append([model["model"], files, model["config"]["status"], verdict, shown])
    memory = format_size(payload["hardware"]["memory"])
    engine = payload["engine"]["installed"]
    last = "ready" if payload["ok"] else "not ready"
    head = f"{memory} of memory, llama-cpp-python {engine}, {payload['file']}"
    return "\n".join([head, align(rows, right=(4,)), last])
