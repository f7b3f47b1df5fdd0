"""A server for one command: found, or started and stopped."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from fakes.mlm_serve import DEMO_MODEL, mlm_serve
from fakes.processes import are_gone, wait_until

from mlm.cli._overrides import to_flags
from mlm.cli._serving import connect
from mlm.cli._session import Session
from mlm.client import Client, Finished
from mlm.errors import AuthError, ExitCode, MlmError, NetworkError, NotFoundError
from mlm.planning.overrides import Overrides
from mlm.server.registry import Registry
from mlm.settings import Settings

pytestmark = pytest.mark.usefixtures("warm_home")

ONE_THREAD = Overrides(n_threads=1)


@pytest.fixture
def session(home: Path) -> Session:
    return Session(settings=Settings.from_environment(home=home), quiet=True)


def test_without_a_server_one_is_started_and_stopped_at_the_end(session: Session, home: Path):
    with connect(session, str(DEMO_MODEL), ONE_THREAD) as (client, model_id):
        assert model_id == "mlm-demo"
        (server,) = Registry(home / "run").servers()
        assert server.private
        events = list(client.chat([{"role": "user", "content": "What is mlm?"}], model=model_id))
        assert isinstance(events[-1], Finished)
        family = [psutil.Process(server.pid), *psutil.Process(server.pid).children()]
    assert not any(process.is_running() for process in family)
    assert Registry(home / "run").servers() == []
    assert [path.name for path in (home / "logs").iterdir()] == ["mlm-demo.log"]


def test_a_running_server_that_has_the_file_is_used(session: Session, home: Path, tmp_path: Path):
    with mlm_serve(home) as server:
        server.wait_for("loaded")
        (tmp_path / "elsewhere").symlink_to(DEMO_MODEL.parent)
        for ref in ("mlm-demo", str(DEMO_MODEL), str(tmp_path / "elsewhere" / DEMO_MODEL.name)):
            with connect(session, ref) as (client, model_id):
                assert (client.base_url, model_id) == (server.url, "mlm-demo")
        assert server.process.poll() is None


def test_with_overrides_a_private_server_is_started(session: Session, home: Path):
    with mlm_serve(home) as server:
        server.wait_for("loaded")
        overrides = Overrides(n_ctx_slot=256, n_threads=1)
        with connect(session, str(DEMO_MODEL), overrides) as (client, _):
            assert client.base_url != server.url


def test_a_server_with_keys_is_used_by_who_runs_it(session: Session, home: Path, tmp_path: Path):
    (tmp_path / "keys").write_text("a-good-long-key")
    words = ("--api-key-file", str(tmp_path / "keys"), "--threads", "1", str(DEMO_MODEL))
    with mlm_serve(home, *words) as server:
        server.wait_for("loaded")
        with connect(session, str(DEMO_MODEL)) as (client, model_id):
            assert (client.base_url, client.models()) == (server.url, (model_id,))
        for key in (home / "run").glob("*.key"):
            key.unlink()  # as for another user, who cannot read it
        with connect(session, str(DEMO_MODEL)) as (client, _):
            assert client.base_url != server.url


def test_a_private_server_answers_nobody_else(session: Session):
    with connect(session, str(DEMO_MODEL), ONE_THREAD) as (client, _):
        for key in (None, "a-good-long-key"):
            with Client(client.base_url, key) as stranger, pytest.raises(AuthError):
                stranger.models()


def test_a_server_that_was_killed_is_not_used(session: Session, home: Path):
    with mlm_serve(home) as server:
        server.wait_for("loaded")
        server.stop(signal.SIGKILL)
    with connect(session, str(DEMO_MODEL)) as (client, _):
        assert client.base_url != server.url


def test_the_error_of_the_server_becomes_our_own(session: Session, home: Path, tmp_path: Path):
    with (
        pytest.raises(MlmError, match="no-such-model") as caught,
        connect(session, "no-such-model"),
    ):
        pass
    assert (caught.value.exit_code, caught.value.code) == (ExitCode.NOT_FOUND, "not_found")
    assert caught.value.remedy == "mlm list, or mlm catalog list"
    (tmp_path / "bad.gguf").write_bytes(b"GGUF" + b"\xff" * 1000)
    with pytest.raises(MlmError) as caught, connect(session, str(tmp_path / "bad.gguf")):
        pass
    assert caught.value.exit_code == ExitCode.INTEGRITY
    assert list((home / "logs").iterdir()) == []


def test_the_log_of_a_server_that_died_is_kept(session: Session, home: Path):
    with connect(session, str(DEMO_MODEL), ONE_THREAD) as (client, model_id):
        (server,) = Registry(home / "run").servers()
        os.kill(server.pid, signal.SIGKILL)
        with pytest.raises(NetworkError):
            list(client.chat([{"role": "user", "content": "Hello"}], model=model_id))
    assert (home / "logs" / f"private-{os.getpid()}.log").exists()


def test_a_command_that_is_killed_takes_its_server_and_worker_with_it(home: Path):
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from mlm.cli._serving import connect\n"
        "from mlm.cli._session import Session\n"
        "from mlm.settings import Settings\n"
        f"settings = Settings.from_environment(home=Path({str(home)!r}))\n"
        f"with connect(Session(settings, True), {str(DEMO_MODEL)!r}):\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(60)\n"
    )
    command = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert command.stdout is not None
    assert command.stdout.readline() == "ready\n"
    family = psutil.Process(command.pid).children(recursive=True)
    assert len(family) >= 2
    command.kill()
    command.communicate()
    wait_until(lambda: are_gone(family))
    assert Registry(home / "run").servers() == []


def test_overrides_survive_the_way_over_the_command_line():
    assert to_flags(Overrides()) == []
    overrides = Overrides(
        n_ctx_slot=512,
        n_parallel=2,
        n_threads=1,
        n_batch=256,
        n_ubatch=128,
        type_k="q8_0",
        type_v="f16",
        n_gpu_layers="all",
        flash_attn="on",
        response_cache="off",
    )
    assert to_flags(overrides) == [
        *("--ctx", "512", "--parallel", "2", "--threads", "1", "--batch", "256"),
        *("--ubatch", "128", "--type-k", "q8_0", "--type-v", "f16", "--gpu-layers", "all"),
        *("--flash-attn", "on", "--response-cache", "off"),
    ]


def test_a_model_that_is_gone_is_not_found(session: Session):
    with pytest.raises(MlmError) as caught, connect(session, "./gone.gguf"):
        pass
    assert caught.value.exit_code == NotFoundError.exit_code


def test_a_name_that_begins_with_a_dash_is_no_option(session: Session, home: Path, monkeypatch):
    with pytest.raises(MlmError, match="--json") as caught, connect(session, "--json"):
        pass
    assert caught.value.exit_code == ExitCode.USAGE
    copy = home.parent / "-dash.gguf"
    shutil.copyfile(DEMO_MODEL, copy)
    monkeypatch.chdir(home.parent)
    with connect(session, "-dash.gguf", ONE_THREAD) as (_, model_id):
        assert model_id == "-dash"


def test_a_home_that_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("")
    settings = Settings.from_environment(home=tmp_path / "file" / "home")
    homeless = Session(settings=settings, quiet=True)
    with (
        pytest.raises(MlmError, match=r"cannot write .*/file/home") as caught,
        connect(homeless, str(DEMO_MODEL), ONE_THREAD),
    ):
        pass
    assert caught.value.exit_code == ExitCode.USAGE
