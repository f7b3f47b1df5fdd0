"""Two real models where one has room: turns, pins, time limits, clients that leave."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
from fakes.mlm_serve import DEMO_MODEL, MlmServe, mlm_serve
from fakes.processes import wait_until
from fakes.result import Result

from mlm.client import Client, ContextLengthError
from mlm.errors import ConflictError, DoesNotFitError, ExitCode
from mlm.server.registry import Registry

FAST = ("--threads", "1", "--ctx", "256", "--parallel", "2")
Say = Callable[..., Result]


def two_models(folder: Path) -> list[str]:
    """Return the files of two models."""
    for name in "ab":
        shutil.copy(DEMO_MODEL, folder / f"{name}.gguf")
    return [str(folder / f"{name}.gguf") for name in "ab"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlmServe]:
    """A server of the models ``a`` and ``b`` that holds one of them at a time."""
    folder = tmp_path_factory.mktemp("two")
    with mlm_serve(folder, *two_models(folder), "--max-models", "1", *FAST) as server:
        server.wait_for("loaded")
        yield server


@pytest.fixture
def nothing_leaks() -> None:
    """The server of all tests here starts and ends workers; it takes them along in the end."""


@pytest.fixture
def client(server: MlmServe) -> Iterator[Client]:
    with Client(server.url, silence_s=30) as client:
        yield client
        for model in "ab":
            client.administer("unpin", model)


def resident(client: Client, model: str) -> dict[str, Any]:
    """Return how a model in the pool is."""
    return next(r for r in client.stats()["resident"] if r["model"] == model)


def ask(client: Client, model: str, question: str, n: int = 4) -> None:
    """Ask and wait for the whole answer."""
    with client.another() as own:
        messages = [{"role": "user", "content": question}]
        list(own.chat(messages, model=model, max_tokens=n, temperature=1))


def test_requests_that_alternate_between_two_models_load_each_once_per_batch(client: Client):
    before = {model: resident(client, model)["loads"] for model in "ab"}
    with ThreadPoolExecutor(12) as clients:
        list(clients.map(lambda i: ask(client, "ab"[i % 2], f"What is {i}?"), range(24)))
    loads = [resident(client, model)["loads"] - before[model] for model in "ab"]
    assert sum(loads) <= 6  # one for each request would be 24
    states = sorted(resident(client, model)["state"] for model in "ab")
    assert "ready" in states


def test_a_busy_model_is_neither_unloaded_nor_evicted(client: Client):
    with client.another() as own:
        messages = [{"role": "user", "content": "Tell me everything."}]
        answer = own.chat(messages, model="a", max_tokens=200, ignore_eos=True, temperature=1)
        next(answer)
        with pytest.raises(ConflictError, match="a busy model is not unloaded"):
            client.administer("unload", "a")
        list(answer)
    wait_until(lambda: resident(client, "a")["active"] == 0)
    assert client.administer("unload", "a")["state"] == "stopped"


def test_a_pinned_model_stays_and_what_needs_its_room_is_refused(client: Client):
    client.administer("load", "a")
    assert client.administer("pin", "a")["pinned"]
    with pytest.raises(DoesNotFitError, match="pinned is a"):
        ask(client, "b", "Is there room?")
    ask(client, "a", "Are you there?")
    client.administer("unpin", "a")
    ask(client, "b", "Is there room now?")
    assert resident(client, "a")["state"] == "stopped"


@pytest.mark.parametrize("state", ["queued", "loading"])
def test_a_client_that_leaves_before_its_model_is_there_leaves_nothing_behind(
    server: MlmServe, client: Client, state: str
):
    client.administer("load", "a")
    if state == "queued":
        client.administer("pin", "a")
        client.administer("unpin", "a")
        own = client.another()
        answer = own.chat(
            [{"role": "user", "content": "x"}], model="a", max_tokens=230, ignore_eos=True
        )
        next(answer)
    leaver = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=10)
    body = json.dumps({"model": "b", "prompt": "too late", "max_tokens": 1})
    leaver.request("POST", "/v1/completions", body, {"Content-Type": "application/json"})
    wait_until(lambda: resident(client, "b")["waiting"])
    assert leaver.sock is not None
    leaver.sock.shutdown(socket.SHUT_RDWR)
    leaver.close()
    wait_until(lambda: resident(client, "b")["waiting"] == 0)
    if state == "queued":
        list(answer)
        own.close()
        ask(client, "a", "Still there?")
        assert resident(client, "a")["state"] == "ready"  # nobody was evicted for a leaver
    wait_until(lambda: resident(client, "b")["state"] in ("ready", "stopped"))
    assert resident(client, "b")["active"] == 0


def test_a_model_that_nobody_uses_is_unloaded_and_comes_back_when_asked_for(tmp_path: Path):
    with mlm_serve(tmp_path, str(DEMO_MODEL), *FAST, "--ttl", "0.2s") as server:
        server.wait_for("loaded")
        with Client(server.url, silence_s=30) as client:
            wait_until(lambda: resident(client, "mlm-demo")["state"] == "stopped")
            (family,) = [psutil.Process(server.process.pid)]
            assert family.children() == []
            ask(client, "mlm-demo", "What is a slot?")
        assert server.stop() == 0


def test_sighup_takes_up_a_changed_config_and_leaves_answers_alone(mlm: Say, tmp_path: Path):
    home = tmp_path / "home"
    words = ("--home", home, "config", "generate", DEMO_MODEL, "--parallel", "1")
    assert mlm(*words, "--ctx", "1024").exit_code == ExitCode.OK
    with mlm_serve(home, str(DEMO_MODEL)) as server:
        server.wait_for("loaded")
        with Client(server.url, silence_s=30) as client, client.another() as own:
            messages = [{"role": "user", "content": "Go on."}]
            answer = own.chat(messages, model="mlm-demo", max_tokens=300, ignore_eos=True)
            next(answer)
            (config,) = (home / "config").glob("*.yaml")
            config.write_text(config.read_text().replace("n_ctx: 1024", "n_ctx: 256"))
            server.process.send_signal(signal.SIGHUP)
            log = home / "stderr"
            wait_until(lambda: "the config of mlm-demo has changed" in log.read_text())
            assert len(list(answer)) > 100
            wait_until(lambda: resident(client, "mlm-demo")["loads"] == 2)
            with pytest.raises(ContextLengthError):
                ask(client, "mlm-demo", "word " * 400)
        assert server.stop() == 0


def test_sighup_keeps_what_it_had_of_a_config_that_is_broken(mlm: Say, tmp_path: Path):
    home = tmp_path / "home"
    mlm("--home", home, "config", "generate", DEMO_MODEL, "--ctx", "256")
    (config,) = (home / "config").glob("*.yaml")
    with mlm_serve(home, str(DEMO_MODEL)) as server:
        server.wait_for("loaded")
        config.write_text("n_ctx: many\n")
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "mlm-demo stays as it is" in (home / "stderr").read_text())
        with Client(server.url, silence_s=30) as client:
            ask(client, "mlm-demo", "Still there?")


def test_a_server_in_the_background_is_listed_used_and_stopped(mlm: Say, tmp_path: Path):
    home = tmp_path / "home"
    command = [sys.executable, "-m", "mlm", "--home", str(home), "serve", str(DEMO_MODEL)]
    started = subprocess.run(
        [*command, "--port", "0", *FAST, "--detach", "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    document = json.loads(started.stdout)
    server = psutil.Process(document["pid"])
    try:
        assert (document["schema"], document["models"]) == ("mlm.serve/1", ["mlm-demo"])
        assert os.getsid(server.pid) == server.pid  # no terminal takes it along
        (listed,) = mlm("--home", home, "ps", "--json").json["servers"]
        assert (listed["pid"], listed["url"]) == (document["pid"], document["url"])
        assert listed["resident"][0]["config"]["n_parallel"] == 2
        with Client(document["url"], silence_s=30) as client:
            ask(client, "mlm-demo", "What is a slot?")
        assert '"event": "loaded"' in Path(document["log"]).read_text()
        assert mlm("--home", home, "stop", "--json").json["stopped"] == [server.pid]
        assert Registry(home / "run").servers() == []
    finally:
        if server.is_running():
            server.kill()


def test_what_keeps_a_server_in_the_background_from_starting_is_the_exit_code(
    mlm: Say, tmp_path: Path
):
    home = tmp_path / "home"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        busy = mlm("--home", home, "serve", "--port", port, "--detach")
    assert busy.exit_code == ExitCode.CONFLICT
    assert f"port {port} is in use" in busy.stderr
    assert list((home / "logs").iterdir()) == []
    assert Registry(home / "run").servers() == []
