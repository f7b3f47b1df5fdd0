"""``mlm prune``."""

import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fakes import gguf_files
from fakes.announced import announce
from fakes.hub import FakeHub, File
from fakes.hub.tiny import NAME, REPO, TINY, model_bytes
from fakes.killed import killed_at

from mlm.errors import ExitCode
from mlm.paths import Home
from mlm.store.store import Store

PARTIAL = f"{'a' * 64}.mlm-partial"
ORPHAN = "c" * 64
NEW = model_bytes(200_000, seed=9)


@pytest.fixture
def installed(mlm, hub: FakeHub) -> Path:
    hub.add(REPO, File(NAME, TINY))
    return Path(mlm("download", f"{REPO}:Q4_K_M", "--json").json["files"][0]["path"])


@pytest.fixture
def blobs(installed: Path) -> Path:
    """The folder of blobs, with an unfinished download and a blob that nobody links to."""
    folder = installed.resolve().parent
    (folder / PARTIAL).write_bytes(b"p" * 1000)
    (folder / f"{PARTIAL}.json").write_text("{}")
    (folder / ORPHAN).write_bytes(b"o" * 2000)
    return folder


def kinds(done) -> dict[str, int]:
    """Return how much each kind of thing would free."""
    found: dict[str, int] = {}
    for item in done.json["items"]:
        found[item["kind"]] = found.get(item["kind"], 0) + item["freed_bytes"]
    return found


def age(path: Path, days: float) -> None:
    then = time.time() - days * 86400
    os.utime(path, (then, then), follow_symlinks=False)


def test_a_tidy_store_has_nothing_to_prune(mlm, installed: Path):
    done = mlm("prune")
    assert (done.exit_code, done.stdout) == (ExitCode.OK, "nothing to prune\n")
    assert mlm("prune", "--json").json["schema"] == "mlm.prune/1"


def test_without_a_yes_it_only_tells_with_reasons(mlm, blobs: Path):
    done = mlm("prune")
    assert done.exit_code == ExitCode.OK
    assert "a download that stopped" in " ".join(done.stdout.split())
    assert "--yes" in done.stderr
    document = mlm("prune", "--json")
    assert kinds(document) == {"partial": 1002, "orphan": 2000}
    assert (document.json["dry_run"], document.json["freed_bytes"]) == (True, 3002)
    assert (blobs / PARTIAL).exists() and (blobs / ORPHAN).exists()


def test_with_a_yes_they_go_and_the_models_stay(mlm, blobs: Path, installed: Path):
    done = mlm("prune", "--yes", "--json")
    assert done.exit_code == ExitCode.OK
    assert all(item["pruned"] for item in done.json["items"])
    assert [path.name for path in blobs.iterdir()] == [installed.resolve().name]
    assert mlm("verify").exit_code == ExitCode.OK
    assert mlm("prune", "--json").json["items"] == []


def test_a_download_that_runs_is_left_alone(mlm, blobs: Path, hub_cache: Path):
    lock = hub_cache / ".locks" / "models--org--tiny-GGUF" / f"{'a' * 64}.lock"
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert kinds(mlm("prune", "--json")) == {"orphan": 2000}
        mlm("prune", "--yes")
    assert (blobs / PARTIAL).exists()
    assert kinds(mlm("prune", "--json")) == {"partial": 1002}


def test_the_lock_counts_also_when_it_is_taken_after_the_look(
    mlm, blobs: Path, hub_cache: Path, monkeypatch
):
    lock = hub_cache / ".locks" / "models--org--tiny-GGUF" / f"{'a' * 64}.lock"
    monkeypatch.setattr("mlm.store.prune.is_held", lambda path: False)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        done = mlm("prune", "--yes")
    assert done.exit_code == ExitCode.CONFLICT
    assert "KEPT" in done.stdout
    assert (blobs / PARTIAL).exists() and not (blobs / ORPHAN).exists()


def test_age_and_size_narrow_the_choice(mlm, blobs: Path):
    age(blobs / ORPHAN, days=40)
    assert kinds(mlm("prune", "--older-than", "30d", "--json")) == {"orphan": 2000}
    assert kinds(mlm("prune", "--larger-than", "1500", "--json")) == {"orphan": 2000}
    assert kinds(mlm("prune", "--older-than", "50d", "--json")) == {}
    assert mlm("prune", "--older-than", "soon").exit_code == ExitCode.USAGE
    assert mlm("prune", "--larger-than", "much").exit_code == ExitCode.USAGE


def test_a_replaced_version_goes_and_the_new_one_stays(mlm, installed: Path, hub: FakeHub):
    age(installed, days=3)
    hub.repos[REPO].commit([File(NAME, NEW)])
    new = Path(mlm("download", f"{REPO}:Q4_K_M", "--json").json["files"][0]["path"])
    (item,) = mlm("prune", "--json").json["items"]
    assert (item["kind"], item["freed_bytes"]) == ("old_commit", len(TINY))
    assert new.parent.name[:7] in item["reason"]
    mlm("prune", "--yes")
    assert not installed.exists()
    assert new.read_bytes() == NEW
    assert len(mlm("list", "--json").json["models"]) == 1


def test_a_replaced_version_with_the_same_bytes_frees_nothing_but_goes(mlm, installed, hub):
    age(installed, days=3)
    hub.repos[REPO].commit([File(NAME, TINY), File("README.gguf", b"GGUF")])
    new = Path(mlm("download", f"{REPO}:Q4_K_M", "--json").json["files"][0]["path"])
    (item,) = mlm("prune", "--yes", "--json").json["items"]
    assert (item["kind"], item["freed_bytes"]) == ("old_commit", 0)
    assert not installed.is_symlink()
    assert new.read_bytes() == TINY


def test_an_old_commit_alone_is_no_old_version(mlm, hub: FakeHub):
    hub.add(REPO, File(NAME, TINY))
    first = hub.repos[REPO].refs["main"]
    hub.repos[REPO].commit([File(NAME, NEW)])
    mlm("download", f"{REPO}:Q4_K_M", "--revision", first)
    assert mlm("prune", "--json").json["items"] == []


def test_models_go_by_use_only_when_asked(mlm, installed: Path, home: Path, hub_cache: Path):
    age(installed, days=100)
    assert mlm("prune", "--json").json["items"] == []
    (item,) = mlm("prune", "--unused-for", "30d", "--json").json["items"]
    assert (item["kind"], item["freed_bytes"]) == ("unused", len(TINY))
    assert "never used" in item["reason"]
    with Store(Home(home), hub_cache) as store:
        store.note_use(store.find(REPO))
    assert mlm("prune", "--unused-for", "30d", "--json").json["items"] == []


def test_what_a_server_has_open_stays(mlm, installed: Path, home: Path):
    age(installed, days=100)
    announce(home, models={"it": str(installed)})
    assert mlm("prune", "--unused-for", "30d", "--yes", "--json").json["items"] == []
    assert installed.exists()


def test_imports_in_place_stay_however_old(mlm, tmp_path: Path):
    local = gguf_files.llama().write(tmp_path / "mine.gguf")
    age(local, days=999)
    mlm("import", local)
    assert mlm("prune", "--unused-for", "1d", "--yes", "--json").json["items"] == []
    assert local.exists()


def test_receipts_of_deleted_files_go_but_not_those_of_an_unplugged_disk(mlm, tmp_path: Path):
    deleted = gguf_files.llama().write(tmp_path / "here" / "deleted.gguf")
    unplugged = gguf_files.llama(n_vocab=8).write(tmp_path / "disk" / "there.gguf")
    mlm("import", deleted)
    mlm("import", unplugged)
    deleted.unlink()
    unplugged.parent.rename(tmp_path / "pulled")
    (item,) = mlm("prune", "--yes", "--json").json["items"]
    assert (item["kind"], item["path"]) == ("receipt", str(deleted))
    assert [m["path"] for m in mlm("list", "--json").json["models"]] == [str(unplugged)]


def test_other_tools_unfinished_files_get_time(mlm, blobs: Path):
    (blobs / ORPHAN).unlink()
    (blobs / PARTIAL).unlink()
    (blobs / f"{PARTIAL}.json").unlink()
    foreign = blobs / f"{'b' * 64}.7f3a.incomplete"
    foreign.write_bytes(b"x" * 10)
    assert mlm("prune", "--json").json["items"] == []
    age(foreign, days=1)
    assert kinds(mlm("prune", "--json")) == {"partial": 10}


def test_a_blob_that_was_linked_after_the_look_stays(mlm, blobs: Path, installed: Path):
    from mlm.store.prune import Wish, choose_prunable, gather, prune

    home = Home(Path(os.environ["MLM_HOME"]))
    with Store(home, blobs.parent.parent) as store:
        items = choose_prunable(gather(store, (), ()), Wish(), time.time())
        (installed.parent / "late.gguf").symlink_to(f"../../blobs/{ORPHAN}")
        outcomes = {item.path.name: why for item, why in prune(store, items)}
    assert outcomes[ORPHAN] == "it is being used now"
    assert (blobs / ORPHAN).exists()


@pytest.mark.parametrize("columns", ["60", "80"])
def test_the_table_fits_the_screen(mlm, blobs: Path, monkeypatch, columns: str):
    monkeypatch.setenv("COLUMNS", columns)
    assert max(map(len, mlm("prune").stdout.splitlines())) <= int(columns)


@pytest.mark.slow
def test_killed_at_every_step_it_has_deleted_nothing_else(mlm, installed: Path, hub: FakeHub):
    age(installed, days=3)
    hub.repos[REPO].commit([File(NAME, NEW)])
    new = Path(mlm("download", f"{REPO}:Q4_K_M", "--json").json["files"][0]["path"])
    folder = new.resolve().parent
    (folder / PARTIAL).write_bytes(b"p" * 1000)
    (folder / ORPHAN).write_bytes(b"o" * 2000)
    for step in range(1, 40):
        killed = killed_at(step, "hf-home", "prune", "--yes")
        assert new.read_bytes() == NEW
        assert mlm("verify").exit_code == ExitCode.OK
        if not killed:
            break
    assert step > 3, "the steps were not seen"
    assert [path.name for path in folder.iterdir()] == [new.resolve().name]


@pytest.mark.slow
def test_prunes_and_downloads_at_once_harm_nobody(mlm, installed: Path, hub: FakeHub, hub_cache):
    command = [sys.executable, "-m", "mlm"]
    for turn in range(4):
        (installed.resolve().parent / ORPHAN).write_bytes(b"o")
        hub.repos[REPO].commit([File(NAME, TINY), File(f"t{turn}.Q8_0.gguf", NEW + bytes([turn]))])
        words = [["prune", "--yes"], ["download", f"{REPO}/t{turn}.Q8_0.gguf"], ["prune", "--yes"]]
        processes = [subprocess.Popen([*command, *w], stderr=subprocess.PIPE) for w in words]
        ends = [process.communicate(timeout=60)[1] for process in processes]
        assert processes[1].returncode == ExitCode.OK, ends
        assert mlm("verify").exit_code == ExitCode.OK
        assert mlm("show", f"{REPO}/t{turn}.Q8_0.gguf").exit_code == ExitCode.OK
