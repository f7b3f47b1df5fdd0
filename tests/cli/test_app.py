"""The front door: options that every command shares, and the one place where errors are printed."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import mlm as package
from mlm.cli import app as front_door
from mlm.cli._session import printable
from mlm.errors import ExitCode, IntegrityError, MlmError

DEMO_MODEL = Path(package.__file__).parent / "demo" / "mlm-demo.gguf"


def test_version_is_one_line(mlm):
    result = mlm("--version")
    assert (result.exit_code, result.stdout) == (ExitCode.OK, f"mlm {package.__version__}\n")


def test_help_names_every_command_with_what_it_does(mlm):
    text = mlm("--help").stdout
    for module in front_door.COMMANDS:
        assert f"\n  {module.removesuffix('_')} " in text


@pytest.mark.parametrize("module", front_door.COMMANDS)
def test_every_command_explains_itself(mlm, module: str):
    result = mlm(module.removesuffix("_"), "--help")
    assert result.exit_code == ExitCode.OK
    assert "Usage: mlm" in result.stdout


def test_an_unknown_command_is_a_usage_error_with_a_way_on(mlm):
    result = mlm("dowload")
    assert result.exit_code == ExitCode.USAGE
    assert result.stdout == ""
    assert "dowload" in result.stderr
    assert "hint: mlm download --help" in result.stderr


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        (("download", "tiny", "--quiet"), "mlm --quiet download …"),
        (("config", "show", "tiny", "--home", "/x"), "mlm --home DIR config show …"),
    ],
)
def test_an_option_of_mlm_itself_behind_a_command_is_told_its_place(mlm, words, advice: str):
    result = mlm(*words)
    assert result.exit_code == ExitCode.USAGE
    assert f"hint: {advice}" in result.stderr


def test_with_json_an_error_is_a_document_on_stdout(mlm):
    result = mlm("completion", "tcsh", "--json")
    assert result.exit_code == ExitCode.USAGE
    assert result.json["schema"] == "mlm.error/1"
    assert result.json["error"]["exit_code"] == 2
    assert result.stderr == ""


def _fails_with(monkeypatch, error: BaseException) -> None:
    def fail(arguments: list[str]) -> int:
        raise error

    monkeypatch.setattr(front_door, "_dispatch", fail)


def test_a_failure_says_what_happened_and_what_to_type(mlm, monkeypatch):
    _fails_with(monkeypatch, IntegrityError("x is corrupt", remedy="mlm verify x"))
    result = mlm("anything")
    assert result.exit_code == ExitCode.INTEGRITY
    assert result.stderr == "error: x is corrupt\nhint: mlm verify x\n"


def test_a_bug_is_called_a_bug_and_hides_its_traceback(mlm, monkeypatch):
    _fails_with(monkeypatch, ZeroDivisionError("division by zero"))
    result = mlm("anything")
    assert result.exit_code == ExitCode.BUG
    assert "Traceback" not in result.stderr
    assert "MLM_DEBUG=1" in result.stderr


def test_mlm_debug_shows_the_traceback(mlm, monkeypatch):
    monkeypatch.setenv("MLM_DEBUG", "1")
    _fails_with(monkeypatch, ZeroDivisionError("division by zero"))
    with pytest.raises(ZeroDivisionError):
        mlm("anything")


def test_ctrl_c_is_130(mlm, monkeypatch):
    _fails_with(monkeypatch, KeyboardInterrupt())
    assert mlm("anything").exit_code == ExitCode.INTERRUPTED


def test_ctrl_c_is_130_before_anything_is_imported_too(tmp_path: Path):
    (tmp_path / "typer.py").write_text("raise KeyboardInterrupt")
    done = subprocess.run(
        [sys.executable, "-m", "mlm", "list"],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (ExitCode.INTERRUPTED, b"", b"")


def test_an_empty_home_is_not_the_current_folder(mlm):
    result = mlm("--home", "", "ps")
    assert result.exit_code == ExitCode.USAGE
    assert "--home names no folder" in result.stderr


def test_a_reader_that_leaves_early_is_not_an_error():
    command = f"{sys.executable} -m mlm --help | head -n 1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""


def test_an_error_cannot_command_the_terminal():
    hostile = "name\x1b]0;owned\x07\u202e\x9b31m\nnext"
    assert printable(hostile) == "name\nnext"


def test_every_error_family_has_its_own_exit_code():
    codes = [cls.exit_code for cls in MlmError.__subclasses__() if cls.__module__ == "mlm.errors"]
    assert sorted(codes) == list(range(2, 12))


def test_python_dash_m_mlm_is_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "mlm", "nonsense", "--json"], capture_output=True, check=False
    )
    assert done.returncode == ExitCode.USAGE
    assert json.loads(done.stdout)["error"]["code"] == "usage"


@pytest.mark.parametrize("words", ["catalog list", "--help", "help", "list --help", "--version"])
def test_a_reader_that_has_gone_is_no_failure(words: str):
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "mlm", *words.split()]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert done.returncode == ExitCode.OK
    assert b"Traceback" not in done.stderr
    assert b"Exception" not in done.stderr


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("words", ["list", "catalog list --json"])
def test_a_closed_stream_is_no_failure(words: str, closed: str):
    command = f"{sys.executable} -m mlm {words} {closed}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, check=False)
    assert done.returncode == ExitCode.OK
    assert b"bug" not in done.stderr


def test_without_stderr_nothing_else_comes_on_stdout():
    command = f"{sys.executable} -m mlm nonsense 2>&-"
    done = subprocess.run(["bash", "-c", command], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (ExitCode.USAGE, b"")


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_a_full_disk_under_the_output_is_called_so(flags: list[str]):
    words = [sys.executable, "-m", "mlm", "catalog", "list", *flags]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == ExitCode.DISK_SPACE
    assert done.stderr.startswith("error: cannot write what mlm prints")
    assert "Traceback" not in done.stderr


HOSTILE = "e\x1b[31mvil\x1b]0;owned\x07\x9b2J\u202e.gguf"


@pytest.mark.parametrize(
    "words",
    ["import FILE", "verify FILE", "show FILE", "list", "plan FILE", "inspect FILE",
     "config generate FILE", "config show FILE", "catalog validate FILE", "rm FILE --yes"],
)  # fmt: skip
def test_the_name_of_a_file_cannot_command_the_terminal(mlm, tmp_path, words: str):
    path = tmp_path / HOSTILE
    shutil.copyfile(DEMO_MODEL, path)
    mlm("import", str(path))
    result = mlm(*(str(path) if word == "FILE" else word for word in words.split()))
    assert "vil" in result.stdout.replace("\n", "")
    for control in "\x1b\x07\x9b\u202e":
        assert control not in result.stdout + result.stderr


def test_a_name_too_long_for_a_file_is_no_bug(mlm):
    result = mlm("--home", "x" * 300, "ps")
    assert result.exit_code == ExitCode.USAGE
    assert "too long" in result.stderr


def test_an_endless_word_is_not_repeated_whole(mlm):
    result = mlm("catalog", "show", "x" * 100_000)
    assert result.exit_code == ExitCode.NOT_FOUND
    assert len(result.stderr) < 3000
    assert len(mlm("catalog", "show", "x" * 100_000, "--json").json["error"]["message"]) > 100_000
