"""What llama.cpp itself says that loading a model would take, asked in a child process."""

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import msgspec

from mlm.engine.messages import WorkerConfig
from mlm.engine.spawn import PARENT_VARIABLE, describe_exit, scrub_environment
from mlm.errors import EngineError
from mlm.planning.types import ContextBuffers

# Real headers take about a second, of which half is Python; a Raspberry Pi needs five.
TIME_LIMIT_S = 20.0
_PREFIXES = re.compile(r"^(llama_\w+: |error loading model: |failed to initialize the context: )*")
_COMMAND = (sys.executable, "-P", "-m", "mlm.engine.rehearse")


class RehearsalFailed(EngineError):
    """llama.cpp does not tell, because it refuses the model or does not survive its header."""

    code = "rehearsal_failed"


class _Answer(msgspec.Struct, frozen=True):
    """What `mlm.engine.rehearse` prints."""

    refusal: str | None = None
    kv_cache: int = 0
    compute: dict[str, int] = {}
    output: int = 0


def rehearse_load(
    path: Path, config: WorkerConfig, *, time_limit_s: float = TIME_LIMIT_S
) -> ContextBuffers:
    """Return the buffers of a context for the model ``path``, of which only headers are read.

    Raises:
        RehearsalFailed: there will be no such context; the message says why.
    """
    words = (str(path.absolute()), msgspec.json.encode(config).decode())
    environment = scrub_environment(os.environ)
    if threading.current_thread() is threading.main_thread():
        environment[PARENT_VARIABLE] = str(os.getpid())
    try:
        child = subprocess.run(
            [*_COMMAND, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            timeout=time_limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise RehearsalFailed(
            f"llama.cpp takes more than {time_limit_s:g} s over the header"
        ) from None
    if child.returncode != 0:
        raise RehearsalFailed(
            f"llama.cpp stumbles over the header, {describe_exit(child.returncode)}"
        )
    try:
        answer = msgspec.json.decode(child.stdout, type=_Answer)
    except msgspec.DecodeError as error:
        raise RehearsalFailed(f"llama.cpp gives no answer: {error}") from error
    if answer.refusal is not None:
        raise RehearsalFailed(f"llama.cpp refuses it ({_PREFIXES.sub('', answer.refusal)})")
    return ContextBuffers(answer.kv_cache, answer.compute, answer.output)
