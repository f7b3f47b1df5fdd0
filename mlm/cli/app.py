"""The ``mlm`` command: the list of commands, the global options and the one error boundary."""

import errno
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

import mlm
from mlm.cli._lazy import ReaderGone, lazy_app
from mlm.cli._near import explain
from mlm.cli._session import Session, print_error
from mlm.errors import DISK_FULL, DiskSpaceError, ExitCode, MlmError, UsageError
from mlm.settings import Settings

COMMANDS = (
    "recommend",
    "hardware",
    "catalog",
    "search",
    "plan",
    "download",
    "verify",
    "list_",
    "show",
    "inspect",
    "import_",
    "adopt",
    "rm",
    "prune",
    "df",
    "config",
    "lock",
    "sync",
    "outdated",
    "setup",
    "serve",
    "ps",
    "stop",
    "keys",
    "load",
    "unload",
    "pin",
    "unpin",
    "chat",
    "run",
    "sessions",
    "bench",
    "stats",
    "why",
    "cache",
    "doctor",
    "engine",
    "demo",
    "completion",
    "help",
)

EXAMPLES = {
    "mlm recommend": "Which models suit this machine",
    "mlm download qwen3-8b": "Fetch one of them",
    "mlm chat qwen3-8b": "Talk with it",
    "mlm help download": "What a command does, with examples",
}

app = lazy_app(
    "mlm.cli",
    COMMANDS,
    examples=EXAMPLES,
    no_args_is_help=False,  # `mlm` alone greets
    help="Look after a local language model for its whole life.",
)


def _parse_folder(text: str) -> Path:
    if not text:  # an empty variable in a script; Path would take it for the current folder
        raise UsageError("--home names no folder", remedy="mlm --home DIR …")
    return Path(text)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"mlm {mlm.__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _root(
    ctx: typer.Context,
    quiet: Annotated[
        bool,
        typer.Option("--quiet", "-q", help="Print results and errors only: no hints, no progress."),
    ] = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="Use no network: never leave this machine.")
    ] = False,
    home: Annotated[
        Path | None,
        typer.Option(
            "--home",
            metavar="DIR",
            parser=_parse_folder,
            help="Keep what mlm writes in this folder, whatever MLM_HOME says.",
        ),
    ] = None,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    settings = Settings.from_environment(home=home, offline=offline)
    ctx.obj = Session(settings=settings, quiet=quiet)
    if ctx.invoked_subcommand is None:
        from mlm.cli._welcome import welcome

        welcome(ctx.obj)


def main(argv: list[str] | None = None) -> None:
    """Run the command line and exit with one of `mlm.errors.ExitCode`."""
    _open_closed_streams()
    _write_whole_texts()
    arguments = sys.argv[1:] if argv is None else argv
    sys.exit(run(arguments))


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit code; whatever fails is printed, never raised."""
    try:
        return _dispatch(arguments)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return ExitCode.INTERRUPTED
    except ReaderGone:
        _discard_stdout()
        return ExitCode.OK
    except Exception as error:
        if os.environ.get("MLM_DEBUG") == "1":
            raise
        failure = _explain(error)
        _report(failure, as_json="--json" in arguments)
        return failure.exit_code


def _explain(error: Exception) -> MlmError:
    """Return what a person can be told of ``error``."""
    if isinstance(error, MlmError):
        return error
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        where = error.filename or "what mlm prints"
        return DiskSpaceError(
            f"cannot write {where}: {os.strerror(error.errno)}",
            remedy="make room: mlm df, then mlm prune or mlm rm REF",
        )
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return UsageError("the name of a file is too long", remedy="take a shorter one")
    return MlmError(
        f"this is a bug in mlm: {type(error).__name__}: {error}",
        remedy="run it again with MLM_DEBUG=1 and report what it prints",
    )


def _report(failure: MlmError, *, as_json: bool) -> None:
    try:
        print_error(failure, as_json=as_json)
        sys.stdout.flush()
    except OSError:  # perhaps that nothing can be printed there was the failure
        _discard_stdout()
        if as_json:
            print_error(failure, as_json=False)


def _open_closed_streams() -> None:
    """Put /dev/null where a standard stream was closed (``mlm list >&-``).

    Otherwise the next file that is opened would get its number, and be printed into.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))


def _write_whole_texts() -> None:
    """See to it that what is printed is written to its end, or else is an error.

    With PYTHONUNBUFFERED, which images of containers set, Python forgets what one call of write(2)
    leaves over; and a program that starts us may leave a pipe to us that does not wait for room.
    """
    if os.name == "posix":
        os.set_blocking(sys.stdout.fileno(), True)
    sys.stdout = open(  # noqa: SIM115 - until the end
        sys.stdout.fileno(),
        "w",
        encoding=sys.stdout.encoding,
        errors="replace",  # of what the locale cannot write
        closefd=False,
    )


def _discard_stdout() -> None:
    """Let what is still to be printed vanish, where nobody can read it any more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _dispatch(arguments: list[str]) -> int:
    """Run one command; whatever is wrong with the words themselves becomes a UsageError."""
    command = typer.main.get_command(app)
    try:
        code = command.main(args=arguments, prog_name="mlm", standalone_mode=False)
    except typer.Abort:
        return ExitCode.INTERRUPTED
    except typer.TyperException as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            print(error.format_message(), file=sys.stderr)
            return ExitCode.USAGE
        raise _usage_error(error) from error
    try:
        sys.stdout.flush()  # or the interpreter would find out, after everything
    except BrokenPipeError:
        _discard_stdout()
    return code if isinstance(code, int) else ExitCode.OK


def _usage_error(error: typer.TyperException) -> UsageError:
    """Return what typer complains about; options of mlm itself stand before the command."""
    where = str(getattr(getattr(error, "ctx", None), "command_path", "mlm"))
    option = getattr(error, "option_name", None)
    if option in ("--quiet", "-q", "--offline", "--home") and where != "mlm":
        value = " DIR" if option == "--home" else ""
        placed = where.replace("mlm", f"mlm {option}{value}", 1)
        return UsageError(f"{option} stands before the command", remedy=f"{placed} …")
    return explain(error, where)
