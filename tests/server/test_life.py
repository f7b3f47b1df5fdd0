"""Starting, dying, draining, stopping."""

import json
import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
from fakes.fake_server import FAKE_SERVER, FakeServer, serving
from fakes.processes import are_gone, wait_until

from mlm.server.registry import Registry

TESTS = Path(__file__).parents[1]


def workers_of(server: FakeServer) -> list[psutil.Process]:
    return psutil.Process(server.process.pid).children(recursive=True)


def test_a_killed_worker_is_a_502_and_the_next_request_works(tmp_path: Path):
    with serving(tmp_path) as server:
        server.wait_for("Loaded")
        with ThreadPoolExecutor(1) as clients:
            asked = clients.submit(server.chat, "n=1000 pace=0.05")
            wait_until(lambda: server.resident()["active"])
            os.kill(server.resident()["pid"], signal.SIGKILL)
            reply = asked.result()
        assert reply.status == 502
        assert reply.error["code"] == "worker_crashed"
        assert "SIGKILL" in reply.error["message"]
        assert str(tmp_path) not in reply.error["message"]
        assert server.chat("n=2").text == "t0 t1 "
        assert server.resident()["crashes"] == 1


def test_the_program_itself_is_left_out_of_garbage_collections(tmp_path: Path):
    with serving(tmp_path) as server:
        assert server.wait_for("Loaded")["frozen"] > 10_000


@pytest.mark.parametrize("number", ["SIGKILL", "SIGABRT"])
def test_a_stream_whose_worker_dies_ends_with_an_error_and_no_done(tmp_path: Path, number: str):
    with serving(tmp_path, {"alpha": {}, "beta": {}}) as server:
        server.wait_for("Loaded")
        bystander = server.open_stream("n=40 pace=0.01", model="beta")
        streams = [server.open_stream(f"n=1000 pace=0.02 {i}") for i in range(4)]
        for stream in streams:
            stream.read_until("t2 ")
        os.kill(server.resident()["pid"], getattr(signal, number))
        for stream in streams:
            reply = stream.rest()
            assert reply.events[-1]["error"]["code"] == "worker_crashed"
            assert b"event: error" in reply.body
            assert not reply.done
        finished = bystander.rest()
        assert finished.done
        assert len(finished.text.split()) == 40
        assert server.chat("n=1").status == 200


def test_a_worker_that_leaves_as_if_all_were_well_has_died_all_the_same(tmp_path: Path):
    with serving(tmp_path, {"alpha": {}}) as server:
        server.wait_for("Loaded")
        stream = server.open_stream("die=exit at=2 n=9")
        reply = stream.rest()
        assert reply.events[-1]["error"]["code"] == "worker_crashed"
        assert "exit code 0" in reply.events[-1]["error"]["message"]
        assert not reply.done
        assert server.chat("n=1").status == 200
        assert server.resident()["crashes"] == 1


def test_a_worker_that_keeps_dying_is_left_alone_and_the_others_live_on(tmp_path: Path):
    with serving(tmp_path, {"alpha": {}, "beta": {}}) as server:
        server.wait_for("Loaded")
        for _ in range(3):
            assert server.chat("die=SIGSEGV").status == 502
        reply = server.chat("n=1")
        assert reply.status == 503
        assert reply.error["code"] == "worker_quarantined"
        assert "SIGSEGV" in reply.error["message"]
        assert int(reply.headers["Retry-After"]) > 200
        assert server.chat("n=1", model="beta").status == 200
        assert server.ask("GET", "/health").status == 200


def test_sigterm_lets_answers_finish_refuses_new_ones_and_exits_0(tmp_path: Path):
    with serving(tmp_path) as server:
        server.wait_for("Loaded")
        stream = server.open_stream("n=60 pace=0.01")
        stream.read_until("t1 ")
        server.process.send_signal(signal.SIGTERM)
        server.wait_for("Stopping")
        ready = server.ask("GET", "/ready")
        assert (ready.status, ready.json) == (503, {"status": "draining"})
        assert server.ask("GET", "/health").status == 200
        refused = server.chat("too late")
        assert (refused.status, refused.error["code"]) == (503, "shutting_down")
        reply = stream.rest()
        assert reply.done
        assert len(reply.text.split()) == 60
        assert server.wait() == 0
        assert Registry(tmp_path / "home" / "run").servers() == []


def test_a_second_signal_ends_streams_with_an_error_at_once(tmp_path: Path):
    with serving(tmp_path) as server:
        server.wait_for("Loaded")
        streams = [server.open_stream(f"n=10000 pace=0.05 {i}") for i in range(4)]
        for stream in streams:
            stream.read_until("t1 ")
        server.process.send_signal(signal.SIGTERM)
        server.wait_for("Stopping")
        server.process.send_signal(signal.SIGINT)
        for stream in streams:
            reply = stream.rest()
            assert reply.events[-1]["error"]["code"] == "shutting_down"
            assert not reply.done
        assert server.wait() == 0


def test_sighup_ends_nothing(tmp_path: Path):
    with serving(tmp_path) as server:
        server.wait_for("Loaded")
        server.process.send_signal(signal.SIGHUP)
        assert server.chat("n=1").status == 200
        assert server.stop(signal.SIGINT) == 0


def test_sigterm_during_a_load_stops_the_load(tmp_path: Path):
    with serving(tmp_path, {"alpha": {"load_s": 60}}) as server:
        server.wait_for("Changed", state="starting")
        ready = server.ask("GET", "/ready")
        assert (ready.status, ready.json) == (503, {"status": "loading"})
        workers = wait_until(lambda: workers_of(server))
        assert server.stop() == 0
        assert not any(worker.is_running() for worker in workers)


def test_a_private_server_ends_with_its_stdin(tmp_path: Path):
    with serving(tmp_path, private=True) as server:
        server.wait_for("Loaded")
        workers = workers_of(server)
        assert server.process.stdin is not None
        server.process.stdin.close()
        assert server.wait() == 0
        assert not any(worker.is_running() for worker in workers)


def test_a_private_server_dies_with_a_killed_parent(tmp_path: Path):
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from fakes.fake_server import serving\n"
        f"with serving(Path({str(tmp_path)!r}), private=True) as server:\n"
        "    server.wait_for('Loaded')\n"
        "    print(server.process.pid, flush=True)\n"
        "    time.sleep(60)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": f"{TESTS.parent}:{TESTS}"},
    )
    assert parent.stdout is not None
    server = psutil.Process(int(parent.stdout.readline()))
    family = [server, *server.children(recursive=True)]
    assert len(family) == 2
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_until(lambda: are_gone(family))


def test_a_model_that_cannot_be_loaded_ends_the_server_with_the_reason(tmp_path: Path):
    with serving(tmp_path, {"alpha": {"load_error": "bad magic"}}) as server:
        failed = server.wait_for("failed")
        assert failed["code"] == "engine"
        assert "bad magic" in failed["message"]
        assert server.wait() == 9


def test_a_port_in_use_is_a_conflict_that_names_its_owner(tmp_path: Path):
    with serving(tmp_path / "a") as first:
        given = {"models": {"alpha": {}}, "folder": str(tmp_path / "a"), "port": first.port}
        second = subprocess.run(
            [*FAKE_SERVER, json.dumps(given)],
            capture_output=True,
            text=True,
        )
        assert second.returncode == 10
        assert f"by process {first.process.pid}" in json.loads(second.stdout)["message"]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_nobody_listens_beyond_loopback_without_keys(tmp_path: Path, host: str):
    given = {"models": {"alpha": {}}, "folder": str(tmp_path), "host": host}
    refused = subprocess.run(
        [*FAKE_SERVER, json.dumps(given)],
        capture_output=True,
        text=True,
    )
    assert refused.returncode == 2
    assert host in json.loads(refused.stdout)["message"]


def test_with_keys_it_listens_everywhere_under_the_names_of_the_machine(tmp_path: Path):
    (tmp_path / "keys").write_text("a-good-long-key\n")
    options = {"host": "0.0.0.0", "key_file": str(tmp_path / "keys"), "allowed_hosts": ["box.lan"]}
    with serving(tmp_path, **options) as server:
        for host in ("localhost", "0.0.0.0", socket.gethostname(), "box.lan:80"):
            key = {"Host": host, "Authorization": "Bearer a-good-long-key"}
            assert server.ask("GET", "/v1/models", None, key).status == 200
        assert server.ask("GET", "/v1/models", None, {"Host": "evil.example"}).status == 403
        assert server.ask("GET", "/v1/models").status == 401
        (announced,) = Registry(tmp_path / "home" / "run").servers()
        assert announced.needs_key
        assert "a-good-long-key" not in server.log


def test_two_servers_live_in_one_home(tmp_path: Path):
    with serving(tmp_path) as first, serving(tmp_path) as second:
        for server in (first, second):
            server.wait_for("Loaded")
        found = Registry(tmp_path / "home" / "run").servers()
        assert [server.pid for server in found] == [first.process.pid, second.process.pid]

        def ask(i: int) -> int:
            return (first, second)[i % 2].chat(f"question {i // 2}", temperature=0).status

        with ThreadPoolExecutor(8) as clients:
            assert set(clients.map(ask, range(60))) == {200}
        assert first.stop() == 0
        assert second.chat("n=1").status == 200


def test_resident_models_are_announced(tmp_path: Path):
    with serving(tmp_path) as server:
        server.wait_for("Loaded")
        (announced,) = Registry(tmp_path / "home" / "run").servers()
        assert announced.url == server.url
        assert announced.models == {"alpha": str(tmp_path / "alpha.fake")}
        (resident,) = announced.resident
        assert (resident["model"], resident["state"]) == ("alpha", "ready")


def test_nothing_of_the_environment_that_is_secret_reaches_a_worker(
    tmp_path: Path, monkeypatch: Any
):
    monkeypatch.setenv("HF_TOKEN", "canary-token")
    with serving(tmp_path) as server:
        server.wait_for("Loaded")
        (worker,) = workers_of(server)
        assert "canary-token" not in str(worker.environ())
        assert "canary-token" not in str(worker.cmdline())
