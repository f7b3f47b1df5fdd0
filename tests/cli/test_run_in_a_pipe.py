"""``mlm run`` in a pipe: readers that leave, writers that never end, text that is none."""

import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from fakes.openai_server import OpenAIServer

from mlm.errors import ExitCode

pytestmark = pytest.mark.usefixtures("warm_home")
RUN = [sys.executable, "-m", "mlm", "run", "tiny"]


@pytest.fixture
def server(openai_server: OpenAIServer, home: Path) -> OpenAIServer:
    openai_server.announce(home)
    return openai_server


def question(server: OpenAIServer) -> str:
    return server.asked[-1].body["messages"][-1]["content"]


def started(*words: str, stdin: int | None = subprocess.DEVNULL) -> "subprocess.Popen[bytes]":
    pipe = subprocess.PIPE
    return subprocess.Popen([*RUN, *words], stdin=stdin, stdout=pipe, stderr=pipe)


def in_shell(command: str) -> "subprocess.CompletedProcess[bytes]":
    mlm = f"{sys.executable} -m mlm"
    words = ["bash", "-o", "pipefail", "-c", command.replace("mlm", mlm)]
    return subprocess.run(words, capture_output=True, timeout=60, check=False)


def test_a_diff_becomes_a_message(server):
    done = in_shell("printf '+ one line\\n' | mlm run tiny 'write a commit message' | cat")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"Hello there\n", b"")
    assert question(server) == "+ one line\n\nwrite a commit message"


def test_head_takes_a_line_and_the_server_is_told_at_once(server):
    server.hesitates_after("one\n", "two\n", *["more\n"] * 20)
    done = in_shell("mlm run tiny Hi < /dev/null | head -1")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"one\n", b"")
    assert server.client_left.wait(10)


@pytest.mark.parametrize("word", ["--json", "--no-stream"])
def test_a_reader_that_left_is_noticed_before_anything_is_printed(server, word: str):
    asked, gone = threading.Event(), threading.Event()

    def reply(connection) -> None:
        asked.set()
        gone.wait(30)
        endless = iter(lambda: b'data: {"choices": [{"delta": {"content": "x"}}]}\n\n', b"")
        try:
            connection.stream(*(next(endless) for _ in range(100_000)))
        except OSError:
            server.client_left.set()

    server.does(reply)
    process = started("Hi", word)
    assert process.stdout is not None
    assert asked.wait(30)
    process.stdout.close()
    gone.set()
    _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (ExitCode.OK, b"")
    assert server.client_left.wait(10)


def test_an_endless_stdin_is_refused_with_little_memory(server):
    pipe = subprocess.PIPE
    process = subprocess.Popen([*RUN, "Hi"], stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0)
    assert process.stdin is not None
    most = 0
    try:
        while True:
            process.stdin.write(b"y\n" * 50_000)
            most = max(most, psutil.Process(process.pid).memory_info().rss)
    except (BrokenPipeError, psutil.NoSuchProcess):
        pass
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == ExitCode.USAGE
    assert b"more than 8 MiB" in stderr
    assert most < 200 * 1024**2
    assert not any(asked.body for asked in server.asked)


def test_a_gigabyte_is_refused_by_the_size_that_the_model_has_room_for(mlm, tmp_path: Path):
    assert mlm("download", "mlm-demo").exit_code == ExitCode.OK
    huge = tmp_path / "huge.txt"
    with huge.open("wb") as file:
        file.write(b"x" * 9 * 1024**2)
        file.truncate(1024**3)
    with huge.open("rb") as stdin:
        words = [sys.executable, "-m", "mlm", "run", "mlm-demo", "Hi"]
        done = subprocess.run(words, stdin=stdin, capture_output=True, check=False)
    assert done.returncode == ExitCode.USAGE
    assert b"more than 8 MiB" in done.stderr
    assert b"the context of mlm-demo has room for" in done.stderr


def test_a_closed_stdin_is_an_empty_one(server):
    done = in_shell("mlm run tiny Hi <&-")
    assert (done.returncode, done.stdout) == (0, b"Hello there\n")


@pytest.mark.parametrize(
    ("data", "words"),
    {
        "a scan": (b"II*\0\x08\0\0\0", "is a picture (TIFF), not text"),
        "a NUL": (b"text\0text", "is binary"),
        "a PDF": (b"%PDF-1.7 in ASCII", "is a PDF"),
        "Cyrillic of long ago": ("Привет, как дела".encode("cp1251"), "is not UTF-8"),
    }.values(),
)
def test_what_is_no_text_is_refused_in_the_same_words_from_everywhere(
    server, tmp_path: Path, data: bytes, words: str
):
    path = tmp_path / "given"
    path.write_bytes(data)
    said = []
    for source, more in (
        ("stdin", ()),
        (str(path), ("-a", str(path))),
        (str(path), ("-t", str(path))),
    ):
        process = started("Hi", *more, stdin=None if more else subprocess.PIPE)
        _, stderr = process.communicate(None if more else data, timeout=60)
        assert process.returncode == ExitCode.USAGE
        assert f"{source} {words}" in stderr.decode()
        said.append(stderr.decode().replace(source, "SOURCE"))
    assert said == said[:1] * 3
    assert not any(asked.body for asked in server.asked)


def test_a_byte_order_mark_says_how_to_read(server):
    started("Hi", stdin=subprocess.PIPE).communicate("Grüße\n".encode("utf-16"), timeout=60)
    assert question(server) == "Grüße\n\nHi"


def test_of_piped_code_every_line_keeps_its_indentation(server):
    process = started("Explain.", stdin=subprocess.PIPE)
    process.communicate(b"\n    return 1\n\treturn 2  \n\n", timeout=60)
    assert question(server) == "\n    return 1\n\treturn 2  \n\nExplain."


def test_blanks_are_no_question(server):
    process = started("  ", stdin=subprocess.PIPE)
    _, stderr = process.communicate(b" \n\t\n", timeout=60)
    assert (process.returncode, b"there is no question" in stderr) == (ExitCode.USAGE, True)


def test_a_few_bytes_that_are_not_utf_8_are_replaced_and_told(server):
    process = started("Hi", stdin=subprocess.PIPE)
    _, stderr = process.communicate("+ une chaîne de caractères".encode("latin-1"), timeout=60)
    assert process.returncode == ExitCode.OK
    assert question(server).startswith("+ une cha\ufffdne de caract\ufffdres")
    assert "2 U+FFFD" in stderr.decode()


def test_a_prompt_of_odd_bytes_is_told_too(server):
    words: list[str | bytes] = [*RUN, b"caf\xe9 or coffee, please"]
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert done.returncode == ExitCode.OK
    assert question(server) == "caf\ufffd or coffee, please"
    assert b"the prompt: not all UTF-8" in done.stderr


def test_text_outside_of_ascii_arrives_as_it_is(server):
    process = started("¿日本?", stdin=subprocess.PIPE)
    process.communicate("żółć 😀\n".encode(), timeout=60)
    assert question(server) == "żółć 😀\n\n¿日本?"


def test_ctrl_c_keeps_what_was_said(server):
    server.hesitates_after("Once upon")
    process = started("Hi")
    assert process.stdout is not None
    assert process.stdout.read(9) == b"Once upon"
    process.send_signal(signal.SIGINT)
    rest, stderr = process.communicate(timeout=60)
    assert (process.returncode, rest) == (ExitCode.INTERRUPTED, b"\n")
    assert stderr.strip() == b""
    assert server.client_left.wait(10)


@pytest.mark.parametrize(
    ("fails", "code"),
    [
        (lambda server: server.breaks_off_after("Hel", "lo"), ExitCode.NETWORK),
        (
            lambda server: server.sends(
                b'data: {"choices": [{"delta": {"content": "Hello"}}]}\n\n',
                b'event: error\ndata: {"error": {"message": "worker died of SIGSEGV"}}\n\n',
            ),
            ExitCode.ENGINE,
        ),
    ],
    ids=["connection", "worker"],
)
def test_of_an_answer_that_fails_what_has_come_is_kept(
    server, fails: Callable[[OpenAIServer], None], code: ExitCode
):
    fails(server)
    process = started("Hi")
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (code, b"Hello\n")
    assert stderr.startswith(b"error: ")

    process = started("Hi", "--json")
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (code, b"")
    assert b'"schema": "mlm.error/1"' in stdout
    assert b'"answer": "Hello"' in stdout


def test_thoughts_stay_out_of_the_pipe(server):
    server.thinks("Hm", then="Yes")
    stdout, stderr = started("Hi").communicate(timeout=60)
    assert (stdout, stderr) == (b"Yes\n", b"")

    stdout, stderr = started("Hi", "--think").communicate(timeout=60)
    assert (stdout, stderr) == (b"Yes\n", b"Hm\n\n")
    assert server.asked[-1].body["chat_template_kwargs"] == {"enable_thinking": True}


def test_files_come_first_under_their_names(server, tmp_path: Path):
    (tmp_path / "a.py").write_text("print('```')\n")
    (tmp_path / "b.txt").write_text("two\n")
    words = ("-a", str(tmp_path / "a.py"), "--attach", str(tmp_path / "b.txt"))
    process = started(*words, "explain", stdin=subprocess.PIPE)
    process.communicate(b"piped\n", timeout=60)
    assert question(server) == (
        f"{tmp_path}/a.py:\n````py\nprint('```')\n````\n\n"
        f"{tmp_path}/b.txt:\n```txt\ntwo\n```\n\npiped\n\nexplain"
    )


@pytest.mark.usefixtures("no_stdin")
def test_a_file_that_is_not_there_or_no_text(mlm, server, tmp_path: Path):
    assert mlm("run", "tiny", "Hi", "-a", tmp_path / "gone").exit_code == ExitCode.NOT_FOUND
    assert "-a FILE" in mlm("run", "tiny", "Hi", "-a", tmp_path / "gone").stderr
    (tmp_path / "program").write_bytes(b"\x7fELF\0")
    result = mlm("run", "tiny", "Hi", "-a", tmp_path / "program")
    assert result.exit_code == ExitCode.USAGE
    assert "is binary" in result.stderr
    assert not any(asked.body for asked in server.asked)
