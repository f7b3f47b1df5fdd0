"""mlm and llama-server on the same model, laid out alike, for scripts that compare them."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlm.client import Client
from mlm.errors import MlmError

MLM = [sys.executable, "-m", "mlm"]
LOADING_S = 300.0


@dataclass(frozen=True, slots=True)
class Layout:
    """How both keep what they hold."""

    n_slots: int
    n_ctx_slot: int
    n_threads: int
    n_batch: int = 2048
    n_ubatch: int = 512
    kv_type: str = "f16"
    flash_attention: str = "on"


@contextmanager
def serving_mlm(model: Path, layout: Layout, home: Path) -> Iterator[str]:
    """Yield the address of an `mlm serve` that has loaded the model, without response cache."""
    flags = {
        "--ctx": layout.n_ctx_slot,
        "--parallel": layout.n_slots,
        "--threads": layout.n_threads,
        "--batch": layout.n_batch,
        "--ubatch": layout.n_ubatch,
        "--type-k": layout.kv_type,
        "--type-v": layout.kv_type,
        "--flash-attn": layout.flash_attention,
        "--response-cache": "off",
    }
    command = [*MLM, "--home", str(home), "serve", "--json", "--port", "0", *to_words(flags)]
    log = home / "mlm.log"
    with _running([*command, str(model)], log, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        url = ""
        for line in server.stdout:
            event = json.loads(line)
            url = event.get("url") or url
            if event.get("event") == "loaded":
                yield url
                return
        raise SystemExit(f"mlm serve ended: {log.read_text()}")


@contextmanager
def serving_llama(program: Path, model: Path, layout: Layout, home: Path) -> Iterator[str]:
    """Yield the address of a llama-server that has loaded the model.

    What the layout does not name is left as it chooses, such as its prompt cache in main memory.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    flags = {
        "--model": model,
        "--host": "127.0.0.1",
        "--port": port,
        "--ctx-size": layout.n_ctx_slot * layout.n_slots,
        "--parallel": layout.n_slots,
        "--threads": layout.n_threads,
        "--threads-batch": layout.n_threads,
        "--batch-size": layout.n_batch,
        "--ubatch-size": layout.n_ubatch,
        "--cache-type-k": layout.kv_type,
        "--cache-type-v": layout.kv_type,
        "--flash-attn": layout.flash_attention,
    }
    url, log = f"http://127.0.0.1:{port}", home / "llama-server.log"
    command = [str(program), *to_words(flags)]
    with _running(command, log, stdout=subprocess.DEVNULL) as server, Client(url) as client:
        deadline = time.monotonic() + LOADING_S
        while not _is_ready(client):
            if server.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"llama-server is not ready: {log.read_text()[-2000:]}")
            time.sleep(0.2)
        yield url


def llama_version(program: Path) -> str:
    """Return what a llama-server says of itself."""
    told = subprocess.run([str(program), "--version"], capture_output=True, text=True)
    return (told.stdout + told.stderr).strip().splitlines()[0]


def engine_version() -> str:
    """Return which build of llama.cpp mlm uses."""
    done = subprocess.run([*MLM, "engine", "check", "--json"], stdout=subprocess.PIPE, text=True)
    build = json.loads(done.stdout)["build"]
    features = " ".join(build["cpu_features"])
    return f"llama-cpp-python {build['version']}, ggml {build['ggml']} ({features})"


def to_words(flags: dict[str, Any]) -> list[str]:
    """Return flags and their values as a command line has them."""
    return [str(word) for flag in flags.items() for word in flag]


def _is_ready(client: Client) -> bool:
    with suppress(MlmError):  # 503 while it loads
        return bool(client.health())
    return False


@contextmanager
def _running(command: list[str], log: Path, stdout: int) -> Iterator["subprocess.Popen[str]"]:
    with log.open("w") as stderr:
        server = subprocess.Popen(command, stdout=stdout, stderr=stderr, text=True)
    try:
        yield server
    finally:
        server.terminate()
        server.wait()
