"""SQLite files that nobody would miss: a broken one is put aside, and writing never waits.

History and cached answers are worth keeping, but never worth failing a request for.
"""

import contextlib
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

BUSY_TIMEOUT_S = 5.0
# A connection that stays open keeps few pages in memory, 256 KiB. SQLite's default of 2 MiB would
# fill up within 15,000 requests, which looks like a leak; the system keeps the file's pages anyway.
KEEP_FEW_PAGES = "PRAGMA cache_size = -256"
# The check looks at every page, which may be hundreds of MiB of pictures in conversations: without
# copies of them it takes half the time.
_MAPPED_BYTES = 2**31
Work = Callable[[sqlite3.Connection], object]
Then = Callable[[], object]

# SQLite's words for a file that will not get better by waiting (sqlite.org/rescode.html).
_BROKEN_CODES = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


@dataclass(frozen=True, slots=True)
class Schema:
    """The tables of one file. A file of another ``version`` is put aside like a broken one.

    ``upgrades`` bring files of an earlier version up to this one, inside a transaction.
    """

    version: int
    script: str
    upgrades: Mapping[int, Callable[[sqlite3.Connection], object]] = field(default_factory=dict)


class OtherVersionError(sqlite3.DatabaseError):
    """The file has tables of another version, and there is no way from them to ours."""

    def __init__(self, version: int) -> None:
        super().__init__(f"version {version} of the file is unknown")
        self.version = version
        self.sqlite_errorcode = sqlite3.SQLITE_CORRUPT


def open_database(path: Path, schema: Schema) -> sqlite3.Connection:
    """Return a connection to a sound database at ``path``, made if need be.

    What was there and is not sound is renamed to ``….broken``, replacing an older one.

    Raises:
        OSError, sqlite3.Error: the file cannot be had at all: permissions, a full disk, a lock.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return open_sound(path, schema)
    except sqlite3.DatabaseError as error:
        if not is_broken(error):
            raise
    put_aside(path)
    return open_sound(path, schema)


def is_broken(error: sqlite3.Error) -> bool:
    """Tell whether ``error`` means that the file itself is damaged."""
    code = getattr(error, "sqlite_errorcode", None)
    return isinstance(code, int) and code & 0xFF in _BROKEN_CODES


def open_sound(path: Path, schema: Schema, *, wait_s: float | None = None) -> sqlite3.Connection:
    """Return a connection to the database at ``path``, made if need be.

    ``wait_s`` is how long to wait for locks of others, here and later; None for `BUSY_TIMEOUT_S`.

    Raises:
        OtherVersionError: it is of another version.
        sqlite3.DatabaseError: it is damaged; `is_broken` tells.
        OSError, sqlite3.Error: it cannot be had at all.
    """
    wait_s = BUSY_TIMEOUT_S if wait_s is None else wait_s
    path.touch(mode=0o600)  # answers and habits are nobody else's business
    connection = sqlite3.connect(
        path, timeout=wait_s, isolation_level=None, check_same_thread=False
    )
    try:
        _use_wal(connection, wait_s)
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA mmap_size = {_MAPPED_BYTES}")
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        connection.execute("PRAGMA mmap_size = 0")  # else a broken disk would end the process
        version = _read_version(connection)
        if version in schema.upgrades and verdict == "ok":
            version = _upgrade(connection, schema)
        if verdict != "ok":
            raise _broken(path, verdict)
        if version not in (0, schema.version):
            raise OtherVersionError(version)
        connection.executescript(schema.script)
        if version == 0:  # else this would wait for a lock that somebody may hold for long
            connection.execute(f"PRAGMA user_version = {schema.version}")
    except UnicodeDecodeError as error:  # SQLite's complaint holds a damaged name
        connection.close()
        raise _broken(path, "a name in it is damaged") from error
    except BaseException:
        connection.close()
        raise
    return connection


def _broken(path: Path, why: str) -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError(f"{path.name}: {why}")
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


def _read_version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def _upgrade(connection: sqlite3.Connection, schema: Schema) -> int:
    """Bring the file up to date, unless somebody else has meanwhile; return its version."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        if (upgrade := schema.upgrades.get(_read_version(connection))) is not None:
            upgrade(connection)
            connection.execute(f"PRAGMA user_version = {schema.version}")
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        connection.execute("ROLLBACK")
        if error.sqlite_errorcode == sqlite3.SQLITE_ERROR:  # it is not what its version says
            error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise
    return _read_version(connection)


def _use_wal(connection: sqlite3.Connection, wait_s: float) -> None:
    """Write ahead. Where two do this to a new file, SQLite refuses one of them without waiting."""
    deadline = time.monotonic() + wait_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def put_aside(path: Path) -> None:
    """Rename the file at ``path`` to ``….broken``; what belongs to it goes.

    Raises:
        OSError: it cannot be renamed.
    """
    path.replace(path.with_name(path.name + ".broken"))
    for companion in ("-wal", "-shm"):
        path.with_name(path.name + companion).unlink(missing_ok=True)


class Writer:
    """A thread that owns the only writing connection to one database.

    Work is done in the order given, many pieces in one transaction. What does not fit into the
    queue, or fails, is dropped and counted.
    """

    def __init__(self, path: Path, schema: Schema, *, capacity: int = 1000) -> None:
        self.dropped = 0
        self._path, self._schema = path, schema
        self._work: queue.Queue[tuple[Work, Then | None] | None] = queue.Queue(capacity)
        self._connection: sqlite3.Connection | None = None
        self._retry_at = 0.0
        self._thread = threading.Thread(target=self._run, name=f"write {path.name}", daemon=True)
        self._thread.start()

    def submit(self, work: Work, then: Then | None = None) -> bool:
        """Have ``work`` done soon, without waiting; False when there is no room for it.

        ``then`` is called afterwards on the writer's thread, whether the work succeeded or not.
        """
        try:
            self._work.put_nowait((work, then))
        except queue.Full:
            self.dropped += 1
            return False
        return True

    def flush(self, timeout_s: float = BUSY_TIMEOUT_S) -> bool:
        """Wait until all work given so far is done; False when that took too long."""
        done = threading.Event()
        return self.submit(lambda _: None, done.set) and done.wait(timeout_s)

    def close(self, timeout_s: float = BUSY_TIMEOUT_S) -> None:
        """Finish the work given so far and close the file."""
        with contextlib.suppress(queue.Full):
            self._work.put(None, timeout=timeout_s)
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while (first := self._work.get()) is not None:
            batch = [first]
            last = False
            with contextlib.suppress(queue.Empty):
                while len(batch) < 500 and not last:
                    following = self._work.get_nowait()
                    last = following is None
                    if following is not None:
                        batch.append(following)
            self._do([work for work, _ in batch])
            for _, then in batch:
                if then is not None:
                    then()
            if last:
                break
        if self._connection is not None:
            self._connection.close()

    def _do(self, batch: list[Work]) -> None:
        """Do ``batch`` in one transaction; once more on a fresh file when this one is damaged."""
        for _ in range(2):
            connection = self._connect()
            if connection is None:
                break
            try:
                connection.execute("BEGIN IMMEDIATE")
                for work in batch:
                    work(connection)
                connection.execute("COMMIT")
                return
            except sqlite3.Error as error:
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                if not is_broken(error):
                    break
                connection.close()
                self._connection = None  # opening it again puts the file aside
        self.dropped += len(batch)

    def _connect(self) -> sqlite3.Connection | None:
        if self._connection is None and time.monotonic() >= self._retry_at:
            try:
                self._connection = open_database(self._path, self._schema)
                self._connection.execute(KEEP_FEW_PAGES)
            except (OSError, sqlite3.Error):
                self._retry_at = time.monotonic() + BUSY_TIMEOUT_S
        return self._connection
