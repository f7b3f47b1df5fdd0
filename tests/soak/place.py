"""A running server that is to survive, and what can be seen of it from outside."""

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from fakes.fake_server import serving
from fakes.mlm_serve import DEMO_MODEL, mlm_serve

from mlm.engine.spawn import PARENT_VARIABLE
from mlm.units import MIB
from soak.asker import Answer, Asker

Figures = dict[str, float]
REST_S = 10.0  # within which a server that nobody asks anything must be idle
_LOOK_S = 0.01


@dataclass(frozen=True, slots=True)
class Weight:
    """What a process takes."""

    rss_bytes: int
    fds: int
    threads: int

    @property
    def rss_mib(self) -> float:
        """Its main memory."""
        return self.rss_bytes / MIB


@dataclass(frozen=True, slots=True)
class Place:
    """One server. ``is_real``: with llama.cpp and the demo model, not with fake workers."""

    process: psutil.Process
    port: int
    asker: Asker
    wait_loaded: Callable[[], object]  # until what it was started with is loaded
    kill: Callable[[], object]  # as `kill -9`; returns when it is gone
    is_real: bool

    def weigh(self) -> Weight:
        """Return what the gateway takes now."""
        with self.process.oneshot():
            rss = int(self.process.memory_info().rss)
            return Weight(rss, self.process.num_fds(), self.process.num_threads())

    def workers(self) -> set[int]:
        """Return the process ids of its workers, also of one that is just being started."""
        return {child.pid for child in self.process.children()}

    async def stats(self) -> dict[str, Any]:
        """Return ``/admin/stats``."""
        answer = await self.asker.get("/admin/stats")
        assert answer.status == 200, answer
        return dict(answer.document)

    async def order(self, what: str, model: str) -> Answer:
        """Have a model loaded, unloaded or pinned."""
        return await self.asker.post(f"/admin/{what}", {"model": model})

    async def busy(self) -> int:
        """Return how many requests run or wait, once it has had time to come to rest."""
        deadline = time.monotonic() + REST_S
        while n := sum(r["active"] + r["waiting"] for r in (await self.stats())["resident"]):
            if time.monotonic() > deadline:
                return int(n)
            await asyncio.sleep(_LOOK_S * 10)
        return 0


@contextmanager
def with_fakes(folder: Path, models: dict[str, dict[str, Any]], **options: Any) -> Iterator[Place]:
    """Serve fake workers until the block ends; see `fakes.fake_server.serving`."""
    with serving(folder, models, **options) as server:

        def kill() -> None:
            server.process.kill()
            server.wait()

        yield Place(
            process=psutil.Process(server.process.pid),
            port=server.port,
            asker=Asker(server.port),
            wait_loaded=lambda: server.wait_for("Loaded"),
            kill=kill,
            is_real=False,
        )


@contextmanager
def with_demos(folder: Path, names: list[str], *words: str) -> Iterator[Place]:
    """Run `mlm serve` with so many models, all copies of the demo model, until the block ends."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{name}.gguf" for name in names]
    for file in files:
        if not file.exists():
            file.write_bytes(DEMO_MODEL.read_bytes())
    with mlm_serve(folder / "home", *map(str, files), "--threads", "1", *words) as server:
        loaded = threading.Event()

        def listen() -> None:
            """Read what it tells to the end: a pipe that is full would hold it up."""
            with suppress(AssertionError, ValueError):  # it has ended
                server.wait_for("loaded")
                loaded.set()
                server.wait_for("the end")

        threading.Thread(target=listen, daemon=True).start()

        def wait_loaded() -> None:
            assert loaded.wait(60), "nothing is loaded"

        def kill() -> None:
            server.process.kill()
            server.process.wait()

        port = int(server.url.rsplit(":", 1)[1])
        yield Place(
            process=psutil.Process(server.process.pid),
            port=port,
            asker=Asker(port),
            wait_loaded=wait_loaded,
            kill=kill,
            is_real=True,
        )


async def until(happened: Callable[[], Any], patience_s: float = REST_S) -> bool:
    """Wait until something has happened; return whether it has."""
    deadline = time.monotonic() + patience_s
    while not happened():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(_LOOK_S)
    return True


def workers_of(gateways: set[int]) -> list[int]:
    """Return the workers that these have started and that still run, whoever is their parent."""
    started_by, found = {str(pid) for pid in gateways}, []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            parent = process.environ().get(PARENT_VARIABLE)
            if parent in started_by and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return found


def end(pid: int, number: int) -> None:
    """Send a process a signal, if it is still there."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)
