"""The offline tour: a model's whole life as real commands, run one after the other.

Every command is a process of its own, in a house of its own: MLM_HOME and the Hugging Face cache
are in a temporary folder, the model comes from the hub in this package, and nothing uses a network.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

from mlm.engine.extra import require_engine
from mlm.errors import EngineError, ExitCode, MlmError

_STOP_S = 25.0  # longer than a server takes to let go of everything
_CHUNK_BYTES = 64 * 1024
_LAST_WORD_OF_SERVE = b"Ready"


@dataclass(frozen=True, slots=True)
class Step:
    """One command of the tour. ``why`` is what a guide would say before typing it."""

    why: str
    words: tuple[str, ...]
    needs_engine: bool = False
    in_background: bool = False

    @property
    def typed(self) -> str:
        """The command as a person would type it."""
        words = [f'"{word}"' if " " in word else word for word in ("mlm", *self.words)]
        return " ".join([*words, "&"] if self.in_background else words)


STEPS = (
    Step("What is this machine made of?", ("hardware",)),
    Step("Which models would run well on it?", ("recommend", "--top", "3")),
    Step("What would the tiny demo model need? (Nothing is downloaded yet.)", ("plan", "mlm-demo")),
    Step("Fetch it from a hub inside mlm, over real HTTP.", ("download", "mlm-demo")),
    Step("Is every byte what it should be?", ("verify", "mlm-demo")),
    Step("Choose settings for this machine …", ("config", "generate", "mlm-demo")),
    Step("… each with its reason.", ("config", "show", "mlm-demo")),
    Step(
        "Serve it to any program that speaks the OpenAI API.",
        ("serve", "mlm-demo", "--port", "0"),
        needs_engine=True,
        in_background=True,
    ),
    Step(
        "Ask it something; temperature 0 takes the likeliest words.",
        ("run", "mlm-demo", "--temperature", "0", "What is mlm?"),
        needs_engine=True,
    ),
    Step("How did it do?", ("stats",), needs_engine=True),
    Step("Enough.", ("stop",), needs_engine=True),
)


class StepFailed(MlmError):
    """A command of the tour did not end well; the tour ends with its exit code."""

    code = "tour_step_failed"

    def __init__(self, step: Step, number: int, exit_code: int) -> None:
        super().__init__(
            f"step {number} of the tour failed: {step.typed} ended with exit code {exit_code}",
            remedy="mlm doctor",
        )
        known = exit_code in list(ExitCode)
        self.exit_code = ExitCode(exit_code) if known else EngineError.exit_code


def take_tour(announce: Callable[[int, Step], None], steps: tuple[Step, ...] = STEPS) -> None:
    """Run ``steps`` in a temporary house; ``announce`` is called before each, from 1 on.

    Whatever happens, also Ctrl-C or SIGTERM, the server is stopped and the house removed.

    Raises:
        StepFailed: a command failed, and has said why.
        EngineMissing: the steps that are left need the engine.
        KeyboardInterrupt: Ctrl-C or SIGTERM.
    """
    with _House() as house:
        for number, step in enumerate(steps, start=1):
            if step.needs_engine:
                require_engine()
            announce(number, step)
            exit_code = house.start(step) if step.in_background else house.run(step)
            if exit_code:
                raise StepFailed(step, number, exit_code)


class _House:
    """A temporary MLM_HOME and Hugging Face cache, and the commands that run in it.

    A signal ends the running commands first and is raised only then: were it raised at once, it
    could strike between the start of a process and the note that it has to be ended.
    """

    def __init__(self) -> None:
        self._processes: list[subprocess.Popen[bytes]] = []
        self._interrupted = False

    def __enter__(self) -> "_House":
        signals = (signal.SIGINT, signal.SIGTERM)
        self._handlers = {number: signal.signal(number, self._interrupt) for number in signals}
        self._folder = TemporaryDirectory(prefix="mlm-demo-")
        self._environment = _environment(Path(self._folder.name))
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            _end(process)
        self._folder.cleanup()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def run(self, step: Step) -> int:
        """Run a command to its end, on our own terminal; returns its exit code."""
        process = self._open(step, output=None)
        process.wait()
        return self._exit_code(process)

    def start(self, step: Step) -> int:
        """Start a server and show what it prints until it is ready; returns 0, or its exit code."""
        process = self._open(step, output=subprocess.PIPE)
        assert process.stdout is not None
        printed = b""
        while chunk := os.read(process.stdout.fileno(), _CHUNK_BYTES):
            printed += chunk
            sys.stdout.write(chunk.decode("utf-8", "replace"))
            sys.stdout.flush()
            if _LAST_WORD_OF_SERVE in printed and printed.endswith(b"\n"):
                return 0
        process.wait()
        return self._exit_code(process)

    def _open(self, step: Step, output: int | None) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(
            [sys.executable, "-m", "mlm", *step.words],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT if output else None,
        )
        self._processes.append(process)
        if self._interrupted:  # while it was being started
            process.terminate()
        return process

    def _exit_code(self, process: "subprocess.Popen[bytes]") -> int:
        if self._interrupted:
            raise KeyboardInterrupt
        return process.returncode

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        for process in self._processes:
            if self._interrupted:  # for the second time: no more patience
                process.kill()
            else:
                process.terminate()
        self._interrupted = True


def _environment(house: Path, outside: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the environment of the tour: nothing of the user's mlm or hub, and no network."""
    ours = ("MLM_", "HF_", "HUGGING")
    kept = {name: value for name, value in outside.items() if not name.upper().startswith(ours)}
    return kept | {
        "MLM_HOME": str(house / "mlm"),
        "HF_HOME": str(house / "hf"),
        "MLM_OFFLINE": "1",
        "NO_PROXY": "127.0.0.1,localhost",
    }


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Ask ``process`` to stop, and insist if it does not."""
    process.terminate()
    try:
        process.communicate(timeout=_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
