"""A worker as the gateway sees it: start it, send requests, read events, notice its death.

Runs on an asyncio loop and never imports llama.cpp, so that nothing a model file does can take
the gateway down.
"""

import asyncio
import itertools
import subprocess
import time
from collections.abc import Callable, Sequence
from copy import copy
from pathlib import Path

from mlm.engine.extra import require_engine
from mlm.engine.messages import (
    Accepted,
    Alive,
    Cancel,
    Embed,
    Failed,
    Finished,
    FromWorker,
    Generate,
    Load,
    LoadFailed,
    Loading,
    Ready,
    Shutdown,
    Step,
    Tokenize,
    TokenOut,
    Tokens,
    Vectors,
    Work,
    WorkerConfig,
)
from mlm.engine.spawn import (
    DEFAULT_COMMAND,
    LAUNCH,
    Launch,
    describe_exit,
    discard_worker,
    kill_worker,
)
from mlm.engine.wire import Wire
from mlm.errors import EngineError

HEARTBEAT_LIMIT_S = 30.0  # a worker sends `Alive` every second; after this silence it hangs
START_LIMIT_S = 180.0  # until the first one: llama.cpp comes from a slow disk, or others compute
_EXIT_WAIT_S = 2.0  # from the end of its socket to the end of the process
_POLL_S = 0.01

Event = Accepted | TokenOut | Vectors | Tokens | Finished | Failed
_LAST = Finished, Failed, Tokens  # of what happens to a request
Put = Callable[[Event], None]
OnProgress = Callable[[float], None]

_request_ids = itertools.count(1)


def new_request_id() -> int:
    """Return a number that no other request of this process has."""
    return next(_request_ids)


class WorkerFailed(EngineError):
    """A worker could not load its model."""

    code = "worker_failed"


class WorkerDied(EngineError):
    """A worker ended while it was needed."""

    code = "worker_crashed"


class Worker:
    """One worker process with one loaded model. Make it with `Worker.start`."""

    _wire: Wire
    _listener: asyncio.Task[None]

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        on_progress: OnProgress | None,
        log_path: Path | None,
    ) -> None:
        self._process = process
        self._on_progress = on_progress
        self._log_path = log_path
        self._loaded: asyncio.Future[Ready] = asyncio.get_running_loop().create_future()
        self._requests: dict[int, tuple[Put, asyncio.Future[None]]] = {}
        self._last_sign: Alive | None = None
        self._hung = False
        self._death: WorkerDied | None = None
        self._dead = asyncio.Event()

    @classmethod
    async def start(
        cls,
        path: Path | str,
        config: WorkerConfig,
        *,
        mmproj: Path | str | None = None,
        launch: Launch = LAUNCH,
        on_progress: OnProgress | None = None,
        log_path: Path | None = None,
    ) -> "Worker":
        """Start a worker, load the model file ``path`` and return when it can take requests.

        With the projector ``mmproj`` it takes pictures. Call it on the main thread. ``on_progress``
        gets numbers from 0 to 1. Cancelling the call kills the worker.

        Raises:
            EngineMissing: the extra ``llama`` is not installed.
            WorkerFailed: the model cannot be loaded, or the worker died trying.
        """
        if tuple(launch.command) == DEFAULT_COMMAND:
            require_engine()
        process, connection = launch.spawn(launch.command, log_path)
        worker = cls(process, on_progress, log_path)
        try:
            worker._wire = await Wire.open(connection, worker._receive, START_LIMIT_S)
        except BaseException:
            discard_worker(process, connection)
            raise
        worker._listener = asyncio.create_task(worker._listen())
        try:
            projector = str(mmproj) if mmproj is not None else None
            worker._wire.send(Load(path=str(path), config=config, mmproj=projector))
            await worker._loaded
        except BaseException:
            await worker.stop(grace_s=0)
            raise
        return worker

    @property
    def ready(self) -> Ready:
        """What the worker said when the model was loaded."""
        return self._loaded.result()

    @property
    def pid(self) -> int:
        """The worker's process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it can still take requests, as far as is known now."""
        return self._death is None

    @property
    def last_sign(self) -> Alive | None:
        """What it last said of itself, about a second ago; None when it has said nothing yet."""
        return self._last_sign

    @property
    def work(self) -> Work | None:
        """What it has done since its model was loaded, as of that sign."""
        return self._last_sign.work if self._last_sign is not None else None

    @property
    def busy(self) -> bool:
        """Whether any request is unfinished."""
        return bool(self._requests)

    async def answer(self, request: Generate | Embed | Tokenize, put: Put) -> None:
        """Have ``request`` answered: ``put`` gets what happens to it; `Finished`, `Tokens` or
        `Failed` come last.

        Returns after that. Cancelling the call cancels the request. ``put`` is called as events
        arrive and must be quick: everybody waits for it.

        Raises:
            WorkerDied: the worker ended first.
        """
        if self._death is not None:
            raise copy(self._death)
        if request.request_id in self._requests:
            raise EngineError(f"request id {request.request_id} is in use")
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._requests[request.request_id] = put, ended
        try:
            self._wire.send(request)
            await ended
        finally:
            if self._requests.pop(request.request_id, None) is not None:
                self._wire.send(Cancel(request_id=request.request_id))

    async def collect(self, request: Embed | Tokenize) -> list[Event]:
        """Return all that happens to ``request``, once it has ended; raises as `answer`."""
        events: list[Event] = []
        await self.answer(request, events.append)
        return events

    async def stop(self, grace_s: float = 5.0) -> None:
        """Ask the worker to exit; kill it after ``grace_s`` seconds. Returns when it is gone."""
        if not self._dead.is_set():
            self._wire.send(Shutdown())
            try:
                async with asyncio.timeout(grace_s):
                    await self._dead.wait()
            except TimeoutError:
                kill_worker(self._process)
        await self._dead.wait()
        await self._listener

    async def wait_dead(self) -> WorkerDied:
        """Wait until the process is gone; return how it ended."""
        await self._dead.wait()
        assert self._death is not None
        return self._death

    async def _listen(self) -> None:
        """Stay until the worker is gone, however that happens."""
        try:
            self._hung = not await self._wire.listen()
        except asyncio.CancelledError:
            kill_worker(self._process)  # the loop is closing and nobody called stop
            raise
        finally:
            await self._bury()

    def _receive(self, message: FromWorker) -> None:
        """Pass a message on."""
        self._wire.patience_s = HEARTBEAT_LIMIT_S
        match message:
            case Step():
                self._deliver(message.tokens)
            case Accepted() | Vectors() | Tokens() | Finished() | Failed():
                self._deliver([message])
            case Alive():
                self._last_sign = message
            case Loading():
                if self._on_progress is not None:
                    self._on_progress(message.progress)
            case Ready():
                self._loaded.set_result(message)
            case LoadFailed():
                self._fail_load(message.message, remedy=message.remedy)

    def _deliver(self, events: Sequence[Event]) -> None:
        for event in events:
            if (asked := self._requests.get(event.request_id)) is None:
                continue  # cancelled meanwhile
            put, ended = asked
            try:
                put(event)
            except Exception as bug:  # of one request; the others go on
                _settle(ended, bug)
            else:
                if isinstance(event, _LAST):
                    del self._requests[event.request_id]
                    _settle(ended)

    def _fail_load(self, message: str, *, remedy: str | None) -> None:
        if not self._loaded.done():
            self._loaded.set_exception(WorkerFailed(message, remedy=remedy))
            self._loaded.exception()  # nobody may be left to collect it

    async def _bury(self) -> None:
        """Reap the process and tell everybody who waits."""
        deadline = time.monotonic() + _EXIT_WAIT_S
        try:
            while self._process.poll() is None and not self._hung and time.monotonic() < deadline:
                await asyncio.sleep(_POLL_S)
        finally:
            returncode = self._process.poll()
            kill_worker(self._process)
            self._process.wait()
            self._wire.close()
            self._death = self._explain(returncode)
            self._fail_load(self._death.message, remedy=self._death.remedy)
            for _, ended in self._requests.values():
                _settle(ended, copy(self._death))  # each its own: tracebacks grow on them
            self._dead.set()

    def _explain(self, returncode: int | None) -> WorkerDied:
        how = f"no sign of life for {self._wire.patience_s:.0f} s" if self._hung else ""
        message = f"the worker died: {how or describe_exit(returncode)}"
        if returncode == -9:
            message += ", as the system does when memory runs out"
        return WorkerDied(message, remedy=f"less {self._log_path}" if self._log_path else None)


def _settle(ended: asyncio.Future[None], error: Exception | None = None) -> None:
    if ended.done():
        return  # cancelled, and its task does not know yet
    if error is None:
        ended.set_result(None)
    else:
        ended.set_exception(error)
