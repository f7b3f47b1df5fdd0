"""The engine that is installed: what it is, and whether it works. Asked in a child process."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mlm.engine.amx import AmxState
from mlm.engine.extra import require_engine
from mlm.engine.spawn import describe_exit, scrub_environment
from mlm.errors import EngineError
from mlm.hardware.types import Accelerator
from mlm.units import format_size

INSTALL = "mlm engine install"
_LOAD_TIMEOUT_S = 60
_TRIAL_TIMEOUT_S = 300  # a GPU that was not compiled for compiles its kernels the first time
_ALL_LAYERS = 9999
Status = Literal["ok", "warn", "fail"]


class BrokenEngine(EngineError):
    """An engine is installed, but it does not load or does not compute rightly."""

    code = "engine_broken"

    def __init__(self, why: str, remedy: str = INSTALL) -> None:
        super().__init__(f"the engine is installed, but {why}", remedy=remedy)


@dataclass(frozen=True, slots=True)
class Device:
    """Something that the build can compute on, now. Memory is bytes, None where unknown."""

    name: str
    description: str
    kind: str  # cpu, gpu, igpu, accelerator, other
    memory_total: int | None
    memory_free: int | None


@dataclass(frozen=True, slots=True)
class EngineBuild:
    """The build of llama.cpp inside the installed llama-cpp-python."""

    version: str  # of llama-cpp-python
    folder: Path
    ggml: str | None  # version and commit
    compiler: str | None
    cpu_features: tuple[str, ...]  # compiled in
    backends: tuple[str, ...]  # cpu, cuda, metal, vulkan, rocm …
    devices: tuple[Device, ...]
    can_offload: bool
    amx: AmxState

    @property
    def gpus(self) -> tuple[Device, ...]:
        """The devices that models can be offloaded to."""
        return tuple(device for device in self.devices if device.kind in ("gpu", "igpu"))


@dataclass(frozen=True, slots=True)
class Question:
    """A model, something to ask it, and what its answer has to contain."""

    model: Path
    text: str
    expected: str


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was tried."""

    name: str  # load, answer, offload, amx
    status: Status
    detail: str
    fix: str | None = None


def describe_build(path: Path | None = None) -> EngineBuild:
    """Return what the installed build is, or that in the folder ``path`` for which it is not yet.

    Raises:
        EngineMissing: none is installed.
        BrokenEngine: it does not load.
    """
    if path is None:
        require_engine()
    return _parse(_ask((), path, _LOAD_TIMEOUT_S))


def check_build(
    build: EngineBuild, question: Question, path: Path | None = None
) -> Iterator[Check]:
    """Yield what comes of running a model with ``build``, on the CPU and on its GPUs."""
    yield Check("load", "ok", f"llama-cpp-python {build.version}, ggml {build.ggml or '?'}")
    if build.amx == "miscompiled":
        yield Check(
            "amx",
            "warn",
            f"{build.compiler} compiles AMX wrongly (GCC bug 114098); it is not used",
            fix="install GCC 12.4, 13.3 or newer, then mlm engine install",
        )
    yield _try(build, question, 0, path)
    if build.gpus:
        yield _try(build, question, _ALL_LAYERS, path)


def judge_gpus(build: EngineBuild, accelerators: Sequence[Accelerator]) -> Check:
    """Return whether ``build`` makes use of the GPUs that the machine has."""
    seen = ", ".join(f"{gpu.name} ({format_size(gpu.memory_total)})" for gpu in accelerators)
    if not accelerators:
        return Check("gpu", "ok", "none seen; models run on the CPU")
    if build.gpus:
        return Check("gpu", "ok", f"{seen}; the engine can use it")
    if build.can_offload:
        has = "/".join(name for name in build.backends if name != "cpu")
        why = f"{seen}; the engine is built for {has}, but finds no device"
        return Check("gpu", "warn", why, fix=f"check the driver, or {INSTALL}")
    why = f"{seen}; the engine was built without GPU support, so models run on the CPU"
    return Check("gpu", "warn", why, fix=INSTALL)


def require_working(question: Question) -> EngineBuild:
    """Return the installed build if it works.

    Raises:
        EngineMissing: none is installed.
        BrokenEngine: it does not load, or answers wrongly.
    """
    build = describe_build()
    require_passed(check_build(build, question))
    return build


def require_passed(checks: Iterator[Check]) -> None:
    """Run the checks and return if none fails.

    Raises:
        BrokenEngine: one does.
    """
    for check in checks:
        if check.status == "fail":
            raise BrokenEngine(check.detail, check.fix or INSTALL)


def _try(build: EngineBuild, question: Question, n_gpu_layers: int, path: Path | None) -> Check:
    """Let the model answer and compare."""
    name = "offload" if n_gpu_layers else "answer"
    where = ", ".join(gpu.description for gpu in build.gpus) if n_gpu_layers else "the CPU"
    words = (str(question.model), str(n_gpu_layers), question.text)
    try:
        trial = _ask(words, path, _TRIAL_TIMEOUT_S)["trial"]
    except BrokenEngine as error:
        why = error.message.removeprefix("the engine is installed, but ")
        return Check(name, "fail", f"a model on {where}: {why}", fix=_other_build(name))
    if question.expected.lower() not in trial["answer"].lower():
        return Check(
            name, "fail", f"a model on {where} answers wrongly: {trial['answer'][:80]!r}",
            fix=_other_build(name),
        )  # fmt: skip
    if n_gpu_layers and not trial["device_bytes"]:
        return Check(name, "fail", f"no memory of {where} was taken", fix=_other_build(name))
    return Check(name, "ok", f"a model on {where} answers as it should")


def _other_build(name: str) -> str:
    return f"{INSTALL} --backend cpu" if name == "offload" else INSTALL


def _ask(words: tuple[str, ...], path: Path | None, timeout_s: float) -> dict[str, Any]:
    """Return what `mlm.engine.examine` prints; ``path`` goes before everything installed."""
    command = [sys.executable, "-P", "-m", "mlm.engine.examine", *words]
    try:
        child = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            env=_environment(os.environ, path),
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise BrokenEngine(f"it takes more than {timeout_s} s") from None
    if child.returncode != 0:
        raise BrokenEngine(f"it does not load: {_last_words(child)}")
    try:
        return dict(json.loads(child.stdout.splitlines()[-1]))
    except (ValueError, IndexError):
        raise BrokenEngine(f"it prints {child.stdout[-80:]!r} instead of an answer") from None


def _environment(environ: Mapping[str, str], path: Path | None) -> dict[str, str]:
    kept = scrub_environment(environ)
    if path is not None:
        kept["PYTHONPATH"] = os.pathsep.join(filter(None, (str(path), kept.get("PYTHONPATH"))))
    return kept


def _last_words(child: "subprocess.CompletedProcess[str]") -> str:
    said = [line.strip() for line in child.stderr.splitlines() if line.strip()]
    if child.returncode < 0 or not said:
        return describe_exit(child.returncode)
    return said[-1]


def _parse(facts: Mapping[str, Any]) -> EngineBuild:
    return EngineBuild(
        version=facts["version"],
        folder=Path(facts["folder"]),
        ggml=facts["ggml"],
        compiler=facts["compiler"],
        cpu_features=tuple(facts["cpu_features"]),
        backends=tuple(facts["backends"]),
        devices=tuple(Device(**device) for device in facts["devices"]),
        can_offload=facts["can_offload"],
        amx=facts["amx"],
    )
