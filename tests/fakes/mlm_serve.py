"""The real `mlm serve` on the demo model, in a process of its own."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fakes.processes import end_server

import mlm.demo

DEMO_MODEL = Path(mlm.demo.__file__).parent / "mlm-demo.gguf"


class MlmServe:
    """A running `mlm serve --json`."""

    def __init__(self, process: subprocess.Popen[str], home: Path) -> None:
        self.process, self.home = process, home
        self.url = str(self.wait_for("listening")["url"])

    def wait_for(self, kind: str) -> dict[str, Any]:
        """Return the next event of a kind."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if (event := json.loads(line))["event"] == kind:
                return dict(event)
        raise AssertionError(f"no {kind}: {(self.home / 'stderr').read_text()}")

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        self.process.communicate(timeout=30)
        return self.process.returncode


@contextmanager
def mlm_serve(home: Path, *words: str) -> Iterator[MlmServe]:
    """Run `mlm serve WORDS --port 0` until the block ends; the demo model by default."""
    home.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "mlm", "--home", str(home), "serve", "--json", "--port", "0"]
    with (home / "stderr").open("a") as stderr:
        process = subprocess.Popen(
            [*command, *(words or (str(DEMO_MODEL), "--threads", "1"))],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env=os.environ | {"GGML_NO_BACKTRACE": "1"},
        )
    try:
        yield MlmServe(process, home)
    finally:
        end_server(process)
