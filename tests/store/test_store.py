"""The shelf of models: what comes in, is found, checked and thrown away."""

import hashlib
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes import gguf_files
from fakes.heard import Heard
from fakes.hub import FakeHub, File
from fakes.hub.tiny import NAME, REPO, TINY, model_bytes

from mlm.catalog.types import Quant
from mlm.demo.hub import DEMO_FILE
from mlm.errors import DiskSpaceError, IntegrityError, NotFoundError, UsageError
from mlm.paths import Home
from mlm.store.check import verify
from mlm.store.delivery import Delivery
from mlm.store.download import Terms, UnverifiableError
from mlm.store.hub import Hub
from mlm.store.intake import register_in_place
from mlm.store.order import Order
from mlm.store.pin import PinMismatch
from mlm.store.ref import HubRef
from mlm.store.store import Store
from mlm.store.types import Downloaded

Download = Callable[..., list[Downloaded]]


def test_a_download_becomes_a_model(download: Download, tiny: File, store: Store, hub_cache: Path):
    (file,) = download()
    (model,) = store.models()
    assert (model.ref, model.quant, model.sha256) == (f"{REPO}:Q4_K_M", "Q4_K_M", tiny.sha256)
    assert (model.path, model.origin) == (file.path, "hub")
    assert model.verified_at is not None
    assert file.path.is_relative_to(hub_cache / "models--org--tiny-GGUF" / "snapshots")


def test_what_is_there_is_not_fetched_again(download: Download, tiny: File, hub: FakeHub):
    download()
    hub.requests.clear()
    (file,) = download()
    assert (file.status, file.fetched_bytes) == ("present", 0)
    assert [request.where for request in hub.requests] == ["api"]


def test_force_fetches_again(download: Download, tiny: File):
    download()
    (file,) = download(force=True)
    assert (file.status, file.fetched_bytes) == ("downloaded", len(TINY))


def test_a_file_that_was_touched_is_hashed_again(download: Download, tiny: File, hub: FakeHub):
    (file,) = download()
    blob = file.path.resolve()
    blob.chmod(0o644)
    with blob.open("r+b") as content:
        content.seek(1000)
        content.write(b"rot")
    (again,) = download()
    assert (again.status, again.path.read_bytes()) == ("downloaded", TINY)


def test_what_another_tool_has_fetched_is_adopted(
    download: Download, tiny: File, store: Store, hub: FakeHub, hub_cache: Path
):
    blob = hub_cache / "models--org--tiny-GGUF" / "blobs" / tiny.sha256
    blob.parent.mkdir(parents=True)
    blob.write_bytes(TINY)
    (file,) = download()
    assert (file.status, file.fetched_bytes) == ("adopted", 0)
    assert hub.asked("cdn") == []
    assert store.models()[0].origin == "adopted"


def test_what_another_tool_has_spoilt_is_fetched(
    download: Download, tiny: File, heard: Heard, hub_cache: Path
):
    blob = hub_cache / "models--org--tiny-GGUF" / "blobs" / tiny.sha256
    blob.parent.mkdir(parents=True)
    blob.write_bytes(TINY[:-1] + b"x")
    (file,) = download()
    assert (file.status, file.path.read_bytes()) == ("downloaded", TINY)
    assert "corrupt" in heard.notes[0]


def test_a_new_commit_with_the_same_file_fetches_nothing(
    download: Download, tiny: File, hub: FakeHub, store: Store
):
    (old,) = download()
    commit = hub.add(REPO, tiny, File("README.md", b"new", lfs=False))
    (new,) = download()
    assert (new.status, new.commit) == ("present", commit)
    assert [model.commit for model in store.models()] == [commit]
    assert old.path.exists(), "other tools may still use the old snapshot"


def test_shards_come_together_and_are_one_model(hub: FakeHub, download: Download, store: Store):
    parts = [File(f"m-Q8_0-0000{n}-of-00003.gguf", model_bytes(9000, n)) for n in (1, 2, 3)]
    hub.add(REPO, *parts)
    files = download(f"{REPO}:Q8_0")
    assert [file.filename for file in files] == [part.name for part in parts]
    (model,) = store.models()
    assert (model.filename, model.size_bytes, model.n_files) == (parts[0].name, 27_000, 3)
    assert [file.filename for file in store.files(model)] == [part.name for part in parts]


def test_a_file_without_checksum_needs_permission(hub: FakeHub, download: Download, store: Store):
    hub.add(REPO, File(NAME, TINY, lfs=False))
    with pytest.raises(UnverifiableError) as failure:
        download()
    assert "--allow-unverified" in str(failure.value.remedy)
    (file,) = download(allow_unverified=True)
    assert file.sha256 == hashlib.sha256(TINY).hexdigest()
    assert store.models()[0].verified_at is None


def test_a_file_that_git_keeps_is_held_to_its_object_id(hub: FakeHub, download: Download):
    hub.add(REPO, File(NAME, TINY, lfs=False))
    hub.breaks(where="resolve", flip_bit=9000)
    with pytest.raises(IntegrityError, match="checksum"):
        download(allow_unverified=True)


def quant(sha256: str | None, *, verified: bool) -> Quant:
    return Quant("Q4_K_M", REPO, "main", NAME, len(TINY), True, sha256, verified, "test")


@pytest.fixture
def order_with() -> Callable[..., Order]:
    def make(pin: Quant, **more: object) -> Order:
        ref = HubRef(REPO, "Q4_K_M")
        return Order(ref, pin_of=lambda filename: pin, **more)  # type: ignore[arg-type]

    return make


def test_a_verified_pin_overrules_the_hub(
    store: Store, client: Hub, heard: Heard, tiny: File, order_with: Callable[..., Order]
):
    order = order_with(quant("0" * 64, verified=True))
    with pytest.raises(PinMismatch) as failure:
        Delivery(store, client, Terms(), heard).download(order)
    assert tiny.sha256 in failure.value.message and "0" * 64 in failure.value.message


def test_a_named_revision_overrules_the_pin(
    store: Store, client: Hub, heard: Heard, tiny: File, order_with: Callable[..., Order]
):
    order = order_with(quant("0" * 64, verified=True), revision_given=True)
    (file,) = Delivery(store, client, Terms(), heard).download(order)
    assert file.sha256 == tiny.sha256
    assert "replaced upstream" in heard.notes[0]


def test_a_pin_of_one_source_only_warns(
    store: Store, client: Hub, heard: Heard, tiny: File, order_with: Callable[..., Order]
):
    order = order_with(quant("0" * 64, verified=False))
    (file,) = Delivery(store, client, Terms(), heard).download(order)
    assert file.sha256 == tiny.sha256
    assert "replaced upstream" in heard.notes[0]


def test_a_pin_stands_in_for_a_checksum_the_hub_does_not_give(
    store: Store, client: Hub, heard: Heard, hub: FakeHub, order_with: Callable[..., Order]
):
    file = File(NAME, TINY, lfs=False)
    hub.add(REPO, file)
    order = order_with(quant(file.sha256, verified=True))
    (done,) = Delivery(store, client, Terms(), heard).download(order)
    assert (done.sha256, done.path.resolve().name) == (file.sha256, file.sha256)


def test_a_preview_fetches_and_writes_nothing(
    store: Store, client: Hub, heard: Heard, tiny: File, hub: FakeHub, hub_cache: Path
):
    order = Order(HubRef(REPO, "Q4_K_M"))
    (planned,) = Delivery(store, client, Terms(), heard).preview(order)
    assert (planned.status, planned.size_bytes) == ("planned", len(TINY))
    assert not hub_cache.exists()
    Delivery(store, client, Terms(), heard).download(order)
    assert Delivery(store, client, Terms(), heard).preview(order)[0].status == "present"


def test_a_full_disk_is_noticed_before_the_first_byte(
    download: Download, hub: FakeHub, tiny: File, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000})())
    with pytest.raises(DiskSpaceError, match=r"315000 bytes.*1000 bytes"):
        download()
    assert hub.asked("cdn") == []


def test_a_cache_that_cannot_be_written_is_named(download: Download, tiny: File, hub_cache: Path):
    hub_cache.parent.mkdir(parents=True)
    hub_cache.write_text("a file where a folder should be")
    with pytest.raises(UsageError, match="cannot be written") as failure:
        download()
    assert "HF_HUB_CACHE" in str(failure.value.remedy)


def test_limiting_the_rate_takes_its_time(download: Download, tiny: File):
    (file,) = download(limit_rate=1_500_000)
    assert file.elapsed_s >= len(TINY) / 1_500_000


@pytest.mark.parametrize(
    ("text", "model_id"),
    [
        (f"{REPO}:Q4_K_M", f"{REPO}:Q4_K_M"),
        (f"{REPO}:q4_k_m", f"{REPO}:q4_k_m"),
        (REPO, REPO),
        (f"{REPO}/{NAME}", f"{REPO}/{NAME}"),
        ("tiny", "tiny"),
        ("tiny:Q4_K_M", "tiny:Q4_K_M"),
        ("SHA", "tiny:Q4_K_M"),
    ],
)
def test_a_model_is_found_under_all_its_names(
    text: str, model_id: str, store: Store, client: Hub, heard: Heard, tiny: File
):
    order = Order(HubRef(REPO, "Q4_K_M"), model="tiny")
    (file,) = Delivery(store, client, Terms(), heard).download(order)
    found = store.find(tiny.sha256[:8] if text == "SHA" else text)
    assert (found.path, found.model_id) == (file.path, model_id)


def test_an_unknown_model_offers_the_nearest(store: Store, client: Hub, heard: Heard, tiny: File):
    Delivery(store, client, Terms(), heard).download(Order(HubRef(REPO, "Q4_K_M"), model="tiny"))
    with pytest.raises(NotFoundError, match="near it: tiny"):
        store.find("tinny")
    with pytest.raises(NotFoundError):
        store.find("tiny:Q8_0")


def test_the_quantization_used_last_is_what_a_bare_name_means(
    store: Store, hub: FakeHub, download: Download
):
    hub.add(REPO, File(NAME, TINY), File("tiny.Q8_0.gguf", model_bytes(5000)))
    download(f"{REPO}:Q4_K_M")
    download(f"{REPO}:Q8_0")
    store.note_use(store.find(f"{REPO}:Q4_K_M"))
    assert store.find(REPO).quant == "Q4_K_M"


def test_verifying_tells_right_from_wrong(
    download: Download, store: Store, heard: Heard, tiny: File
):
    (file,) = download()
    (right,) = verify(store, [store.find(REPO)], heard)
    assert right.ok and right.actual == tiny.sha256
    blob = file.path.resolve()
    blob.chmod(0o644)
    blob.write_bytes(TINY[:-1] + b"x")
    (wrong,) = verify(store, [store.find(REPO)], heard)
    assert not wrong.ok and wrong.expected == tiny.sha256 != wrong.actual
    assert store.find(REPO).verified_at is None
    blob.unlink()
    assert store.models() == []


@pytest.fixture
def local(tmp_path: Path) -> Path:
    path = tmp_path / "mein ördner" / "mine v1.Q8_0.gguf"
    path.parent.mkdir()
    path.write_bytes(gguf_files.llama().encode())
    return path


def test_a_local_file_is_registered_where_it_is(store: Store, heard: Heard, local: Path):
    (file,) = register_in_place(store, local, heard)
    assert (file.path, file.model_id, file.origin) == (local, "mine v1.Q8_0", "import")
    assert file.sha256 == hashlib.sha256(local.read_bytes()).hexdigest()
    assert store.find(str(local)).sha256 == file.sha256


def test_a_local_file_can_be_named_without_importing_it(store: Store, local: Path):
    found = store.find(str(local))
    assert (found.path, found.model_id, found.sha256) == (local, "mine v1.Q8_0", None)
    assert store.models() == []


def test_what_is_no_model_is_not_imported(store: Store, heard: Heard, tmp_path: Path):
    page = tmp_path / "page.gguf"
    page.write_text("<html>")
    with pytest.raises(IntegrityError):
        register_in_place(store, page, heard)
    with pytest.raises(NotFoundError):
        register_in_place(store, tmp_path / "none.gguf", heard)
    assert store.models() == []


def test_an_imported_file_that_moved_is_said_to_be_gone(store: Store, heard: Heard, local: Path):
    register_in_place(store, local, heard)
    local.rename(local.with_name("other.gguf"))
    with pytest.raises(NotFoundError, match="is gone"):
        store.find(str(local))
    (missing,) = verify(store, store.models()[:1], heard)
    assert missing.actual is None and not missing.ok


def test_removing_deletes_downloads_and_only_forgets_imports(
    store: Store, heard: Heard, local: Path, download: Download, tiny: File, hub_cache: Path
):
    register_in_place(store, local, heard)
    download()
    freed = [store.remove(model) for model in store.models()]
    assert sorted(freed) == [0, len(TINY)]
    assert store.models() == [] and local.exists()
    assert not (hub_cache / "models--org--tiny-GGUF").exists()


@pytest.mark.usefixtures("tiny")
def test_a_lost_index_is_rebuilt_without_losing_a_fact(
    home: Path, hub_cache: Path, download: Download, store: Store, heard: Heard, local: Path
):
    download()
    register_in_place(store, local, heard)
    before = store.models()
    store.close()
    for path in home.glob("index.sqlite*"):
        path.unlink()
    with Store(Home(home), hub_cache) as again:
        assert again.models() == before


@pytest.mark.parametrize("content", [b"", b"garbage" * 1000, b"SQLite format 3\0" + b"\0" * 5000])
def test_a_broken_index_is_put_aside_and_rebuilt(
    content: bytes, home: Path, hub_cache: Path, download: Download, tiny: File, store: Store
):
    download()
    store.close()
    for path in home.glob("index.sqlite-*"):
        path.unlink()
    (home / "index.sqlite").write_bytes(content)
    with Store(Home(home), hub_cache) as again:
        assert [model.sha256 for model in again.models()] == [tiny.sha256]


def test_without_any_memory_the_cache_itself_is_listed_as_unverified(
    tmp_path: Path, hub_cache: Path, download: Download, tiny: File
):
    download()
    with Store(Home(tmp_path / "new-home"), hub_cache) as other:
        (model,) = other.models()
    assert (model.ref, model.sha256) == (f"{REPO}:Q4_K_M", tiny.sha256)
    assert model.verified_at is None


def test_a_home_that_cannot_be_written_can_still_be_read(
    tmp_path: Path, hub_cache: Path, download: Download, tiny: File
):
    download()
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where the home should be")
    with Store(Home(blocked), hub_cache) as store:
        assert [model.sha256 for model in store.models()] == [tiny.sha256]


def test_a_locked_index_does_not_lose_a_download(
    home: Path, hub_cache: Path, download: Download, tiny: File, store: Store
):
    store._index._db.execute("PRAGMA busy_timeout = 1")
    with sqlite3.connect(home / "index.sqlite", isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        download()
        assert store.find(REPO).sha256 == tiny.sha256
    other.close()
    with Store(Home(home), hub_cache) as again:
        assert again.find(REPO).sha256 == tiny.sha256


def test_what_is_on_this_machine_under_another_name_is_not_fetched(
    tmp_path: Path, download: Download, store: Store, hub: FakeHub, heard: Heard
):
    mine = tmp_path / "mine.gguf"
    mine.write_bytes(DEMO_FILE.read_bytes())
    register_in_place(store, mine, heard)
    hub.add(REPO, File(NAME, mine.read_bytes()))
    (file,) = download()
    assert (file.status, file.fetched_bytes) == ("adopted", 0)
    assert hub.asked("cdn") == []
    assert file.path.read_bytes() == mine.read_bytes()
    assert mine.stat().st_mode & 0o200, "the file itself stays as it was"
    assert str(mine) in heard.notes[0]
    assert len(store.models()) == 2


def test_but_not_what_was_changed_since_it_was_checked(
    tmp_path: Path, download: Download, store: Store, hub: FakeHub, heard: Heard
):
    mine = tmp_path / "mine.gguf"
    mine.write_bytes(DEMO_FILE.read_bytes())
    register_in_place(store, mine, heard)
    hub.add(REPO, File(NAME, mine.read_bytes()))
    mine.write_bytes(mine.read_bytes()[:-1] + b"x")
    (file,) = download()
    assert file.status == "downloaded"
