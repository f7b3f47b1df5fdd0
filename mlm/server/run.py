"""The life of a server: listen, load, serve, drain, stop."""

import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import uvicorn

from mlm.errors import DISK_FULL, DiskSpaceError, DoesNotFitError, EngineError, UsageError
from mlm.hardware.memory import memory_limit
from mlm.paths import Home
from mlm.server.address import bind, is_loopback, own_names, url_of
from mlm.server.app import make_app
from mlm.server.cache import ResponseCache
from mlm.server.crowd import Crowd
from mlm.server.errors import ApiError, shutting_down
from mlm.server.observer import Observer
from mlm.server.options import ServeOptions
from mlm.server.pool import Pool, PoolOptions
from mlm.server.protocol import LimitedProtocol, Limits
from mlm.server.registry import Registry, RunningServer, own_start_time
from mlm.server.reload import reload
from mlm.server.report import describe
from mlm.server.resident import Resident
from mlm.server.services import Services
from mlm.server.shelf import Shelf
from mlm.server.system import raise_file_limit, reap_orphans
from mlm.stats.ledger import Ledger
from mlm.stats.recorder import Recorder

DRAIN_S = 20.0  # for answers that are on their way when the server is told to stop
FAREWELL_S = 3.0  # … and then for their error events to be read
KEEP_ALIVE_S = 30
REAP_INTERVAL_S = 5.0
_CLOCK_TICK_S = 1.0  # of the date that answers carry
_OBJECTS_UNTIL_COLLECTION = 700  # new ones; CPython's default


@dataclass(frozen=True, slots=True)
class Listening:
    """The server can be reached; its models may still be loading."""

    url: str
    needs_key: bool = False


@dataclass(frozen=True, slots=True)
class Changed:
    """A model is being loaded, is ready, or has gone."""

    model_id: str
    state: str
    progress: float


@dataclass(frozen=True, slots=True)
class Loaded:
    """Everything given on the command line that fits is in memory."""

    model_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stopping:
    """No new work is taken; ``at_once`` also ends what is on its way."""

    at_once: bool


ServerEvent = Listening | Changed | Loaded | Stopping


def serve(
    shelf: Shelf, options: ServeOptions, home: Home, tell: Callable[[ServerEvent], None]
) -> None:
    """Serve until SIGTERM or SIGINT; a second one stops without waiting.

    Call it on the main thread: workers must be started there. ``tell`` is called on that thread.

    Raises:
        UsageError: others could reach the server, and it has no keys.
        ConflictError: the port is in use.
        EngineError: a model that was asked for cannot be loaded.
    """
    if not is_loopback(options.host) and not options.keys.required:
        raise UsageError(
            f"anybody who reaches {options.host} could use this server",
            remedy="mlm keys add NAME, then serve again; or give --api-key-file FILE",
        )
    raise_file_limit(options.max_connections)
    listener = bind(options.host, options.port)
    with contextlib.closing(listener), asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_Life(shelf, options, home, tell).run(listener))


class _Life:
    """One run of the server."""

    def __init__(
        self, shelf: Shelf, options: ServeOptions, home: Home, tell: Callable[[ServerEvent], None]
    ) -> None:
        self._options, self._tell = options, tell
        self._registry = Registry(home.run)
        recorder = Recorder(home.stats_db)
        pool = Pool(
            PoolOptions(
                max_models=options.max_models,
                max_queue=options.max_queue,
                max_wait_s=options.max_wait_s,
                ttl_s=options.ttl_s,
                launch=options.launch,
                log_dir=home.logs,
                memory_limit=memory_limit,
                on_load=recorder.note,
                on_change=self._on_change,
            )
        )
        self._ledger = Ledger(home.ledger_db)
        observer = Observer(self._ledger.note)
        cache = ResponseCache(home.response_cache_db)
        self._services = Services(shelf, pool, cache, recorder, observer, options.keys)
        self._stop, self._stop_now = asyncio.Event(), asyncio.Event()
        self._announcement: RunningServer | None = None
        self._told: dict[str, Changed] = {}
        self._reloading: asyncio.Task[None] | None = None

    async def run(self, listener: socket.socket) -> None:
        """Do everything, and leave nothing behind."""
        http = _HttpServer(_http_config(self._services, self._options))
        serving = asyncio.create_task(http.serve(sockets=[listener]))
        with self._signals():
            try:
                self._introduce(url_of(listener))
                await self._until_stopped(serving)
            finally:
                self._services.draining = True
                self._tell(Stopping(at_once=self._stop_now.is_set()))
                await self._drain(http)
                self._services.answers.fail_all(shutting_down())
                http.stop()
                self._services.observer.flush()
                await asyncio.gather(serving, self._services.pool.close(grace_s=FAREWELL_S))
                await asyncio.to_thread(self._ledger.close)
                await asyncio.to_thread(self._services.recorder.close)
                await asyncio.to_thread(self._services.cache.close)
                self._registry.withdraw(os.getpid())

    async def _until_stopped(self, serving: "asyncio.Task[None]") -> None:
        loading = asyncio.create_task(self._load_first())
        stopped = asyncio.create_task(self._stop.wait())
        reaping = asyncio.create_task(self._reap())
        try:
            waiting = {loading, stopped, serving}
            while not (stopped.done() or serving.done()):
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                if loading in done:
                    await loading  # raises what went wrong
        finally:
            for task in (loading, stopped, reaping):
                task.cancel()

    async def _load_first(self) -> None:
        """Load what was given on the command line, as much as fits, and what is pinned first."""
        pool, served = self._services.pool, self._services.shelf.served
        pinned = [model for model in served if model.model_id in self._options.pinned]
        for model in pinned:
            pool.pin(model, pinned=True)
        first = pool.fitting([*pinned, *(model for model in served if model not in pinned)])
        if left := [model.model_id for model in pinned if model not in first]:
            raise DoesNotFitError(
                f"{left[0]} does not fit into memory beside the other pinned models",
                remedy="pin fewer, or serve them with a smaller --ctx or a larger --max-models",
            )
        try:
            await asyncio.gather(*map(pool.load, first))
        except ApiError as error:
            raise EngineError(error.message, remedy=error.remedy) from None
        self._services.preloaded = True
        _leave_program_out_of_collections()
        self._tell(Loaded(tuple(model.model_id for model in first)))

    async def _reap(self) -> None:
        """As process 1, collect the orphans that the system gives us."""
        while os.getpid() == 1:
            await asyncio.sleep(REAP_INTERVAL_S)
            residents = self._services.pool.residents
            if not any(resident.state == "starting" for resident in residents):
                reap_orphans({r.worker.pid for r in residents if r.worker is not None})

    async def _drain(self, http: uvicorn.Server) -> None:
        """Wait until every request is answered, or for `DRAIN_S`, or for a second signal."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                while http.server_state.tasks and not self._stop_now.is_set():
                    await asyncio.sleep(0.05)

    def _on_change(self, resident: Resident) -> None:
        news = Changed(resident.model.model_id, resident.state, resident.progress)
        if self._told.get(news.model_id) != news:
            self._told[news.model_id] = news
            self._tell(news)
            if resident.state == "ready" and resident.worker is not None:
                self._services.observer.note_load(resident.model, resident.worker)
        if resident.state != "starting":
            with contextlib.suppress(OSError):  # a full disk must not stop a model from loading
                self._announce()

    def _introduce(self, url: str) -> None:
        """Let other commands find this server."""
        self._announcement = RunningServer(
            pid=os.getpid(),
            started_at=own_start_time(),
            url=url,
            models={model.model_id: str(model.path) for model in self._services.shelf.served},
            needs_key=self._options.keys.required,
            private=self._options.private,
        )
        self._registry.servers()  # sweeps up what killed ones have left
        try:
            self._registry.keep_key(os.getpid(), self._services.keys.add_own())
            self._announce()
        except OSError as error:
            family = DiskSpaceError if error.errno in DISK_FULL else UsageError
            raise family(
                f"cannot write {error.filename}: {error.strerror}", remedy="mlm --home DIR serve"
            ) from error
        self._tell(Listening(url, self._announcement.needs_key))

    def _announce(self) -> None:
        if self._announcement is not None:
            resident = tuple(describe(r) for r in self._services.pool.residents if r.occupies)
            self._registry.announce(replace(self._announcement, resident=resident))

    def _request_stop(self) -> None:
        if self._stop.is_set():
            self._stop_now.set()
        self._stop.set()

    def _request_reload(self) -> None:
        if not self._stop.is_set() and (self._reloading is None or self._reloading.done()):
            self._reloading = asyncio.create_task(reload(self._services))

    def _stop_at_once(self) -> None:
        self._stop_now.set()
        self._stop.set()

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Handle signals, and the end of stdin, until the block ends."""
        loop = asyncio.get_running_loop()
        handlers = {
            "SIGTERM": self._request_stop,
            "SIGINT": self._request_stop,
            "SIGHUP": self._request_reload,  # also when the terminal goes: a server outlives it
        }
        numbers = [(getattr(signal, name, None), handler) for name, handler in handlers.items()]
        for number, handler in numbers:
            if number is not None:
                with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C raises instead
                    loop.add_signal_handler(number, handler)
        if self._options.private:
            loop.add_reader(sys.stdin.fileno(), self._read_stdin)
        try:
            yield
        finally:
            if self._options.private:
                loop.remove_reader(sys.stdin.fileno())

    def _read_stdin(self) -> None:
        if not os.read(sys.stdin.fileno(), 4096):
            asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
            self._stop_at_once()


def _leave_program_out_of_collections() -> None:
    """Spare the garbage collector what is there for good, which is nearly all there is.

    Going through it took 60 ms, in which no token is handed on; and CPython would put that off
    until a quarter as many objects have come and stayed, dead ones among them. What is dead now
    stays as well: looking for it would delay the first answer as long.

    From then on it looks as often as CPython does by itself: what `mlm.__main__` allows while
    programs are imported would let dead requests pile up between living ones.
    """
    gc.freeze()
    gc.set_threshold(_OBJECTS_UNTIL_COLLECTION)


class _HttpServer(uvicorn.Server):
    """uvicorn without its signal handling, which would end the process by the signal.

    Nor does it wake ten times a second to see whether it should exit: that was most of what an
    idle server took.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        """Have `serve` end: no new connections, and soon none at all."""
        self.should_exit = True
        self._stopped.set()

    async def main_loop(self) -> None:
        """Keep the clock of the answers, whose dates have seconds, until somebody calls `stop`."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CLOCK_TICK_S):
                    await self._stopped.wait()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield


def _http_config(services: Services, options: ServeOptions) -> uvicorn.Config:
    names = (*own_names(options.host), *options.allowed_hosts)
    crowd = Crowd(options.max_connections, options.max_per_address)
    return uvicorn.Config(
        make_app(services, names),
        http=partial(LimitedProtocol, limits=Limits(), crowd=crowd),  # type: ignore[arg-type]
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=int(FAREWELL_S),
    )


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # not on Windows
        return None
    return uvloop.new_event_loop
