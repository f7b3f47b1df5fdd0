"""A server in the background: started here, watched until it is ready, then on its own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import psutil
import typer

from mlm.cli._log_limit import log_path, older_log
from mlm.cli._serving import failure_in, parse_event
from mlm.cli._session import Session, session
from mlm.cli._waiting import waiting_for
from mlm.errors import DISK_FULL, DiskSpaceError, EngineError, UsageError

_POLL_S = 0.02
_LEFT_OUT = ("detach", "as_json")
_KEPT_LOGS = 20  # of servers that have ended


def serve_in_background(ctx: typer.Context, *, as_json: bool) -> None:
    """Start the same command as a process of its own; return when its models are loaded.

    Raises:
        MlmError: what kept it from serving; it has ended then.
    """
    started = session(ctx)
    process, log = _start(started, typed_words(ctx, _LEFT_OUT))
    try:
        url, model_ids = _follow(started, process, log)
    except BaseException:
        _end(process)
        raise
    started.emit(
        "serve",
        {"pid": process.pid, "url": url, "log": str(log), "models": model_ids},
        as_json=as_json,
        human=lambda: (
            f"Listening at {url}, process {process.pid}\n"
            f"Log: {log}\n"
            f"Stop it: mlm stop {process.pid}"
        ),
    )


def typed_words(ctx: typer.Context, left_out: tuple[str, ...]) -> list[str]:
    """Return the words after the command's name that mean the same as those that were typed."""
    options: list[str] = []
    arguments: list[str] = []
    for parameter in ctx.command.params:
        source = ctx.get_parameter_source(str(parameter.name))
        if parameter.name in left_out or source is None or source.name != "COMMANDLINE":
            continue
        value = ctx.params[str(parameter.name)]
        values = value if isinstance(value, list | tuple) else [value]
        if parameter.param_type_name == "argument":
            arguments += map(str, values)
        elif value is True:
            options.append(parameter.opts[0])
        else:
            options += [word for each in values for word in (parameter.opts[0], str(each))]
    return [*options, "--", *arguments]  # the name of a file may begin with a dash


def _start(started: Session, words: list[str]) -> tuple[subprocess.Popen[bytes], Path]:
    """Start the server; return its process and its log."""
    settings = started.settings
    command = [sys.executable, "-m", "mlm", "--home", str(settings.home.root)]
    command += ["--offline"] if settings.offline else []
    folder = settings.home.logs
    nameless = folder / f"serve-by-{os.getpid()}.log"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        remove_old_logs(folder)
        with nameless.open("wb") as log:
            process = subprocess.Popen(
                [*command, "serve", "--json", *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # it outlives this terminal
            )
        path = log_path(folder, process.pid)
        nameless.replace(path)
    except OSError as error:
        family = DiskSpaceError if error.errno in DISK_FULL else UsageError
        raise family(
            f"cannot write a log in {folder}: {error.strerror}", remedy="mlm --home DIR serve"
        ) from error
    return process, path


def remove_old_logs(folder: Path) -> None:
    """Delete the logs of all but the newest servers that have ended."""
    ended = [path for path in folder.glob("serve-*.log") if not _is_running(path)]
    for path in sorted(ended, key=lambda path: path.stat().st_mtime)[:-_KEPT_LOGS]:
        path.unlink(missing_ok=True)
        older_log(path).unlink(missing_ok=True)


def _is_running(log: Path) -> bool:
    number = log.stem.rpartition("-")[2]
    return number.isdecimal() and psutil.pid_exists(int(number))


def _follow(started: Session, process: subprocess.Popen[bytes], log: Path) -> tuple[str, list[str]]:
    """Read what the server prints until it is ready; return its address and what it has loaded."""
    url, rest = "", list[str]()
    with log.open("rb") as lines, waiting_for(started, "loading") as show:
        for line in _lines_of(lines, process):
            event: dict[str, Any] | None = parse_event(line)
            if event is None:
                rest.append(line)
                continue
            show(event.get("progress"))
            url = event.get("url") or url
            if event["event"] == "loaded":
                return url, list(event["model_ids"])
    if failure := failure_in(rest):
        log.unlink(missing_ok=True)
        raise failure
    message = f"the server ended with exit code {process.wait()} before it was ready"
    raise EngineError(message, remedy=f"less {log}")


def _lines_of(file: IO[bytes], process: subprocess.Popen[bytes]) -> Iterator[str]:
    """Yield the lines of a growing file until the process that writes it has ended."""
    line = b""
    while True:
        ended = process.poll() is not None  # asked first: what it wrote last is read after that
        while block := file.readline():
            line += block
            if line.endswith(b"\n"):
                yield line.decode("utf-8", "replace")
                line = b""
        if ended:
            return
        time.sleep(_POLL_S)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Stop a server that will not be used; a second signal stops it at once."""
    if process.poll() is None:
        for number in (signal.SIGTERM, signal.SIGINT):
            with suppress(ProcessLookupError):
                process.send_signal(number)
        process.wait()
