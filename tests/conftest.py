"""Every test runs in a house of its own: no network, no user settings, nothing left behind."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from fakes.hub import FakeHub
from fakes.openai_server import OpenAIServer, serving_openai
from fakes.result import Result
from hypothesis import HealthCheck, settings

from mlm.cli.app import run

# How long examples take to draw or to try says how busy the machine is, and no more.
settings.register_profile("busy", suppress_health_check=[HealthCheck.too_slow], deadline=None)
settings.load_profile("busy")

ENVIRONMENT_OF_MLM = ("MLM_", "HF_", "HUGGING", "XDG_", "NVIDIA_", "CUDA_", "HTTP", "ALL_PROXY")


@pytest.fixture(scope="session", autouse=True)
def isolated_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what outlives a test, as a server for a whole module, away from the user's models."""
    with pytest.MonkeyPatch.context() as environment:
        for name in ("MLM_HOME", "HF_HOME"):
            environment.setenv(name, str(tmp_path_factory.mktemp("nobody") / name))
        environment.delenv("HF_HUB_CACHE", raising=False)
        yield


@pytest.fixture(autouse=True)
def isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the test its own home, cache and environment; the hub is a closed port."""
    for name in list(os.environ):
        if name.upper().startswith(ENVIRONMENT_OF_MLM):
            monkeypatch.delenv(name)
    monkeypatch.setenv("MLM_HOME", str(tmp_path / "mlm-home"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf-home"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TZ", "UTC")


@pytest.fixture(autouse=True)
def nothing_leaks() -> Iterator[None]:
    """Fail a test that leaves a process behind."""
    before = set(psutil.Process().children(recursive=True))
    yield
    left = [child for child in psutil.Process().children(recursive=True) if child not in before]
    _, alive = psutil.wait_procs(left, timeout=3)
    described = [" ".join(child.cmdline()) for child in alive if child.is_running()]
    for child in alive:
        child.kill()
    assert not described, f"the test left processes behind: {described}"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The test's MLM_HOME."""
    return tmp_path / "mlm-home"


@pytest.fixture
def hub_cache(tmp_path: Path) -> Path:
    """The test's Hugging Face cache, where model files land."""
    return tmp_path / "hf-home" / "hub"


@pytest.fixture
def openai_server() -> Iterator[OpenAIServer]:
    """A scripted OpenAI-compatible server; each test tells it what to answer."""
    with serving_openai() as server:
        yield server


@pytest.fixture
def mlm(capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Run a command in this process: ``mlm("download", "tiny").exit_code``."""

    def run_command(*words: str | Path) -> Result:
        capsys.readouterr()
        code = run([str(word) for word in words])
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return run_command


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A fake Hugging Face hub, which is also the configured endpoint."""
    with FakeHub() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.endpoint)
        yield running
