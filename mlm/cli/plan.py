"""``mlm plan``: what a model will need and how fast it will be, before it is downloaded."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import typer

from mlm.cli._options import HardwareOpt, JsonOpt, MemoryOpt, RefArg
from mlm.cli._overrides import takes_overrides
from mlm.cli._session import print_document, print_text, session
from mlm.planning.overrides import Overrides

if TYPE_CHECKING:
    from mlm.cli._model import KnownProjector, Subject
    from mlm.planning.types import MemoryPlan, RuntimeConfig, SpeedInterval


EXAMPLES = {
    "mlm plan qwen3-8b": "What it needs here, and how fast it will be",
    "mlm plan qwen3-8b:Q8_0 --ctx 16384 --parallel 4": (
        "For four requests at a time, of 16384 tokens each"
    ),
    "mlm plan qwen3-8b --hardware rtx-4090": "On another machine",
    "mlm plan bartowski/Qwen_Qwen3-8B-GGUF:Q4_K_M": "A model of the hub that is not in the catalog",
}


@takes_overrides
def plan(
    ctx: typer.Context,
    ref: RefArg,
    memory: MemoryOpt = None,
    hardware: HardwareOpt = None,
    as_json: JsonOpt = False,
    *,
    overrides: Overrides,
) -> None:
    """Say what a model will need: disk, memory per device, speed.

    It need not be downloaded: the header of the file is read from the hub. Exits with 4 if the
    model does not fit.
    """
    from mlm.cli._experience import read_calibration
    from mlm.cli._machine import planned_machine
    from mlm.cli._model import find_subject
    from mlm.cli._rehearsed import plan_subject
    from mlm.cli._runtime_config import choose_config
    from mlm.cli._waiting import waiting_for
    from mlm.errors import DoesNotFitError
    from mlm.planning.config_file import config_path
    from mlm.planning.speed import predict_speed

    machine = planned_machine(session(ctx), hardware, memory)
    subject = find_subject(session(ctx), ref, machine)
    path = config_path(session(ctx).settings.home.config, subject.model_id)
    config = choose_config(path, subject.shape, machine, overrides)
    if path.exists():
        session(ctx).note(f"as {path} has it")
    with waiting_for(session(ctx), "asking llama.cpp what it would take"):
        planned = plan_subject(subject, config, machine)
    known = read_calibration(session(ctx), machine)
    speeds = predict_speed(
        subject.shape, config, machine, calibration=known, model=subject.model_id
    )
    if subject.projector is not None and not subject.projector.counted:
        reasons = (*planned.reasons, _about(subject.projector, subject.ref))
        planned = replace(planned, reasons=reasons)
    if as_json:
        document = _document(subject, config, planned, speeds)
        print_document("plan", {**document, "mmproj": _projector_fields(subject, config)})
    else:
        print_text(_text(subject, config, planned, speeds))
    if planned.verdict == "does_not_fit":
        if not as_json:
            session(ctx).note("hint: mlm recommend")
        raise typer.Exit(DoesNotFitError.exit_code)


def _about(projector: "KnownProjector", ref: str) -> str:
    from mlm.units import format_size

    size = format_size(projector.size_bytes)
    return f"to see, it would need its projector of {size}, which is not here: mlm download {ref}"


def _projector_fields(subject: "Subject", config: "RuntimeConfig") -> dict[str, Any] | None:
    projector = subject.projector
    if projector is None:
        return None
    return {
        "filename": projector.filename,
        "size_bytes": projector.size_bytes,
        "size_exact": projector.size_exact,
        "loaded": projector.counted and config.sees,
    }


def _document(
    subject: "Subject",
    config: "RuntimeConfig",
    planned: "MemoryPlan",
    speeds: "tuple[SpeedInterval, SpeedInterval]",
) -> dict[str, Any]:
    from mlm.cli._planned import context_fields, device_fields, interval_fields

    decode, prefill = speeds
    return {
        "ref": subject.ref,
        "grade": planned.grade,
        "architecture": subject.shape.architecture,
        "quant": subject.shape.quant,
        "origin": subject.origin,
        "context": context_fields(config),
        "n_ctx_slot": config.n_ctx_slot,
        "n_gpu_layers": config.n_gpu_layers,
        "n_cpu_moe": config.n_cpu_moe,
        "use_mmap": config.use_mmap,
        "disk_bytes": subject.shape.disk_bytes,
        "devices": [device_fields(device) for device in planned.devices],
        "decode_tps": interval_fields(decode),
        "prefill_tps": interval_fields(prefill),
        "verdict": planned.verdict,
        "reasons": list(planned.reasons),
    }


def _text(
    subject: "Subject",
    config: "RuntimeConfig",
    planned: "MemoryPlan",
    speeds: "tuple[SpeedInterval, SpeedInterval]",
) -> str:
    from mlm.cli._columns import align, wrap
    from mlm.cli._plan_text import VERDICTS, device_rows
    from mlm.planning.reasons import describe_slots
    from mlm.units import format_size

    shape = subject.shape
    decode, prefill = speeds
    cache = config.type_k if config.type_k == config.type_v else f"{config.type_k}/{config.type_v}"
    facts = [
        ("model", f"{shape.architecture}, {shape.quant or 'mixed types'}, {shape.n_layer} layers"),
        ("known from", f"{subject.origin}, so memory is {planned.grade}"),
        ("disk", format_size(shape.disk_bytes)),
        ("context", f"{describe_slots(config)}, cache {cache}"),
        ("GPU layers", f"{config.n_gpu_layers} of {shape.n_layer + 1}"),
        ("decode", _speed(decode)),
        ("prefill", _speed(prefill)),
    ]
    devices = device_rows(planned.devices)
    right = range(1, len(devices[0]))
    verdict = [f"{subject.ref} {VERDICTS[planned.verdict]}"]
    verdict += [wrap(reason, indent="- ") for reason in planned.reasons]
    return "\n".join([align(facts), "", align(devices, right=tuple(right)), "", *verdict])


def _speed(speed: "SpeedInterval") -> str:
    return f"{speed.low:.0f} to {speed.high:.0f} tokens/s, about {speed.mid:.0f}"
