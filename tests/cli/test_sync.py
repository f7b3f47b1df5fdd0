"""``mlm sync`` makes a machine match its lock: once, exactly, and whatever went wrong before."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from fakes import gguf_files
from fakes.hub import FakeHub, File
from fakes.processes import wait_until

from mlm.errors import ExitCode
from mlm.planning.config_file import config_path, read_config
from mlm.planning.config_versions import list_versions

pytestmark = pytest.mark.usefixtures("warm_home")

REPO, NAME, REF = "org/llama-GGUF", "llama.Q8_0.gguf", "org/llama-GGUF:Q8_0"
LLAMA = File(NAME, gguf_files.llama().encode())
OTHER = File(NAME, gguf_files.llama(n_layer=3).encode())
ONE = f"models: [{{model: '{REF}', config: {{n_ctx_slot: 512, n_parallel: 3}}}}]"

# Runs mlm and tells on stderr what a second sync must not do: open sockets, import what is slow.
WATCHED = """
import json, sys
events = []
sys.addaudithook(lambda event, _: events.append(event) if event.startswith("socket.") else None)
from mlm.cli.app import run
code = run(sys.argv[1:])
slow = {"huggingface_hub", "httpx2", "sqlite3", "mlm.hardware.detect", "rich", "llama_cpp"}
print(json.dumps([events, sorted(slow & set(sys.modules))]), file=sys.stderr)
sys.exit(code)
"""


@pytest.fixture
def commit(hub: FakeHub) -> str:
    return hub.add(REPO, LLAMA)


@pytest.fixture
def config(home: Path) -> Path:
    return config_path(home / "config", REF)


def everything(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Return each file and folder below, with what any write to it would change."""
    return {
        str(path): (status.st_ino, status.st_mtime_ns, status.st_ctime_ns)
        for path in [folder, *folder.rglob("*")]
        if (status := path.lstat())
    }


def test_a_new_machine_gets_the_files_the_lock_and_the_config(mlm, hub, commit, write, config):
    lock = write(ONE)
    document = mlm("sync", "--json").json
    (model,) = document["models"]
    assert (document["schema"], document["locked"]) == ("mlm.sync/1", True)
    assert (model["status"], model["commit"]) == ("changed", commit)
    (file,) = model["files"]
    assert (file["status"], Path(file["path"]).read_bytes()) == ("downloaded", LLAMA.content)
    assert file["fetched_bytes"] == len(LLAMA.content)
    assert lock.exists()
    chosen = read_config(config)
    assert (chosen.n_parallel, chosen.n_ctx_slot) == (3, 512)


def test_the_second_time_there_is_nothing_to_do_and_nothing_is_done(mlm, commit, write, tmp_path):
    write(ONE)
    mlm("sync")
    before = everything(tmp_path)
    for words in (("sync",), ("sync", "--frozen")):
        done = subprocess.run(
            [sys.executable, "-c", WATCHED, *words], capture_output=True, text=True, check=True
        )
        assert "nothing to do" in done.stdout
        assert done.stderr.splitlines()[-1] == "[[], []]"
    assert everything(tmp_path) == before


def test_a_hub_that_has_moved_on_still_serves_what_is_locked(mlm, hub, commit, write):
    write(ONE)
    mlm("lock")
    hub.add(REPO, OTHER)
    (model,) = mlm("sync", "--frozen", "--json").json["models"]
    assert model["commit"] == commit
    assert Path(model["files"][0]["path"]).read_bytes() == LLAMA.content


def test_a_hub_that_serves_other_bytes_is_refused(mlm, hub, commit, write, hub_cache):
    write(ONE)
    mlm("lock")
    hub.repos[REPO].commits[commit][NAME] = File(NAME, LLAMA.content[:-1] + b"x")
    result = mlm("sync", "--frozen")
    assert result.exit_code == ExitCode.INTEGRITY
    assert not list(hub_cache.rglob("*.gguf"))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"gated": True, "token": "hf_x"}, ExitCode.AUTH),
        ({"commits": {}}, ExitCode.NOT_FOUND),
    ],
    ids=["gated", "deleted"],
)
@pytest.mark.usefixtures("commit")
def test_what_is_here_stays_usable_whatever_becomes_of_its_repository(
    mlm, hub, write, change, code
):
    write(ONE)
    mlm("sync")
    for name, value in change.items():
        setattr(hub.repos[REPO], name, value)
    assert mlm("sync", "--frozen").exit_code == ExitCode.OK
    assert mlm("rm", REF, "--yes").exit_code == ExitCode.OK
    assert mlm("sync", "--frozen").exit_code == code


def test_offline_is_enough_when_everything_is_here(mlm, commit, write, config):
    write(ONE)
    mlm("sync")
    config.unlink()
    assert mlm("--offline", "sync", "--frozen").exit_code == ExitCode.OK
    assert config.exists()
    mlm("rm", REF, "--yes")
    result = mlm("--offline", "sync", "--frozen")
    assert result.exit_code == ExitCode.NETWORK
    assert "offline" in result.stderr


def test_a_download_of_the_same_bytes_is_not_repeated(mlm, hub, commit, write):
    mlm("download", REF)
    hub.add(REPO, LLAMA, File("README.gguf", OTHER.content))  # another commit, the same model
    write(ONE)
    (model,) = mlm("sync", "--json").json["models"]
    assert model["files"][0]["fetched_bytes"] == 0
    assert len(hub.asked("cdn")) == 1
    assert mlm("sync", "--json").json["models"][0]["status"] == "unchanged"


def test_a_file_that_rotted_is_brought_back(mlm, commit, write):
    write(ONE)
    (model,) = mlm("sync", "--json").json["models"]
    path = Path(model["files"][0]["path"]).resolve()
    path.chmod(0o644)
    path.write_bytes(LLAMA.content[:-1] + b"x")
    assert mlm("sync", "--frozen").exit_code == ExitCode.OK
    assert path.read_bytes() == LLAMA.content


def test_a_dry_run_says_it_all_and_writes_nothing(mlm, commit, write, tmp_path):
    write(ONE)
    before = everything(tmp_path)
    (model,) = mlm("sync", "--dry-run", "--json").json["models"]
    assert (model["status"], model["files"][0]["status"]) == ("planned", "planned")
    assert model["config"]["status"] == "planned"
    assert everything(tmp_path) == before


def test_what_changed_in_the_manifest_is_locked_first(mlm, commit, write, config):
    write(ONE)
    mlm("sync")
    lock = write(ONE.replace("n_parallel: 3", "n_parallel: 2"))
    old = lock.read_bytes()
    document = mlm("--offline", "sync", "--json").json
    assert (document["locked"], document["models"][0]["config"]["status"]) == (True, "written")
    assert read_config(config).n_parallel == 2
    assert lock.read_bytes() != old


def test_a_new_lock_from_elsewhere_is_no_drift_but_work(mlm, commit, write, config):
    write(ONE)
    mlm("sync")
    write(ONE.replace("n_parallel: 3", "n_parallel: 2"))
    mlm("lock")
    assert mlm("sync", "--frozen").exit_code == ExitCode.OK
    assert read_config(config).n_parallel == 2


DRIFTS = {  # what differs -> (manifest, part of the message)
    "a model is not locked": (
        f"models: [{{model: '{REF}'}}, {{model: a}}]",
        "a is in mlm.yaml but",
    ),
    "a model is not wanted": ("models: [{model: a}]", f"{REF} is locked but not in mlm.yaml"),
    "another revision": (f"models: [{{model: '{REF}', revision: v2}}]", "wanted at revision v2"),
    "another config": (ONE.replace("3", "4"), f"the config of {REF} in mlm.yaml has changed"),
    "another engine": (f"engine: llama-cpp-python<0.1\n{ONE}", "is locked and <0.1 wanted"),
}


@pytest.mark.parametrize(("text", "words"), DRIFTS.values(), ids=DRIFTS)
def test_frozen_refuses_a_lock_that_is_not_of_this_manifest(mlm, commit, write, text, words):
    lock = write(ONE)
    mlm("lock")
    before = lock.read_bytes()
    write(text)
    result = mlm("sync", "--frozen")
    assert result.exit_code == ExitCode.GATE_FAILED
    assert words in result.stderr
    assert lock.read_bytes() == before


def test_frozen_without_a_lock_is_drift(mlm, commit, write):
    write(ONE)
    result = mlm("sync", "--frozen", "--json")
    assert (result.exit_code, result.json["error"]["code"]) == (ExitCode.GATE_FAILED, "drift")
    assert "there is no mlm.lock" in result.json["error"]["message"]


def test_frozen_names_every_drift_at_once(mlm, commit, write, config):
    write(f"engine: llama-cpp-python==0.0.1\n{ONE}")
    mlm("sync")
    config.write_text(config.read_text().replace("n_parallel: 3", "n_parallel: 1"))
    message = mlm("sync", "--frozen", "--json").json["error"]["message"]
    assert "llama-cpp-python 0.0.1 is wanted" in message
    assert f"the config of {REF} was edited by hand: {config}" in message


def test_a_config_edited_by_hand_is_put_aside_when_nothing_is_frozen(mlm, commit, write, config):
    write(ONE)
    mlm("sync")
    edited = config.read_text().replace("n_parallel: 3", "n_parallel: 1")
    config.write_text(edited)
    assert mlm("sync", "--frozen").exit_code == ExitCode.GATE_FAILED
    assert config.read_text() == edited
    result = mlm("sync")
    assert f"mlm config rollback {REF}" in result.stderr
    assert [version.path.read_text() for version in list_versions(config)] == [edited]
    assert mlm("sync", "--frozen").exit_code == ExitCode.OK


def test_another_engine_than_the_locked_one_is_told_but_no_reason_to_stop(mlm, commit, write):
    write(f"engine: llama-cpp-python==0.0.1\n{ONE}")
    result = mlm("sync")
    assert result.exit_code == ExitCode.OK
    assert "llama-cpp-python 0.0.1 is wanted" in result.stderr


def test_one_model_that_fails_does_not_keep_the_others(mlm, hub, commit, write):
    gone = hub.add("org/gone", File("gone.Q8_0.gguf", OTHER.content))
    write(f"models: [{{model: 'org/gone:Q8_0'}}, {{model: '{REF}'}}]")
    mlm("lock")
    del hub.repos["org/gone"].commits[gone]
    result = mlm("sync", "--json")
    assert result.exit_code == ExitCode.NOT_FOUND
    assert [model["model"] for model in result.json["models"]] == [REF]
    assert result.json["errors"][0]["ref"] == "org/gone:Q8_0"


def test_the_bundled_model_and_one_of_the_hub_come_together(mlm, commit, write):
    write(f"models: [{{model: mlm-demo}}, {{model: '{REF}'}}]")
    assert mlm("sync").exit_code == ExitCode.OK
    assert {m["status"] for m in mlm("sync", "--json").json["models"]} == {"unchanged"}
    ids = {model["model_id"] for model in mlm("list", "--json").json["models"]}
    assert ids == {"mlm-demo:Q8_0", REF}


def test_shards_are_synced_as_one_model(mlm, hub, write):
    whole, parts = gguf_files.llama(), []
    for number, tensors in enumerate([whole.tensors[:10], whole.tensors[10:]]):
        part = gguf_files.llama()
        part.tensors = tensors
        part.set("split.no", gguf_files.U16, number).set("split.count", gguf_files.U16, 2)
        parts.append(File(f"m.Q8_0-0000{number + 1}-of-00002.gguf", part.encode()))
    hub.add("org/split", *parts)
    write("models: [{model: 'org/split:Q8_0'}]")
    (model,) = mlm("sync", "--json").json["models"]
    assert [file["status"] for file in model["files"]] == ["downloaded", "downloaded"]
    Path(model["files"][1]["path"]).unlink()
    (model,) = mlm("sync", "--json").json["models"]
    assert [file["fetched_bytes"] for file in model["files"]] == [0, 0]  # only a link was gone


def start_sync() -> "subprocess.Popen[bytes]":
    words = [sys.executable, "-m", "mlm", "--quiet", "sync", "--frozen"]
    return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def test_two_at_once_fetch_one_copy_and_both_end_well(mlm, hub, commit, write, config):
    write(ONE)
    mlm("lock")
    hub.breaks(pace=200_000)
    both = [start_sync(), start_sync()]
    errors = [process.communicate(timeout=60)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], errors
    assert hub.sent["cdn"] <= 1.2 * len(LLAMA.content)
    assert read_config(config).n_parallel == 3


def test_killed_in_the_middle_it_goes_on_and_leaves_nothing_behind(
    mlm, hub, write, hub_cache, tmp_path
):
    big = File(NAME, gguf_files.llama(n_vocab=40_000).encode())
    hub.add(REPO, big)
    write(ONE)
    mlm("lock")
    fault = hub.breaks(pace=10_000_000)
    process = start_sync()
    wait_until(lambda: [p for p in hub_cache.rglob("*.mlm-partial") if p.stat().st_size > 1000])
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    fault.pace = None
    (model,) = mlm("sync", "--frozen", "--json").json["models"]
    assert Path(model["files"][0]["path"]).read_bytes() == big.content
    left = [p.name for p in tmp_path.rglob("*") if "partial" in p.name or p.name.endswith(".tmp")]
    assert left == []
    assert mlm("sync", "--json").json["models"][0]["status"] == "unchanged"


# Ends its own process just before the n-th change to the file system.
KILLED_AT_STEP = """
import os, signal, sys
steps = ("os.rename", "os.symlink", "os.remove", "os.chmod", "os.truncate", "os.mkdir")
left = [int(sys.argv[1])]
def count(event, arguments):
    if event in steps and any(word in str(arguments[0]) for word in ("mlm", "hf-home")):
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
from mlm.cli.app import run
sys.addaudithook(count)
sys.exit(run(["sync"]))
"""


@pytest.mark.slow
def test_killed_before_any_step_the_next_run_makes_it_right(
    mlm, hub, commit, write, tmp_path, home
):
    lock = write(ONE)
    for step in range(1, 60, 2):
        killed = subprocess.run(
            [sys.executable, "-c", KILLED_AT_STEP, str(step)], capture_output=True, check=False
        )
        assert mlm("sync").exit_code == ExitCode.OK
        assert mlm("sync", "--frozen").exit_code == ExitCode.OK
        if killed.returncode == 0:
            break
        mlm("rm", REF, "--yes")
        for path in (lock, config_path(home / "config", REF)):
            path.unlink()
    assert step > 8
