"""``mlm run`` with what is no regular file: streams by name, pipes of the shell, devices."""

import os
import shutil
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from fakes.openai_server import OpenAIServer

from mlm.errors import ExitCode

pytestmark = [
    pytest.mark.usefixtures("warm_home"),
    pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed"),
]
ANSWER = b"Hello there\n"


@pytest.fixture(autouse=True)
def server(openai_server: OpenAIServer, home: Path) -> OpenAIServer:
    openai_server.announce(home)
    return openai_server


@pytest.fixture
def bash(tmp_path: Path):
    """Run a line of bash in a folder of its own, with nothing on stdin."""

    def run(line: str, **environment: str) -> "subprocess.CompletedProcess[bytes]":
        command = line.replace("mlm run", f"{sys.executable} -m mlm run tiny")
        return subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=False,
            cwd=tmp_path,
            env=os.environ | environment,
        )

    return run


def question(server: OpenAIServer) -> str:
    return server.asked[-1].body["messages"][-1]["content"]


@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/dev/fd/1"])
def test_stdout_by_name_is_stdout_be_it_a_pipe_or_a_file(bash, tmp_path: Path, name: str):
    done = bash(f"mlm run Hi -o {name} | cat")
    assert (done.returncode, done.stdout, done.stderr) == (0, ANSWER, b"")
    done = bash(f"(echo before; mlm run Hi -o {name}; echo after) > log")
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "log").read_bytes() == b"before\n" + ANSWER + b"after\n"


def test_stderr_by_name_is_stderr(bash):
    done = bash("mlm run Hi -o /dev/stderr")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", ANSWER)


def test_a_socket_is_written_to_by_name(server):
    ours, theirs = socket.socketpair()
    words = [sys.executable, "-m", "mlm", "run", "tiny", "Hi", "-o", f"/dev/fd/{theirs.fileno()}"]
    with ours, theirs:
        subprocess.run(words, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()], check=True)
        assert ours.recv(100) == ANSWER


def test_the_answer_goes_into_a_process_of_the_shell(bash, tmp_path: Path):
    done = bash("mlm run Hi -o >(tr a-z A-Z > loud); wait $!; cat loud")
    assert (done.returncode, done.stdout, done.stderr) == (0, ANSWER.upper(), b"")


def test_the_answer_goes_into_a_named_pipe_which_stays_one(bash, tmp_path: Path):
    done = bash("mkfifo pipe; cat pipe & mlm run Hi -o pipe; code=$?; wait; exit $code")
    assert (done.returncode, done.stdout, done.stderr) == (0, ANSWER, b"")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_a_reader_of_that_pipe_may_leave(bash, server):
    server.says(*["a line\n"] * 50_000)
    done = bash("mkfifo pipe; head -n 1 pipe & mlm run Hi -o pipe; code=$?; wait; exit $code")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"a line\n", b"")


def test_a_device_is_written_to_and_never_replaced(bash):
    assert bash("mlm run Hi -o /dev/null").returncode == 0
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_what_is_not_open_for_writing_is_said_before_anybody_is_asked(bash, server):
    for line in ("mlm run Hi -o /dev/fd/9", "mlm run Hi -o /dev/fd/9 9< /dev/null"):
        done = bash(line)
        assert done.returncode == ExitCode.USAGE
        assert done.stderr.startswith(b"error: cannot write /dev/fd/9: ")
    assert not any(asked.body for asked in server.asked)


def test_schema_template_and_attachment_may_be_what_another_command_prints(bash, server):
    server.says('{"name": "Bo"}')
    done = bash(
        """mlm run Who? --schema <(echo '{"type": "object"}') -t <(echo 'Say: {{input}}') """
        "-a <(echo a text)"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b'{"name": "Bo"}\n', b"")
    assert question(server).startswith("Say: /dev/fd/")
    assert question(server).endswith(":\n```\na text\n```\n\nWho?")
    assert server.asked[-1].body["response_format"]["json_schema"]["schema"] == {"type": "object"}


def test_a_schema_in_a_pipe_that_is_none_is_named_by_the_pipe(bash):
    done = bash("mlm run Who? --schema <(echo hello)")
    assert done.returncode == ExitCode.USAGE
    assert done.stderr.startswith(b"error: /dev/fd/")
    assert b"is not JSON" in done.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("output", ["> file", "-o file"])
def test_what_does_not_fit_into_a_file_is_an_error_however_python_writes(
    bash, server, unbuffered: str, output: str
):
    server.says("word " * 20_000 + "\n")
    done = bash(f"ulimit -f 64; mlm run Hi --no-stream {output}", PYTHONUNBUFFERED=unbuffered)
    assert done.returncode == ExitCode.DISK_SPACE
    assert b"File too large" in done.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_pipe_that_does_not_wait_for_room_loses_nothing(server, monkeypatch, unbuffered: str):
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    server.says(answer := "word " * 100_000)
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)
    words = [sys.executable, "-m", "mlm", "run", "tiny", "Hi"]
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=theirs)
    os.close(theirs)
    with os.fdopen(ours, encoding="utf-8") as pipe:
        assert pipe.read() == f"{answer}\n"
    assert process.wait(30) == ExitCode.OK


LATIN = {"PYTHONIOENCODING": "latin-1"}
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.parametrize(
    ("locale", "shown"),
    [
        (LATIN, b"\xa31 for ??\n"),
        (ASCII, b"?1 for ??\n"),
        ({"LC_ALL": "C"}, "£1 for 日本\n".encode()),
    ],
    ids=["latin-1", "ascii", "C"],
)
def test_a_locale_that_cannot_write_an_answer_does_not_end_it(bash, server, locale, shown: bytes):
    server.says("£1", " for 日本")
    for word in ("--stream", "--no-stream"):
        done = bash(f"mlm run Hi {word}", **locale)
        assert (done.returncode, done.stdout, done.stderr) == (0, shown, b"")
    bash("mlm run Hi -o file", **locale)
    assert bash("cat file").stdout == "£1 for 日本\n".encode()


@pytest.mark.parametrize("locale", [LATIN, ASCII], ids=["latin-1", "ascii"])
def test_json_loses_nothing_in_such_a_locale(bash, server, locale):
    server.says('{"price": "£1 for 日本"}')
    done = bash("mlm run Hi --schema price", **locale)
    assert (done.returncode, done.stdout) == (0, rb'{"price": "\u00a31 for \u65e5\u672c"}' + b"\n")
    done = bash("mlm run Hi --json", **locale)
    assert (done.returncode, rb"\u65e5\u672c" in done.stdout) == (0, True)
