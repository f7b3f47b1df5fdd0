"""Having a model loaded, unloaded, pinned and unpinned over HTTP."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes.fake_server import FakeServer, Reply, serving
from fakes.processes import wait_until

GIB = 1024**3
ACTIONS = ("load", "unload", "pin", "unpin")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeServer]:
    models = {
        "alpha": {"size": 3 * GIB},
        "slow": {"load_s": 0.4, "installed": True},
        "broken": {"load_error": "bad magic", "installed": True},
        "huge": {"size": 9 * GIB, "installed": True},
    }
    with serving(tmp_path_factory.mktemp("admin"), models) as server:
        server.wait_for("Loaded")
        yield server


@pytest.fixture
def nothing_leaks() -> None:
    """The server of all tests here starts and ends workers; it takes them along in the end."""


def do(server: FakeServer, action: str, model: Any, **headers: str) -> Reply:
    return server.ask("POST", f"/admin/{action}", {"model": model}, headers)


def test_each_answers_with_the_state_of_the_model(server: FakeServer):
    loaded = do(server, "load", "alpha").json
    (in_stats,) = (r for r in server.stats()["resident"] if r["model"] == "alpha")
    assert set(loaded) == set(in_stats) - {"work", "process"}
    assert (loaded["state"], loaded["pinned"], loaded["ttl_s"]) == ("ready", False, None)
    assert do(server, "pin", "alpha").json["pinned"] is True
    assert do(server, "unpin", "alpha").json["pinned"] is False
    gone = do(server, "unload", "alpha").json
    assert (gone["state"], gone["pid"], gone["idle_s"]) == ("stopped", None, None)


def test_loading_answers_when_the_model_is_loaded(server: FakeServer):
    assert do(server, "load", "slow").json["state"] == "ready"
    do(server, "unload", "slow")


def test_what_cannot_be_loaded_says_why(server: FakeServer):
    broken = do(server, "load", "broken")
    assert (broken.status, broken.error["code"]) == (503, "load_failed")
    assert "bad magic" in broken.error["message"]
    huge = do(server, "load", "huge")
    assert (huge.status, huge.error["code"]) == (503, "does_not_fit")
    assert "9.00 GiB of 8.00 GiB" in huge.error["message"]


def test_a_pinned_model_that_is_not_loaded_stays_once_it_is(server: FakeServer):
    do(server, "unload", "slow")
    assert do(server, "pin", "slow").json["state"] == "stopped"
    assert server.chat("n=1", model="slow").status == 200
    assert do(server, "unload", "slow").error["code"] == "model_pinned"
    do(server, "unpin", "slow")


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize(
    "body", [None, {}, {"model": 5}, {"model": None}, {"model": ["alpha"]}, [], "alpha"]
)
def test_a_body_that_makes_no_sense_is_400(server: FakeServer, action: str, body: Any):
    reply = server.ask("POST", f"/admin/{action}", body)
    assert (reply.status, reply.error["code"]) == (400, "invalid_request_error")


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("name", ["nobody", "../alpha", "", "x" * 200, "a\u202eb"])
def test_an_unknown_model_is_404(server: FakeServer, action: str, name: str):
    reply = do(server, action, name)
    assert (reply.status, reply.error["code"]) == (404, "model_not_found")


@pytest.mark.parametrize("action", ACTIONS)
def test_a_page_needs_the_header_that_no_other_site_can_send(server: FakeServer, action: str):
    own = server.url
    assert do(server, action, "nobody", Origin=own).status == 403
    assert do(server, action, "nobody", Origin=own, **{"X-Mlm": "1"}).status == 404
    assert do(server, action, "nobody", Origin="http://evil.example").status == 403
    assert server.ask("GET", f"/admin/{action}").status == 405


def test_two_who_load_the_same_model_share_the_load(server: FakeServer):
    before = do(server, "unpin", "slow").json["loads"]
    do(server, "unload", "slow")
    streams = [server.open_stream(f"n=1 {i}", model="slow") for i in range(3)]
    assert do(server, "load", "slow").json["loads"] == before + 1
    assert all(stream.rest().done for stream in streams)


def test_pinned_models_are_loaded_first_and_stay(tmp_path: Path):
    models = {"alpha": {}, "beta": {}, "gamma": {"installed": True}}
    with serving(tmp_path, models, max_models=1, pinned=["beta"]) as server:
        assert server.wait_for("Loaded")["model_ids"] == ["beta"]
        refused = server.chat("n=1", model="gamma")
        assert (refused.status, refused.error["code"]) == (503, "does_not_fit")
        assert refused.error["remedy"] == "mlm unpin beta"
        assert server.chat("n=1", model="beta").status == 200


def test_pinned_models_that_do_not_fit_together_end_the_server(tmp_path: Path):
    models = {"alpha": {"size": 5 * GIB}, "beta": {"size": 5 * GIB}}
    with serving(tmp_path, models, pinned=["alpha", "beta"]) as server:
        assert "beta does not fit" in server.wait_for("failed")["message"]
        assert server.wait() == 4


def test_what_is_announced_says_what_is_pinned(tmp_path: Path):
    with serving(tmp_path) as server:
        server.wait_for("Loaded")
        do(server, "pin", "alpha")
        (announced,) = (tmp_path / "home" / "run").glob("*.json")
        wait_until(lambda: '"pinned": true' in announced.read_text())
        assert [e["state"] for e in server.events if e["kind"] == "Changed"][-1] == "ready"
        assert sum(e.get("state") == "ready" for e in server.events) == 1


def test_a_draining_server_loads_nothing(tmp_path: Path):
    with serving(tmp_path, {"alpha": {}, "beta": {"installed": True}}) as server:
        server.wait_for("Loaded")
        stream = server.open_stream("n=60 pace=0.01")
        stream.read_until("t1 ")
        server.process.terminate()
        server.wait_for("Stopping")
        assert do(server, "load", "beta").error["code"] == "shutting_down"
        assert stream.rest().done
        assert server.wait() == 0
