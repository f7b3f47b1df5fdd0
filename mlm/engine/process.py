"""A worker as the gateway sees it: start it, send requests, read events, notice its death.

Runs on an asyncio loop and never imports llama.cpp, so that nothing a model file does can take
the gateway down.
"""

import asyncio
import itertools
import socket
import subprocess
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from copy import copy
from pathlib import Path
from typing import Any

from mlm.engine.extra import require_engine
from mlm.engine.frames import FrameDecoder, FrameError, encode_frame
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
    Message,
    Ready,
    Shutdown,
    Step,
    Tokenize,
    TokenOut,
    Tokens,
    Vectors,
    WorkerConfig,
)
from mlm.engine.spawn import DEFAULT_COMMAND, describe_exit, kill_worker, spawn_worker
from mlm.errors import EngineError

HEARTBEAT_LIMIT_S = 30.0  # a worker sends `Alive` every second; after this silence it hangs
START_LIMIT_S = 180.0  # until the first one: llama.cpp comes from a slow disk, or others compute
_EXIT_WAIT_S = 2.0  # from the end of its socket to the end of the process
_POLL_S = 0.01
_UNMERGED = 64  # events that a slow reader finds one by one; later tokens are joined

Event = Accepted | TokenOut | Finished | Failed
VectorEvent = Accepted | Vectors | Finished | Failed
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

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        on_progress: OnProgress | None,
        log_path: Path | None,
    ) -> None:
        self._process = process
        self._reader, self._writer = streams
        self._on_progress = on_progress
        self._log_path = log_path
        self._loaded: asyncio.Future[Ready] = asyncio.get_running_loop().create_future()
        self._requests: dict[int, _Mailbox] = {}
        self._last_sign: Alive | None = None
        self._hung = False
        self._patience_s = START_LIMIT_S
        self._death: WorkerDied | None = None
        self._dead = asyncio.Event()
        self._listener = asyncio.create_task(self._listen())

    @classmethod
    async def start(
        cls,
        path: Path | str,
        config: WorkerConfig,
        *,
        command: Sequence[str] = DEFAULT_COMMAND,
        on_progress: OnProgress | None = None,
        log_path: Path | None = None,
    ) -> "Worker":
        """Start a worker, load the model file ``path`` and return when it can take requests.

        Call it on the main thread. ``on_progress`` gets numbers from 0 to 1. Cancelling the call
        kills the worker.

        Raises:
            EngineMissing: the extra ``llama`` is not installed.
            WorkerFailed: the model cannot be loaded, or the worker died trying.
        """
        if tuple(command) == DEFAULT_COMMAND:
            require_engine()
        process, connection = spawn_worker(command, log_path)
        try:
            worker = cls(process, await _open_streams(connection), on_progress, log_path)
        except BaseException:
            connection.close()
            kill_worker(process)
            process.wait()
            raise
        try:
            worker._send(Load(path=str(path), config=config))
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
    def busy(self) -> bool:
        """Whether any request is unfinished."""
        return bool(self._requests)

    def generate(self, request: Generate) -> AsyncGenerator[Event, None]:
        """Yield what happens to ``request``: `Accepted`, tokens, then `Finished` or `Failed`.

        Closing the iterator before its end cancels the request.

        Raises:
            WorkerDied: the worker ended first.
        """
        return self._follow(request)

    def embed(self, request: Embed) -> AsyncGenerator[VectorEvent, None]:
        """Do the same for vectors, which come in any order."""
        return self._follow(request)

    async def tokenize(self, request: Tokenize) -> Tokens | Failed:
        """Return what the worker says of tokens; raises as `generate`."""
        async with aclosing(self._follow(request)) as events:
            answer: Tokens | Failed = await anext(events)
            return answer

    async def _follow(self, request: Generate | Embed | Tokenize) -> AsyncGenerator[Any, None]:
        if self._death is not None:
            raise copy(self._death)
        if request.request_id in self._requests:
            raise EngineError(f"request id {request.request_id} is in use")
        mailbox = self._requests[request.request_id] = _Mailbox()
        ended = False
        try:
            self._send(request)
            while not ended:
                event = await mailbox.take()
                ended = isinstance(event, Finished | Failed | Tokens)
                if ended:
                    del self._requests[request.request_id]
                yield event
        finally:
            if self._requests.pop(request.request_id, None) is not None:
                self._send(Cancel(request_id=request.request_id))

    async def stop(self, grace_s: float = 5.0) -> None:
        """Ask the worker to exit; kill it after ``grace_s`` seconds. Returns when it is gone."""
        if not self._dead.is_set():
            self._send(Shutdown())
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

    def _send(self, message: Message) -> None:
        """Hand one frame to the transport. It holds what a stopped worker does not read: at most
        the requests that the caller admits, so the caller's queue limit is the bound."""
        if not self._writer.is_closing():
            self._writer.write(encode_frame(message))

    async def _listen(self) -> None:
        """Receive until the worker is gone, however that happens."""
        decoder: FrameDecoder[FromWorker] = FrameDecoder(FromWorker)
        try:
            while True:
                async with asyncio.timeout(self._patience_s):
                    message = await decoder.read_async(self._reader)
                if message is None:
                    break
                self._patience_s = HEARTBEAT_LIMIT_S
                self._receive(message)
        except TimeoutError:
            self._hung = True
        except (FrameError, OSError):
            pass  # a broken stream is a dead worker; its exit status says more
        except asyncio.CancelledError:
            kill_worker(self._process)  # the loop is closing and nobody called stop
            raise
        finally:
            await self._bury()

    def _receive(self, message: FromWorker) -> None:
        """Pass a message on."""
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

    def _deliver(self, events: Sequence[Event | Vectors | Tokens]) -> None:
        for event in events:
            if mailbox := self._requests.get(event.request_id):
                mailbox.put(event)

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
            self._writer.close()
            self._death = self._explain(returncode)
            self._fail_load(self._death.message, remedy=self._death.remedy)
            for mailbox in self._requests.values():
                mailbox.fail(self._death)
            self._dead.set()

    def _explain(self, returncode: int | None) -> WorkerDied:
        how = f"no sign of life for {self._patience_s:.0f} s" if self._hung else ""
        message = f"the worker died: {how or describe_exit(returncode)}"
        if returncode == -9:
            message += ", as the system does when memory runs out"
        return WorkerDied(message, remedy=f"less {self._log_path}" if self._log_path else None)


class _Mailbox:
    """Events of one request that its reader has not taken yet.

    Bounded without making other requests wait: beyond a few events, text is joined to the last
    one, so what is held is at most the answer itself.
    """

    def __init__(self) -> None:
        self._events: deque[Event | Vectors | Tokens] = deque()
        self._arrived = asyncio.Event()
        self._failure: WorkerDied | None = None

    def put(self, event: Event | Vectors | Tokens) -> None:
        last = self._events[-1] if len(self._events) >= _UNMERGED else None
        if isinstance(last, TokenOut) and isinstance(event, TokenOut):
            n_tokens = last.n_tokens + event.n_tokens
            logprobs = [*last.logprobs, *event.logprobs]
            event = TokenOut(event.request_id, last.text + event.text, n_tokens, logprobs)
            self._events.pop()
        self._events.append(event)
        self._arrived.set()

    def fail(self, failure: WorkerDied) -> None:
        self._failure = failure
        self._arrived.set()

    async def take(self) -> Event | Vectors | Tokens:
        while not self._events:
            if self._failure is not None:
                raise copy(self._failure)  # each request its own: tracebacks grow on them
            self._arrived.clear()
            await self._arrived.wait()
        return self._events.popleft()


async def _open_streams(
    connection: socket.socket,
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    connection.setblocking(False)
    if connection.family == getattr(socket, "AF_UNIX", None):
        return await asyncio.open_unix_connection(sock=connection)
    return await asyncio.open_connection(sock=connection)
