"""``mlm run -o FILE``: the whole answer, or no file of that name."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from fakes.openai_server import OpenAIServer

from mlm.errors import ExitCode

pytestmark = pytest.mark.usefixtures("warm_home", "no_stdin")


@pytest.fixture
def server(openai_server: OpenAIServer, home: Path) -> OpenAIServer:
    openai_server.announce(home)
    return openai_server


@pytest.fixture
def target(tmp_path: Path) -> Path:
    folder = tmp_path / "answers"
    folder.mkdir()
    return folder / "answer.txt"


def test_the_answer_becomes_the_file_and_nothing_else_is_printed(mlm, server, target: Path):
    result = mlm("run", "tiny", "Hi", "-o", target)
    assert (result.exit_code, result.stdout, result.stderr) == (ExitCode.OK, "", "")
    assert target.read_text() == "Hello there\n"
    assert list(target.parent.iterdir()) == [target]
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(target.stat().st_mode) == 0o666 & ~umask


def test_json_and_documents_can_be_files_too(mlm, server, target: Path):
    server.says('{"a": 1}')
    mlm("run", "tiny", "Hi", "-o", target, "--schema", "a int")
    assert target.read_text() == '{"a": 1}\n'
    mlm("run", "tiny", "Hi", "-o", target, "--json", "--force")
    assert '"schema": "mlm.run/1"' in target.read_text()


def test_a_file_holds_what_a_pipe_would(mlm, server, target: Path):
    server.says("a\x1b[31mb")
    mlm("run", "tiny", "Hi", "-o", target)
    assert target.read_text() == "ab\n"
    mlm("run", "tiny", "Hi", "-o", target, "--raw", "--force")
    assert target.read_text() == "a\x1b[31mb"


def test_a_file_that_is_there_stays_unless_it_may_go(mlm, server, target: Path):
    target.write_text("precious")
    result = mlm("run", "tiny", "Hi", "-o", target)
    assert result.exit_code == ExitCode.CONFLICT
    assert "--force" in result.stderr
    assert target.read_text() == "precious"
    assert not any(asked.body for asked in server.asked)
    assert mlm("run", "tiny", "Hi", "-o", target, "--force").exit_code == ExitCode.OK
    assert target.read_text() == "Hello there\n"


def test_a_file_that_comes_meanwhile_is_not_lost_either(mlm, server, target: Path):
    says = server.told

    def reply(connection) -> None:
        target.write_text("precious")
        says(connection)

    server.does(reply)
    result = mlm("run", "tiny", "Hi", "-o", target)
    assert result.exit_code == ExitCode.CONFLICT
    assert target.read_text() == "precious"
    (kept,) = set(target.parent.iterdir()) - {target}
    assert kept.read_text() == "Hello there\n"
    assert kept.name in result.stderr


def test_an_answer_that_breaks_off_gets_another_name(mlm, server, target: Path):
    target.write_text("precious")
    server.breaks_off_after("Hel", "lo")
    result = mlm("run", "tiny", "Hi", "-o", target, "--force")
    assert result.exit_code == ExitCode.NETWORK
    assert target.read_text() == "precious"
    (kept,) = set(target.parent.iterdir()) - {target}
    assert kept.read_text() == "Hello\n"
    assert kept.name in result.stderr


def test_ctrl_c_leaves_no_half_answer_under_the_name(server, target: Path):
    server.hesitates_after("Once upon")
    words = [sys.executable, "-m", "mlm", "run", "tiny", "Hi", "-o", str(target)]
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert server.hesitates.wait(30)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == ExitCode.INTERRUPTED
    assert not target.exists()
    assert b"Traceback" not in stderr


def test_a_failure_without_a_word_leaves_nothing(mlm, server, target: Path):
    server.refuses(502, {"error": {"message": "worker died of SIGSEGV"}})
    assert mlm("run", "tiny", "Hi", "-o", target).exit_code == ExitCode.ENGINE
    assert list(target.parent.iterdir()) == []


def test_a_failure_with_json_is_on_stdout(mlm, server, target: Path):
    server.breaks_off_after("Hel")
    result = mlm("run", "tiny", "Hi", "-o", target, "--json")
    assert result.json["answer"] == "Hel"
    assert list(target.parent.iterdir()) == []


def test_a_file_that_is_written_over_keeps_who_may_read_it(mlm, server, target: Path):
    for mode in (0o600, 0o664):
        target.write_text("secret")
        target.chmod(mode)
        assert mlm("run", "tiny", "Hi", "-o", target, "--force").exit_code == ExitCode.OK
        assert target.read_text() == "Hello there\n"
        assert stat.S_IMODE(target.stat().st_mode) == mode


def test_half_an_answer_is_no_more_public_than_the_whole(mlm, server, target: Path):
    target.write_text("secret")
    target.chmod(0o600)
    server.breaks_off_after("Hel", "lo")
    mlm("run", "tiny", "Hi", "-o", target, "--force")
    (kept,) = set(target.parent.iterdir()) - {target}
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_a_name_may_be_as_long_as_the_file_system_allows(mlm, server, target: Path):
    for name in ("x" * 255, "ż" * 127, "日" * 85, "😀" * 63):
        long = target.with_name(name)
        assert mlm("run", "tiny", "Hi", "-o", long).exit_code == ExitCode.OK
        assert long.read_text() == "Hello there\n"
    assert len(list(target.parent.iterdir())) == 4


def test_a_link_stays_a_link(mlm, server, target: Path):
    link = target.with_name("latest.txt")
    link.symlink_to(target.name)
    assert mlm("run", "tiny", "Hi", "-o", link).exit_code == ExitCode.OK
    assert link.is_symlink()
    assert target.read_text() == "Hello there\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_has_its_exit_code(mlm, server):
    assert mlm("run", "tiny", "Hi", "-o", "/dev/full").exit_code == ExitCode.DISK_SPACE


def test_what_cannot_be_a_file_is_said_before_anybody_is_asked(mlm, server, target: Path):
    for path in (target.parent, target / "below", target.parent / "gone" / "x", Path("x" * 300)):
        result = mlm("run", "tiny", "Hi", "-o", path)
        assert result.exit_code == ExitCode.USAGE, path
        assert result.stdout == ""
    assert not any(asked.body for asked in server.asked)
    missing = target.parent / "gone" / "x"
    assert f"mkdir -p {missing.parent}" in mlm("run", "tiny", "Hi", "-o", missing).stderr
