"""Gathers what is known of a model when somebody asks why it is slow."""

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from statistics import median
from typing import TYPE_CHECKING, Any

from mlm.errors import MlmError
from mlm.planning.evidence import Engine, Evidence, Live, Measured

if TYPE_CHECKING:
    from mlm.cli._model import Subject
    from mlm.cli._session import Session
    from mlm.cli._why_quant import Choice
    from mlm.hardware.types import Hardware
    from mlm.planning.types import RuntimeConfig
    from mlm.server.registry import RunningServer
    from mlm.stats.types import Observation

_LATEST = 9  # observations of a speed: the median of so many is of now and yet no accident
_PATIENCE_S = 3.0


@dataclass(frozen=True, slots=True)
class Resident:
    """A model in the memory of a running server."""

    live: Live
    config: Mapping[str, Any]  # as the server tells it
    memory_by_device: Mapping[str, int]
    answers: Mapping[str, Any]  # the model's part of ``mlm.stats/1``


def find_resident(session: "Session", subject: "Subject") -> Resident | None:
    """Return the running server that has the model in memory, and what it says of it."""
    from mlm.server.registry import Registry

    path = str(subject.file.path) if subject.file else None
    registry = Registry(session.settings.home.run)
    for server in registry.servers():
        ids = {subject.model_id, *(name for name, at in server.models.items() if at == path)}
        # One of another version may say things that nobody here understands.
        with suppress(TypeError, ValueError, AttributeError, KeyError):
            held, answers = _ask(server, registry.key_of(server.pid))
            for model in held:
                if model["model"] in ids and model["state"] == "ready":
                    return _read_resident(server.url, model, answers)
    return None


def _ask(server: "RunningServer", key: str | None) -> tuple[list[Any], list[Any]]:
    """Return the models in memory and what their answers took; as announced, if it is silent."""
    from mlm.client import Client

    with suppress(MlmError), Client(server.url, key, silence_s=_PATIENCE_S) as client:
        document = client.stats()
        return list(document["resident"]), list(document["models"])
    return list(server.resident), []


def _read_resident(url: str, model: Mapping[str, Any], answers: list[Any]) -> Resident:
    own: Mapping[str, Any] = next((row for row in answers if row["model"] == model["model"]), {})
    active, waiting = int(model.get("active", 0)), int(model.get("waiting", 0))
    tps = own.get("decode_tps")
    return Resident(
        Live(url, int(model["pid"]), active, waiting, None if tps is None else float(tps)),
        config=dict(model.get("config", {})),
        memory_by_device={k: int(v) for k, v in dict(model.get("memory_by_device", {})).items()},
        answers=own,
    )


def without(hardware: "Hardware", resident: Resident | None) -> "Hardware":
    """Return the machine as it would be if the model were not in memory."""
    if resident is None:
        return hardware
    held, memory = resident.memory_by_device, hardware.memory
    usable = min(memory.usable + held.get("cpu", 0), memory.limit or memory.total)
    cards = [
        replace(card, memory_free=card.memory_free + held.get(f"{card.kind}{card.index}", 0))
        if card.memory_free is not None
        else card
        for card in hardware.accelerators
    ]
    return replace(hardware, memory=replace(memory, usable=usable), accelerators=tuple(cards))


def gather(
    session: "Session",
    subject: "Subject",
    hardware: "Hardware",
    resident: Resident | None,
    choice: "Choice | None",
) -> Evidence:
    """Return everything that can be found out about ``subject`` on this machine."""
    from mlm.hardware.page_cache import read_resident_share
    from mlm.hardware.strain import read_gpu_strain, read_strain
    from mlm.planning.speed import TYPICAL_TOKENS, predict_speed
    from mlm.stats.ledger import read_ledger
    from mlm.stats.types import variant_name

    observations = read_ledger(session.settings.home.ledger_db, hardware.fingerprint)
    names = {subject.model_id, variant_name(subject.model_id, subject.shape.quant)}
    measured = find_measured(observations, names) or _from_answers(resident)
    config = _config_of(session, subject, hardware, resident)
    n_past = measured.n_past if measured is not None else TYPICAL_TOKENS
    evidence = Evidence(
        subject.file.ref if subject.file else subject.ref,
        subject.shape,
        config,
        hardware,
        predict_speed(subject.shape, config, hardware, n_past=n_past),
        measured=measured,
        live=resident.live if resident else None,
        smaller=choice.smaller() if choice else None,
    )
    if subject.file is None:
        return evidence  # it is not here: what this machine does now says nothing of it
    strain = read_strain(resident.live.pid if resident else None)
    if hardware.accelerators:
        strain = replace(strain, gpus=read_gpu_strain())
    return replace(
        evidence,
        path=str(subject.file.path),
        strain=strain,
        engine=_find_engine(),
        resident_share=read_resident_share(subject.file.path),
    )


def find_measured(observations: "list[Observation]", names: set[str]) -> Measured | None:
    """Return the speed of the last answers of a model, by whichever of its names it was served."""
    own = [one for one in observations if not names.isdisjoint((one.model, one.variant))]
    decode = [one for one in own if one.quantity == "decode_tps"][-_LATEST:]
    prefill = [one for one in own if one.quantity == "prefill_tps"][-_LATEST:]
    if not decode:
        return None
    return Measured(
        decode_tps=median(one.actual for one in decode),
        prefill_tps=median(one.actual for one in prefill) if prefill else None,
        n=len(decode),
        age_s=time.time() - decode[-1].at,
        n_past=round(median(one.n_past or 0 for one in decode)),
    )


def _from_answers(resident: Resident | None) -> Measured | None:
    """Return the speed of the answers that a server has counted, short ones too."""
    answers = resident.answers if resident else {}
    try:
        n, tps = int(answers["requests"]), float(answers["decode_tps"])
        n_past = round((answers["prompt_tokens"] + answers["completion_tokens"] / 2) / n)
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None  # it has not answered yet
    return Measured(tps, None, n, 0.0, n_past)


def _config_of(
    session: "Session", subject: "Subject", hardware: "Hardware", resident: Resident | None
) -> "RuntimeConfig":
    """Return the config that the model runs with, or would run with."""
    from mlm.cli._runtime_config import choose_config
    from mlm.planning.config_file import config_path
    from mlm.planning.overrides import Overrides

    path = config_path(session.settings.home.config, subject.model_id)
    config = choose_config(path, subject.shape, hardware, Overrides())
    running = resident.config if resident else {}
    known: dict[str, Any] = {
        field.name: running[field.name]
        for field in fields(config)
        if field.name in running and type(running[field.name]) is type(getattr(config, field.name))
    }
    return replace(config, **known)


def _find_engine() -> Engine | None:
    from mlm.engine.build import describe_build

    try:
        build = describe_build()
    except MlmError:  # `mlm doctor` says what is wrong with it
        return None
    return Engine(build.cpu_features, build.can_offload, build.amx == "miscompiled")
