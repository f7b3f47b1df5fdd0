"""``mlm stop``: ending servers."""

from pathlib import Path

from fakes.fake_server import serving

from mlm.errors import ExitCode


def test_nothing_to_stop_is_not_found(mlm):
    assert mlm("stop").exit_code == ExitCode.NOT_FOUND
    assert mlm("stop", "12345678").exit_code == ExitCode.NOT_FOUND
    assert mlm("stop", "--all").stdout == "nothing to stop\n"


def test_the_only_server_is_stopped_once_its_answers_are_complete(mlm, tmp_path: Path):
    with serving(tmp_path) as server:
        server.wait_for("Loaded")
        stream = server.open_stream("n=40 pace=0.01")
        stream.read_until("t1 ")
        result = mlm("--home", tmp_path / "home", "stop")
        assert result.exit_code == ExitCode.OK
        assert result.stdout == f"stopped {server.process.pid} at {server.url}\n"
        assert server.process.wait(timeout=5) == 0
        assert stream.rest().done


def test_now_does_not_wait_for_answers(mlm, tmp_path: Path):
    with serving(tmp_path) as server:
        server.wait_for("Loaded")
        stream = server.open_stream("n=10000 pace=0.05")
        stream.read_until("t1 ")
        assert mlm("--home", tmp_path / "home", "stop", "--now").exit_code == ExitCode.OK
        assert server.process.wait(timeout=5) == 0
        assert not stream.rest().done


def test_with_several_servers_one_must_be_named(mlm, tmp_path: Path):
    home = tmp_path / "home"
    with serving(tmp_path) as first, serving(tmp_path) as second:
        for server in (first, second):
            server.wait_for("Loaded")
        vague = mlm("--home", home, "stop")
        assert vague.exit_code == ExitCode.USAGE
        assert str(first.process.pid) in vague.stderr
        named = mlm("--home", home, "stop", first.process.pid, "--json")
        assert named.json["stopped"] == [first.process.pid]
        assert second.process.poll() is None
        assert mlm("--home", home, "stop", "--all").exit_code == ExitCode.OK
        assert second.process.wait(timeout=5) == 0


def test_a_private_server_is_stopped_only_when_it_is_meant(mlm, tmp_path: Path):
    with serving(tmp_path, private=True) as server:
        server.wait_for("Loaded")
        home = tmp_path / "home"
        assert mlm("--home", home, "stop").exit_code == ExitCode.NOT_FOUND
        assert "*" in mlm("--home", home, "ps").stdout
        assert mlm("--home", home, "stop", server.process.pid).exit_code == ExitCode.OK
