"""The memory plan of a model in the best grade that can be had here."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

from mlm.errors import EngineError

if TYPE_CHECKING:
    from pathlib import Path

    from mlm.cli._model import Subject
    from mlm.hardware.types import Hardware
    from mlm.planning.types import ContextBuffers, MemoryPlan, RuntimeConfig


def plan_subject(subject: "Subject", config: "RuntimeConfig", machine: "Hardware") -> "MemoryPlan":
    """Return what ``subject`` will occupy, in llama.cpp's own figures where it can be asked.

    Where the header is here but llama.cpp has no answer, the plan says why.
    """
    from mlm.gguf.hole import HoleError
    from mlm.planning.memory import plan_memory

    shape = subject.shape
    buffers = None
    if (place := _place(subject)) is not None:
        try:
            with place as path:
                buffers = _ask(path, config)
        except (EngineError, HoleError) as error:
            shape = replace(shape, notes=(*shape.notes, f"not exact: {error}"))
    return plan_memory(shape, config, machine, buffers)


def _place(subject: "Subject") -> "AbstractContextManager[Path] | None":
    """Return the model's file, or one with its header and a hole; None if there is no header."""
    from mlm.gguf.hole import standing_in

    if subject.file is not None:
        return nullcontext(subject.file.path)
    return standing_in(subject.headers) if subject.headers else None


def _ask(path: "Path", config: "RuntimeConfig") -> "ContextBuffers":
    from mlm.engine.extra import require_engine

    require_engine()
    from mlm.engine.rehearsal import rehearse_load
    from mlm.server.model import worker_config

    return rehearse_load(path, worker_config(config))
