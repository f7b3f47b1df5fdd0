"""``mlm setup`` takes a new machine all the way to an answer, and may be run again at any time."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
from fakes import gguf_files
from fakes.hub import FakeHub, File
from fakes.web import Page, Web, serving_web

from mlm.errors import ExitCode
from mlm.planning.config_file import config_path

pytestmark = pytest.mark.usefixtures("warm_home")

DEMO = """\
models:
- model: mlm-demo
  config: {n_ctx_slot: 512, n_parallel: 1}
  smoke: {prompt: What is mlm?, expect: MLM}
"""
REPO, REF = "org/llama-GGUF", "org/llama-GGUF:Q8_0"
LLAMA = File("llama.Q8_0.gguf", gguf_files.llama().encode())


@pytest.fixture
def engine_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the installed engine as it is: whether it works is tested where it is built."""
    monkeypatch.setattr("mlm.engine.install.ensure_engine", lambda *_, **__: InstalledEngine)


class InstalledEngine:
    version = version("llama-cpp-python")


@pytest.fixture
def models_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take it that models answer: that they do is tested with a real one."""
    said = {"prompt": "?", "answer": "!", "completion_tokens": 1, "decode_tps": 9.5}
    monkeypatch.setattr("mlm.cli._smoke.ask_model", lambda *_: said)


@pytest.fixture
def web() -> Iterator[Web]:
    with serving_web() as server:
        yield server


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.mark.slow
def test_the_demo_model_answers_on_a_new_machine_and_so_it_does_again(mlm, write, home):
    lock = write(DEMO)
    document = mlm("setup", "mlm.yaml", "--json").json
    assert (document["schema"], document["ok"]) == ("mlm.setup/1", True)
    (model,) = document["models"]
    assert "mlm" in model["smoke"]["answer"]
    assert model["files"][0]["status"] == "downloaded"
    assert document["engine"]["installed"] == version("llama-cpp-python")
    assert lock.exists()
    assert config_path(home / "config", "mlm-demo").exists()

    written = {
        path: path.stat().st_mtime_ns for path in (lock, config_path(home / "config", "mlm-demo"))
    }
    again = mlm("setup", "mlm.lock", "--json").json
    assert (again["ok"], again["models"][0]["status"]) == (True, "unchanged")
    assert {path: path.stat().st_mtime_ns for path in written} == written


@pytest.mark.usefixtures("engine_is_right")
class TestWithoutTryingTheEngine:
    def test_an_answer_without_the_expected_words_fails_but_is_reported(self, mlm, write):
        write(DEMO.replace("expect: MLM", "expect: pineapple"))
        result = mlm("setup", "mlm.yaml", "--json")
        assert result.exit_code == ExitCode.GATE_FAILED
        document = result.json
        assert (document["ok"], document["models"][0]["ok"]) == (False, False)
        assert document["errors"][0]["code"] == "wrong_answer"
        assert "pineapple" in document["errors"][0]["message"]

    @pytest.mark.slow
    def test_a_model_that_cannot_be_run_does_not_keep_the_others(self, mlm, hub: FakeHub, write):
        hub.add(REPO, LLAMA)  # a header that can be planned for, and weights of nothing
        write(DEMO + f"- model: {REF}\n  smoke: {{expect: sense}}\n")
        result = mlm("setup", "mlm.yaml", "--json")
        assert result.exit_code != ExitCode.OK
        assert {model["model"]: model["ok"] for model in result.json["models"]} == {
            "mlm-demo": True,
            REF: False,
        }

    @pytest.mark.usefixtures("models_answer")
    def test_people_get_a_table(self, mlm, write):
        write(DEMO)
        result = mlm("setup", "mlm.yaml")
        assert result.stdout.endswith("ready\n")
        assert "downloaded" in result.stdout
        assert "9.5" in result.stdout

    @pytest.mark.parametrize(
        ("demand", "words"),
        [("memory: 900TiB", "900 TiB are demanded"), ("accelerator: metal", "metal is demanded")],
    )
    def test_a_machine_that_is_too_small_is_told_before_anything_is_fetched(
        self, mlm, write, hub_cache, demand, words
    ):
        lock = write(f"hardware: {{{demand}}}\n{DEMO}")
        result = mlm("setup", "mlm.yaml")
        assert result.exit_code == ExitCode.DOES_NOT_FIT
        assert words in result.stderr
        assert not hub_cache.exists()
        assert not lock.exists()

    def test_a_lock_that_does_not_match_is_drift(self, mlm, write):
        write(DEMO)
        mlm("lock")
        write(DEMO.replace("512", "256"))
        assert mlm("setup", "mlm.yaml").exit_code == ExitCode.GATE_FAILED

    @pytest.mark.usefixtures("models_answer")
    def test_a_lock_from_the_web_pins_everything(self, mlm, write, web, home):
        lock = write(DEMO)
        mlm("lock")
        web.pages["/box/mlm.lock"] = Page(lock.read_bytes())
        web.pages["/box/mlm.yaml"] = Page(DEMO.encode())
        words = ("setup", f"{web.url}/box/mlm.lock", "--sha256", sha256(lock.read_bytes()))
        document = mlm(*words, "--json").json
        assert document["ok"]
        assert Path(document["file"]).is_relative_to(home / "manifests")
        assert Path(document["lock"]).read_bytes() == lock.read_bytes()

        web.asked.clear()
        assert mlm(*words, "--json").json["models"][0]["status"] == "unchanged"
        assert web.asked == []

    def test_a_manifest_from_the_web_cannot_contradict_the_lock_that_was_named(
        self, mlm, write, web
    ):
        lock = write(DEMO)
        mlm("lock")
        web.pages["/mlm.lock"] = Page(lock.read_bytes())
        web.pages["/mlm.yaml"] = Page(DEMO.replace("512", "256").encode())
        result = mlm("setup", f"{web.url}/mlm.lock", "--sha256", sha256(lock.read_bytes()))
        assert result.exit_code == ExitCode.GATE_FAILED

    @pytest.mark.usefixtures("models_answer")
    def test_a_manifest_from_the_web_is_locked_here_and_its_lock_there_is_not_believed(
        self, mlm, write, web
    ):
        write(DEMO)
        web.pages["/mlm.yaml"] = Page(DEMO.encode())
        words = ("setup", f"{web.url}/mlm.yaml", "--sha256", sha256(DEMO.encode()).upper())
        assert mlm(*words, "--json").json["ok"]
        assert mlm(*words, "--json").json["ok"]
        assert web.asked == ["/mlm.yaml"]

    @pytest.mark.usefixtures("models_answer")
    def test_without_a_network_what_was_kept_is_enough(self, mlm, write, web):
        write(DEMO)
        web.pages["/mlm.yaml"] = Page(DEMO.encode())
        words = ("setup", f"{web.url}/mlm.yaml", "--sha256", sha256(DEMO.encode()))
        assert mlm("--offline", *words).exit_code == ExitCode.NETWORK
        mlm(*words)
        assert mlm("--offline", *words).exit_code == ExitCode.OK

    @pytest.mark.usefixtures("models_answer")
    def test_what_was_tampered_with_after_it_was_kept_is_fetched_again(self, mlm, write, web):
        write(DEMO)
        web.pages["/mlm.yaml"] = Page(DEMO.encode())
        words = ("setup", f"{web.url}/mlm.yaml", "--sha256", sha256(DEMO.encode()), "--json")
        kept = Path(mlm(*words).json["file"])
        kept.write_text("models: [{model: evil/model:Q4_0}]")
        assert mlm(*words).exit_code == ExitCode.OK
        assert kept.read_text() == DEMO


@pytest.mark.slow
def test_killed_while_it_downloads_it_goes_on(mlm, write, home, hub_cache):
    write(DEMO)
    code = (
        "import os, signal, sys\n"
        "sys.addaudithook(lambda e, a: e == 'os.rename' and 'blobs' in str(a[1])"
        " and os.kill(os.getpid(), signal.SIGKILL))\n"
        "from mlm.cli.app import run\n"
        "run(['setup', 'mlm.yaml'])"
    )
    killed = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert killed.returncode == -9
    assert mlm("setup", "mlm.yaml", "--json").json["ok"]
    assert not list(hub_cache.rglob("*partial*"))


def test_what_comes_from_the_web_needs_a_checksum(mlm, web):
    result = mlm("setup", f"{web.url}/mlm.lock")
    assert result.exit_code == ExitCode.USAGE
    assert "--sha256" in result.stderr
    assert web.asked == []


def test_other_bytes_than_named_are_refused_and_not_kept(mlm, web, home):
    web.pages["/mlm.lock"] = Page(b"version: 1")
    result = mlm("setup", f"{web.url}/mlm.lock", "--sha256", "0" * 64)
    assert result.exit_code == ExitCode.INTEGRITY
    assert not (home / "manifests").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("file:///etc/passwd", "--sha256", "0" * 64),
        ("http://example.org/mlm.yaml", "--sha256", "0" * 64),
        ("https://me:secret@example.org/mlm.yaml", "--sha256", "0" * 64),
        ("https://example.org/mlm.yaml", "--sha256", "abc"),
    ],
)
def test_what_cannot_be_trusted_is_a_usage_error(mlm, words):
    result = mlm("setup", *words, "--json")
    assert result.exit_code == ExitCode.USAGE
    assert "secret" not in json.dumps(result.json)


def test_a_file_can_be_held_to_a_checksum_too(mlm, write):
    write(DEMO)
    result = mlm("setup", "mlm.yaml", "--sha256", "0" * 64)
    assert result.exit_code == ExitCode.INTEGRITY


@pytest.mark.parametrize("name", ["mlm.yaml", "mlm.lock", "/no/such/folder/mlm.yaml"])
def test_a_file_that_is_not_there_is_not_found(mlm, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    for words in (("setup", name), ("setup", name, "--sha256", "0" * 64)):
        assert mlm(*words).exit_code == ExitCode.NOT_FOUND


def test_an_engine_that_cannot_be_fetched_offline_is_told_at_once(mlm, write):
    write(f"engine: llama-cpp-python==0.0.1\n{DEMO}")
    result = mlm("--offline", "setup", "mlm.yaml")
    assert result.exit_code == ExitCode.NETWORK
    assert "llama-cpp-python 0.0.1 is wanted" in result.stderr or "==0.0.1" in result.stderr
