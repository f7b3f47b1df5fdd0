"""Blobs that huggingface_hub shares between the repositories of a cache."""

import hashlib
from pathlib import Path

import pytest
from fakes.hub import FakeHub, File
from fakes.hub.tiny import NAME, REPO, TINY
from huggingface_hub.utils._shared_blobs import (
    publish_blob_to_shared_store,
    try_link_from_shared_store,
)

from mlm.store.cache_layout import RepoCache
from mlm.store.lock import locked

OTHER = "org/twin-GGUF"
XET_HASH = hashlib.sha256(b"xet").hexdigest()


@pytest.fixture
def shared(hub_cache: Path) -> Path:
    """The file that two repositories share, as huggingface_hub lays it out."""
    sha256 = hashlib.sha256(TINY).hexdigest()
    for repo_id in (REPO, OTHER):
        cache = RepoCache(hub_cache, repo_id)
        cache.prepare()
        blob = cache.blob(sha256)
        if not try_link_from_shared_store(
            blob_path=str(blob), xet_hash=XET_HASH, cache_dir=hub_cache, expected_size=len(TINY)
        ):
            blob.write_bytes(TINY)
            assert publish_blob_to_shared_store(
                blob_path=blob, xet_hash=XET_HASH, cache_dir=hub_cache, expected_size=len(TINY)
            )
        assert blob.is_symlink()
        with locked(cache.lock(sha256)):
            cache.link("c" * 40, NAME, blob)
            cache.set_ref("main", "c" * 40, blob)
    return hub_cache / "blobs" / XET_HASH[:2] / XET_HASH


def test_what_is_shared_is_listed_by_its_checksum_and_verified(mlm, shared: Path):
    models = mlm("list", "--json").json["models"]
    assert {model["sha256"] for model in models} == {hashlib.sha256(TINY).hexdigest()}
    assert {model["repo_id"] for model in models} == {REPO, OTHER}
    assert all(file["ok"] for file in mlm("verify", "--json").json["files"])


def test_its_bytes_go_with_the_last_repository_that_has_them(mlm, shared: Path, hub_cache: Path):
    assert mlm("rm", f"{REPO}:Q4_K_M", "--yes", "--json").json["freed_bytes"] == 0
    assert shared.read_bytes() == TINY
    assert mlm("rm", f"{OTHER}:Q4_K_M", "--yes", "--json").json["freed_bytes"] == len(TINY)
    assert [path.name for path in shared.parent.iterdir()] == [f"{XET_HASH}.lock"]


def test_prune_takes_a_shared_blob_that_no_commit_uses(mlm, shared: Path, hub_cache: Path):
    for repo_id in (REPO, OTHER):
        RepoCache(hub_cache, repo_id).snapshot("c" * 40, NAME).unlink()
    assert mlm("prune", "--yes").exit_code == 0
    assert not shared.exists()


def test_a_link_that_leads_elsewhere_is_not_followed(mlm, shared: Path, hub_cache: Path):
    outside = hub_cache / "outside" / XET_HASH
    outside.parent.mkdir()
    shared.rename(outside)
    blob = RepoCache(hub_cache, REPO).blob(hashlib.sha256(TINY).hexdigest())
    blob.unlink()
    blob.symlink_to(outside)
    assert mlm("list", "--json").json["models"] == []
    assert outside.read_bytes() == TINY


def test_what_rots_is_repaired_for_one_and_left_for_the_other(mlm, shared: Path, hub: FakeHub):
    hub.add(REPO, File(NAME, TINY))
    mlm("download", f"{REPO}:Q4_K_M")
    shared.chmod(0o644)
    shared.write_bytes(b"rot" + TINY[3:])
    assert mlm("verify", f"{REPO}:Q4_K_M", "--repair").exit_code == 0
    assert shared.exists(), "the other repository still links to it"
