"""``mlm load``, ``unload``, ``pin`` and ``unpin``, and what ``mlm ps`` shows of them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fakes.fake_server import FakeServer, serving
from fakes.processes import wait_until
from fakes.result import Result

from mlm.errors import ExitCode

Say = Callable[..., Result]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeServer]:
    models = {"alpha": {}, "beta": {"size": 6 * 1024**3}, "gamma": {"size": 6 * 1024**3}}
    with serving(tmp_path_factory.mktemp("running"), models, ttl_s=3590) as server:
        server.wait_for("Loaded")
        yield server


@pytest.fixture
def nothing_leaks() -> None:
    """The server of all tests here starts and ends workers; it takes them along in the end."""


@pytest.fixture
def say(mlm: Say, running: FakeServer) -> Iterator[Say]:
    """Run a command in the home of the server, and leave nothing pinned."""
    home = running.home / "home"
    yield lambda *words: mlm("--home", home, *words)
    for model in ("alpha", "beta", "gamma"):
        mlm("--home", home, "unpin", model)


@pytest.mark.parametrize("action", ["load", "unload", "pin", "unpin"])
def test_without_a_server_there_is_nothing_to_do_it_with(mlm: Say, action: str):
    result = mlm(action, "alpha")
    assert result.exit_code == ExitCode.NOT_FOUND
    assert "hint: mlm serve REF" in result.stderr


@pytest.mark.parametrize("action", ["load", "unload", "pin", "unpin"])
def test_an_unknown_model_is_not_found(say: Say, action: str):
    result = say(action, "alhpa", "--json")
    assert result.exit_code == ExitCode.NOT_FOUND
    assert "alpha" in result.json["error"]["message"]


def test_a_model_is_unloaded_and_loaded(say: Say, running: FakeServer):
    gone = say("unload", "alpha", "--json").json
    assert gone["schema"] == "mlm.unload/1"
    assert (gone["pid"], gone["url"]) == (running.process.pid, running.url)
    assert (gone["model"]["model"], gone["model"]["state"]) == ("alpha", "stopped")
    assert say("unload", "alpha").stdout == f"alpha is not loaded at {running.url}\n"
    assert say("load", "alpha", "--json").json["model"]["state"] == "ready"
    assert say("load", "alpha").stdout == f"alpha is loaded at {running.url}\n"
    assert running.resident()["state"] == "ready"


def test_a_busy_model_is_not_unloaded(say: Say, running: FakeServer):
    stream = running.open_stream("n=10000 pace=0.01")
    stream.read_until("t1 ")
    result = say("unload", "alpha")
    assert result.exit_code == ExitCode.CONFLICT
    assert "has 1 request" in result.stderr
    assert "hint: `mlm ps`" in result.stderr
    assert "ready, 1 active" in say("ps").stdout.replace("\n", " ")
    stream.leave()
    wait_until(lambda: running.resident()["active"] == 0)
    assert say("unload", "alpha").exit_code == ExitCode.OK


def test_a_pinned_model_is_not_unloaded_until_it_is_unpinned(say: Say):
    say("load", "alpha")
    assert say("pin", "alpha", "--json").json["model"]["pinned"] is True
    refused = say("unload", "alpha")
    assert refused.exit_code == ExitCode.CONFLICT
    assert "hint: mlm unpin alpha" in refused.stderr
    assert say("unpin", "alpha", "--json").json["model"]["pinned"] is False
    assert say("unload", "alpha").exit_code == ExitCode.OK


def test_what_does_not_fit_beside_pinned_models_is_refused_with_the_arithmetic(say: Say):
    say("load", "beta")
    say("pin", "beta")
    refused = say("load", "gamma")
    assert refused.exit_code == ExitCode.DOES_NOT_FIT
    assert "6.00 GiB of the 2.00 GiB that they leave" in refused.stderr.replace("\n", " ")
    assert "hint: mlm unpin beta" in refused.stderr
    say("unpin", "beta")
    assert say("load", "gamma").exit_code == ExitCode.OK


def test_ps_shows_what_is_pinned_and_when_the_others_go(say: Say):
    say("load", "alpha")
    assert "goes in 59m" in say("ps").stdout.replace("\n", " ")
    say("pin", "alpha")
    assert "ready, pinned" in say("ps").stdout
    (server,) = say("ps", "--json").json["servers"]
    (alpha,) = [model for model in server["resident"] if model["model"] == "alpha"]
    assert (alpha["pinned"], alpha["ttl_s"]) == (True, 3590)
    assert alpha["idle_s"] >= 0


def test_with_several_servers_the_one_that_serves_the_model_is_meant(mlm: Say, tmp_path: Path):
    home = tmp_path / "home"
    with (
        serving(tmp_path, {"alpha": {}, "both": {}}) as first,
        serving(tmp_path, {"beta": {}, "both": {}}) as second,
    ):
        for server in (first, second):
            server.wait_for("Loaded")
        assert mlm("--home", home, "unload", "beta", "--json").json["pid"] == second.process.pid
        vague = mlm("--home", home, "unload", "both")
        assert vague.exit_code == ExitCode.USAGE
        assert f"hint: mlm unload both --pid {first.process.pid}" in vague.stderr
        chosen = mlm("--home", home, "unload", "both", "--pid", second.process.pid, "--json")
        assert chosen.json["pid"] == second.process.pid
        unknown = mlm("--home", home, "unload", "both", "--pid", "99999999")
        assert unknown.exit_code == ExitCode.NOT_FOUND


def test_who_started_a_server_with_keys_needs_none(mlm: Say, tmp_path: Path):
    key_file = tmp_path / "key"
    key_file.write_text("a-good-long-key\n")
    with serving(tmp_path, key_file=str(key_file)) as server:
        server.wait_for("Loaded")
        assert server.ask("POST", "/admin/unload", {"model": "alpha"}).status == 401
        home = tmp_path / "home"
        assert mlm("--home", home, "pin", "alpha").exit_code == ExitCode.OK
        assert "ready, pinned" in mlm("--home", home, "ps").stdout
        for left in (home / "run").glob("*.key"):
            left.unlink()
        refused = mlm("--home", home, "unpin", "alpha")
        assert refused.exit_code == ExitCode.AUTH
