"""The index may be damaged, locked or missing: no command fails for it, and no fact is lost."""

import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from fakes import gguf_files
from fakes.hub import FakeHub, File
from fakes.hub.tiny import NAME, REPO, TINY

from mlm.errors import ExitCode
from mlm.paths import Home
from mlm.store.receipt import Receipts
from mlm.store.store import Store

NOBODY = 65534


@pytest.fixture
def index(mlm, hub: FakeHub, tmp_path: Path, home: Path) -> Path:
    """The index of a store with a download and an import."""
    hub.add(REPO, File(NAME, TINY))
    mlm("download", f"{REPO}:Q4_K_M")
    mlm("import", gguf_files.llama().write(tmp_path / "mine.gguf"))
    return home / "index.sqlite"


def facts(mlm) -> list[tuple[object, ...]]:
    done = mlm("list", "--json")
    assert done.exit_code == ExitCode.OK, done.stderr
    assert "Traceback" not in done.stderr
    names = ("ref", "sha256", "verified_at", "origin")
    return sorted(tuple(model[name] for name in names) for model in done.json["models"])


def fill_up(index: Path) -> None:
    """Give the database hundreds of pages."""
    with closing(sqlite3.connect(index)) as database, database:
        columns = [row[1] for row in database.execute("PRAGMA table_info(files)")]
        names = ", ".join(f'"{name}"' for name in columns)
        database.executemany(
            f"INSERT INTO files ({names}) SELECT ? || path, "
            + ", ".join(f'"{name}"' for name in columns[1:])
            + " FROM files LIMIT 1",
            [(f"/none/{n}/{'x' * 900}",) for n in range(1000)],
        )


@pytest.mark.parametrize("seed", range(4))
def test_garbled_pages_cost_nothing(mlm, index: Path, seed: int):
    before = facts(mlm)
    fill_up(index)
    chance = random.Random(seed)
    with index.open("r+b") as file:
        for page in chance.sample(range(index.stat().st_size // 4096), 100):
            file.seek(page * 4096)
            file.write(chance.randbytes(4096))
    index.with_name("index.sqlite-wal").unlink(missing_ok=True)
    assert facts(mlm) == before
    assert mlm("show", "mine").exit_code == ExitCode.OK
    assert mlm("verify").exit_code == ExitCode.OK
    assert facts(mlm)[0][0] == before[0][0]


def test_rows_of_nonsense_are_not_believed(mlm, index: Path):
    before = facts(mlm)
    with closing(sqlite3.connect(index)) as database, database:
        database.execute("UPDATE files SET size_bytes = 'many', path = path || x'ff'")
    assert facts(mlm) == before
    assert facts(mlm) == before


@pytest.mark.parametrize("name", ["index.sqlite", "index.sqlite-wal", "index.sqlite-shm"])
def test_a_file_of_it_that_is_gone_is_made_anew(mlm, index: Path, name: str):
    before = facts(mlm)
    index.with_name(name).unlink(missing_ok=True)
    assert facts(mlm) == before


@pytest.mark.parametrize("what", ["folder", "empty", "text", "fifo-like link"])
def test_something_else_in_its_place_is_survived(mlm, index: Path, what: str):
    before = facts(mlm)
    index.unlink()
    if what == "folder":
        index.mkdir()
    elif what == "empty":
        index.touch()
    elif what == "text":
        index.write_text("SELECT everything" * 500)
    else:
        index.symlink_to(index)
    assert facts(mlm) == before
    assert facts(mlm) == before


@pytest.fixture
def locked(index: Path) -> Iterator[sqlite3.Connection]:
    """Somebody else in the middle of a transaction that keeps everybody out."""
    with closing(sqlite3.connect(index, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield other


def test_reading_does_not_wait_while_somebody_keeps_it_locked(mlm, locked, monkeypatch):
    def give_up(self: object) -> None:
        raise AssertionError("it waited for the lock in vain")

    monkeypatch.setattr("mlm.stats.database.BUSY_TIMEOUT_S", 0)
    monkeypatch.setattr("mlm.store.index.Index._use_memory", give_up)
    assert len(facts(mlm)) == 2


def test_writing_goes_on_while_somebody_keeps_it_locked(mlm, locked, tmp_path, monkeypatch):
    monkeypatch.setattr("mlm.stats.database.BUSY_TIMEOUT_S", 0.1)
    other = gguf_files.llama(n_vocab=8).write(tmp_path / "other.gguf")
    assert mlm("import", other).exit_code == ExitCode.OK
    assert len(facts(mlm)) == 3
    rebuilt = mlm("doctor", "--rebuild")
    assert rebuilt.exit_code in (ExitCode.OK, ExitCode.CONFLICT)


@pytest.fixture
def shared(mlm, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home that other users can reach, with one model."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        monkeypatch.setenv("MLM_HOME", f"{folder}/mlm-home")
        monkeypatch.setenv("HF_HOME", f"{folder}/hf-home")
        mlm("import", gguf_files.llama().write(Path(folder) / "mine.gguf"))
        facts(mlm)  # imports what the command needs, while that may still be read
        yield Path(folder) / "mlm-home"


@pytest.mark.skipif(os.name == "nt", reason="needs users of the system")
@pytest.mark.parametrize("what", ["home", "index"])
def test_somebody_who_may_not_write_can_still_read(mlm, shared: Path, what: str):
    mlm("doctor", "--rebuild")  # imports what the other user may have no right to read
    (shared if what == "home" else shared / "index.sqlite").chmod(0o555 if what == "home" else 0)
    me = os.geteuid()
    if me == 0:
        os.seteuid(NOBODY)
    try:
        assert [fact[0] for fact in facts(mlm)] == [str(shared.parent / "mine.gguf")]
        refused = mlm("doctor", "--rebuild")
    finally:
        os.seteuid(me)
        shared.chmod(0o755)
    assert "Traceback" not in refused.stderr and "bug" not in refused.stdout + refused.stderr


@pytest.mark.skipif(os.name == "nt", reason="needs a limit of the system")
def test_a_full_disk_fails_no_reading(index: Path, home: Path):
    import resource

    index.unlink()

    def starve() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

    done = subprocess.run(
        [sys.executable, "-m", "mlm", "list"], capture_output=True, text=True, preexec_fn=starve
    )
    # what is printed goes through a pipe, which has no limit
    assert done.returncode == ExitCode.OK, done.stderr
    assert REPO in done.stdout and "mine" in done.stdout


def test_the_last_use_survives_the_loss_of_the_index(mlm, index: Path, home, hub_cache):
    with Store(Home(home), hub_cache) as store:
        store.note_use(store.find("mine"))
    (used,) = [m["last_used_at"] for m in mlm("list", "--json").json["models"] if m["last_used_at"]]
    index.unlink()
    again = [m["last_used_at"] for m in mlm("list", "--json").json["models"] if m["last_used_at"]]
    assert again == pytest.approx([used])


def test_the_receipt_is_written_once_an_hour_not_at_each_use(mlm, index, home, hub_cache):
    now = time.time()
    with Store(Home(home), hub_cache) as store:
        (mine,) = [r for r in store.receipts() if r.file.model_id == "mine"]
    receipts = Receipts(Home(home).receipts)

    def kept() -> float | None:
        return next(r.file.last_used_at for r in receipts.read_all() if r.file == mine.file or
                    r.file.model_id == "mine")  # fmt: skip

    receipts.note_use(mine, now)
    receipts.note_use(mine, now + 3000)
    assert kept() == now
    receipts.note_use(mine, now + 3700)
    assert kept() == now + 3700
    receipts.note_use(mine, now)  # the clock was put back
    assert kept() == now


def test_noting_a_use_does_not_vouch_for_a_file_that_was_changed(mlm, index, home, hub_cache):
    with Store(Home(home), hub_cache) as store:
        mine = store.find("mine")
        mine.path.write_bytes(b"GGUF" + mine.path.read_bytes()[4:-1] + b"!")
        store.note_use(mine)
    index.unlink()
    with Store(Home(home), hub_cache) as store:
        (receipt,) = [r for r in store.receipts() if r.file.model_id == "mine"]
        assert not receipt.is_current()


def test_rebuilding_says_what_it_found(mlm, index: Path, home: Path, hub_cache: Path):
    with Store(Home(home), hub_cache) as store:
        store.note_use(store.find("mine"))
    snapshot = hub_cache / "models--org--other" / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (hub_cache / "models--org--other" / "blobs").mkdir()
    (hub_cache / "models--org--other" / "blobs" / ("b" * 64)).write_bytes(TINY)
    (snapshot / "x.Q8_0.gguf").symlink_to(f"../../blobs/{'b' * 64}")
    (home / "receipts" / f"{'0' * 32}.json").write_text('{"file": {"path": 3}}')
    done = mlm("doctor", "--rebuild", "--json")
    assert done.exit_code == ExitCode.OK
    details = " ".join(check["detail"] for check in done.json["checks"])
    assert "2 receipts and 1 files in the cache without one" in details
    assert "1 receipts in" in details
    models = {m["ref"]: m for m in mlm("list", "--json").json["models"]}
    assert len(models) == 3
    assert models["org/other:Q8_0"]["verified_at"] is None
    assert any(model["last_used_at"] for model in models.values())


def test_rebuilding_keeps_a_use_that_only_the_index_knew(mlm, index, home, hub_cache):
    with Store(Home(home), hub_cache) as store:
        store.note_use(store.find("mine"))
    with closing(sqlite3.connect(index)) as database, database:
        database.execute("UPDATE files SET last_used_at = last_used_at + 1000")
    before = {m["ref"]: m["last_used_at"] for m in mlm("list", "--json").json["models"]}
    mlm("doctor", "--rebuild")
    assert {m["ref"]: m["last_used_at"] for m in mlm("list", "--json").json["models"]} == before


def test_rebuilding_makes_an_index_where_something_else_was(mlm, index: Path):
    index.unlink()
    index.mkdir()
    assert mlm("doctor", "--rebuild").exit_code == ExitCode.OK
    assert index.is_file()
    assert len(facts(mlm)) == 2


@pytest.mark.slow
def test_many_processes_and_rebuilds_at_once_agree(mlm, index: Path):
    before = facts(mlm)
    command = [sys.executable, "-m", "mlm"]
    words = [["doctor", "--rebuild"], ["list", "--json"], ["verify", "--json"]] * 3
    processes = [
        subprocess.Popen([*command, *w], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for w in words
    ]
    outputs = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0] * len(words), outputs
    assert [fact[:2] for fact in facts(mlm)] == [fact[:2] for fact in before]
