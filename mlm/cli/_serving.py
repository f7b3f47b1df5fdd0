"""A server for one command: a running one that has the model, else one of the command's own."""

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from mlm.cli._overrides import to_flags
from mlm.cli._waiting import waiting_for
from mlm.errors import EngineError, ExitCode, MlmError
from mlm.planning.overrides import Overrides

if TYPE_CHECKING:
    from mlm.cli._session import Session
    from mlm.client import Client
    from mlm.server.registry import RunningServer

_STOP_S = 10.0  # for a private server to end after its stdin did


@contextmanager
def connect(
    session: "Session",
    ref: str,
    overrides: Overrides | None = None,
    meanwhile: Callable[[], object] = lambda: None,
) -> Iterator[tuple["Client", str]]:
    """Yield a client of a server that has the model ``ref``, and the model's id there.

    A running server is used when it has the model and no ``overrides`` are given. Otherwise one
    is started, and stopped at the end; it also ends when this process is killed. ``meanwhile`` is
    done while it loads the model.

    Raises:
        MlmError: whatever keeps the model from being served.
    """
    overrides = overrides or Overrides()
    if overrides == Overrides() and (found := _find_running(session, ref)) is not None:
        client, model_id = found
        with client:
            yield client, model_id
        return
    with _PrivateServer(session, ref, overrides, meanwhile) as server:
        from mlm.client import Client  # not before the server is on its way

        with Client(server.url, server.key) as client:
            yield client, server.model_id


def _find_running(session: "Session", ref: str) -> tuple["Client", str] | None:
    """Return a client of a server that serves ``ref``, and the model's id there."""
    from mlm.server.registry import Registry

    registry = Registry(session.settings.home.run)
    usable = [server for server in registry.servers() if not server.private]
    if not usable:
        return None
    from mlm.client import Client

    is_id = all(ref in server.models for server in usable)
    path = None if is_id else find_path(session, ref)  # slow, beside a server that just answers
    for server in usable:
        model_id = match(server, ref, path)
        key = registry.key_of(server.pid)
        if model_id is not None and (key is not None or not server.needs_key):
            with suppress(MlmError), Client(server.url, key, silence_s=5) as client:
                client.health()
                return Client(server.url, key), model_id
    return None


def may_take_pictures(session: "Session", ref: str) -> bool:
    """Return whether the model ``ref`` can be shown pictures, as far as that is known by now.

    A running server says it; else a projector has to lie beside the file, which is not loaded yet.
    """
    if (found := _find_running(session, ref)) is not None:
        client, model_id = found
        with client:
            return client.takes_pictures(model_id)
    from mlm.cli._projector import find_projector
    from mlm.gguf.reader import read_metadata
    from mlm.store.store import Store

    with (
        suppress(MlmError, OSError),
        Store(session.settings.home, session.settings.hub_cache) as store,
    ):
        model = store.find(ref)
        return find_projector(store, model, read_metadata(model.path)) is not None
    return True  # whatever is wrong with it, its server will say


def find_path(session: "Session", ref: str) -> Path | None:
    """Return the file of an installed model; None when there is none."""
    from mlm.store.store import Store

    with suppress(MlmError), Store(session.settings.home, session.settings.hub_cache) as store:
        return store.find(ref).path
    return None


def match(server: "RunningServer", ref: str, path: Path | None) -> str | None:
    """Return the id of the model ``ref``, whose file is ``path``, among those of a server."""
    for model_id, served_path in server.models.items():
        if model_id == ref or (path is not None and Path(served_path) == path):
            return model_id
    return None


class _PrivateServer:
    """A server process that belongs to this one: it ends when its stdin does."""

    def __init__(
        self,
        session: "Session",
        ref: str,
        overrides: Overrides,
        meanwhile: Callable[[], object],
    ) -> None:
        self._session = session
        self._meanwhile = meanwhile
        self._ref = ref
        self._flags = to_flags(overrides)
        self._log_path = session.settings.home.logs / f"private-{os.getpid()}.log"
        self._lines: queue.Queue[str | None] = queue.Queue()
        self.url = ""
        self.key: str | None = None
        self.model_id = ""

    def __enter__(self) -> "_PrivateServer":
        with self._open_log() as log:
            self._process = subprocess.Popen(
                self._command(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the chat, not for its server
            )
        assert self._process.stdout is not None
        reader = threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True)
        reader.start()
        self._reader = reader
        try:
            self._wait_until_loaded()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()
        if self._process.returncode == 0:
            self._remove_log()

    def _command(self) -> list[str]:
        settings = self._session.settings
        words = [sys.executable, "-m", "mlm", "--home", str(settings.home.root)]
        words += ["--offline"] if settings.offline else []
        words += ["serve", "--port", "0", "--json", "--until-eof", *self._flags]
        return [*words, "--", self._ref]  # the name of a file may begin with a dash

    def _open_log(self) -> IO[bytes]:
        """Open the log of the server; in a home that cannot be written there is none."""
        try:
            self._log_path.parent.mkdir(parents=True, exist_ok=True)
            return self._log_path.open("ab")
        except OSError:
            self._log_path = Path(os.devnull)
            return self._log_path.open("ab")

    def _wait_until_loaded(self) -> None:
        """Follow what the server prints; raise its error if it ends instead of serving."""
        from mlm.server.registry import Registry

        rest: list[str] = []
        with waiting_for(self._session, f"loading {self._ref}") as show:
            self._meanwhile()
            while (line := self._lines.get()) is not None:
                event = parse_event(line)
                if event is None:
                    rest.append(line)
                    continue
                show(event.get("progress"))
                self.url = event.get("url") or self.url
                if event["event"] == "loaded":
                    (self.model_id, *_) = event["model_ids"]
                    self.key = Registry(self._session.settings.home.run).key_of(self._process.pid)
                    return
        raise self._failure(rest)

    def _failure(self, printed: list[str]) -> MlmError:
        """Return the error that the server printed before it ended."""
        code = self._process.wait()
        if (failure := failure_in(printed)) is None:
            message = f"the server for {self._ref} ended with exit code {code}"
            return EngineError(message, remedy=f"less {self._log_path}")
        self._remove_log()
        return failure

    def _remove_log(self) -> None:
        if self._log_path != Path(os.devnull):
            self._log_path.unlink(missing_ok=True)

    def _read(self, output: IO[bytes]) -> None:
        """Keep reading to the end, so that the server never waits for us."""
        for line in output:
            self._lines.put(line.decode("utf-8", "replace"))
        self._lines.put(None)

    def _stop(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        self._process.stdout.close()


def parse_event(line: str) -> dict[str, Any] | None:
    """Return the event on a line that a server printed; None for any other line."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and "event" in event else None


def failure_in(lines: list[str]) -> MlmError | None:
    """Return the error that a server has printed among other lines before it ended."""
    for line in reversed(lines):
        try:
            error = json.loads(line)["error"]
            failure = MlmError(error["message"], remedy=error["remedy"])
            failure.code, failure.exit_code = error["code"], ExitCode(error["exit_code"])
        except (ValueError, KeyError, TypeError):
            continue
        return failure
    return None
